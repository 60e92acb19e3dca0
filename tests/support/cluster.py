"""Stand-ins for the commands of a cluster (fake_command.py), and what scripts are run with."""

import json
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
AWKWARD = [
    "--config.run.name=two words",
    "it's",
    'say "hi"',
    "a\\b & c",
    "$(HOME) $$ ${HOME}",
    "*",
    "",
    "æ",
]
SAVED = {"until_term": True, "code": 0}


class Fakes:
    """Commands in front of PATH, and what they were called with."""

    def __init__(self, folder: Path):
        self.folder = folder / "bin"
        self.folder.mkdir()
        self.log = folder / "calls.jsonl"
        self.env = {
            "PATH": f"{self.folder}:{Path(sys.executable).parent}:/usr/bin:/bin",
            "HOME": str(folder),
            "LANG": "C.UTF-8",
            "FAKE_LOG": str(self.log),
        }

    def add(self, name: str, told=None, folder: Path | None = None) -> Path:
        path = (folder or self.folder) / name
        path.write_text(
            f"#!{sys.executable} -IS\n" + (Path(__file__).parent / "fake_command.py").read_text()
        )
        path.chmod(0o755)
        self.env[f"FAKE_{name.upper().replace('-', '_')}"] = json.dumps(told or {})
        return path

    def calls(self, name: str) -> list[dict]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [c for c in map(json.loads, lines) if c["name"] == name]

    def wait(self, name: str, count: int = 1) -> list[dict]:
        deadline = time.monotonic() + 10
        while len(calls := self.calls(name)) < count:
            assert time.monotonic() < deadline, f"{name} was not called"
            time.sleep(0.01)
        return calls

    def run(self, *command, **kwargs) -> subprocess.CompletedProcess:
        return subprocess.run(
            list(map(str, command)),
            env=self.env,
            capture_output=True,
            text=True,
            timeout=20,
            **{"cwd": ROOT} | kwargs,
        )

    def start(self, *command) -> subprocess.Popen:
        return subprocess.Popen(
            list(map(str, command)),
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )


def ended(process: subprocess.Popen) -> int:
    process.communicate(timeout=20)
    return process.returncode


def shellcheck(*arguments: object, text: str | None = None) -> None:
    """Fails where shellcheck finds something, in files or in a text."""
    command = [Path(sys.executable).parent / "shellcheck", *arguments]
    subprocess.run(command, cwd=ROOT, input=text, text=True, check=True)
