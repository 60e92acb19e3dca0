"""What a run has come to, for people at a terminal; it disturbs nothing and starts no JAX."""

import fcntl
import json
import os
import socket
import time
from pathlib import Path

import plotext

from faceswap_jax import config as configs
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.progress import duration

CURVES = 4  # losses come first, then scores
WIDTH, HEIGHT = 78, 12  # of a curve, characters


def status(workdir: Path) -> str:
    """A few lines about the state of a run, and its curves.

    Raises:
        InputError: `workdir` holds no run.
    """
    config = configs.load(workdir / "config.json")
    note, metrics = progress.read(workdir), workdir / "metrics.jsonl"
    rows = [_row(line) for line in (metrics.read_text().splitlines() if metrics.exists() else [])]
    curves: dict[str, list[tuple[int, float]]] = {}
    for row in filter(None, rows):
        for name, value in row.items():
            if name.startswith("eval/") or (name.startswith("loss") and "/" not in name):
                curves.setdefault(name, []).append((row["step"], value))
    step = max((row["step"] for row in rows if row), default=0)
    return "\n".join(
        [
            f"{workdir}: {config.task}, {_state(workdir, note)}",
            _place(step, note),
            _checkpoints(workdir / "checkpoints"),
            *(
                _plot(name, curves[name])
                for name in sorted(curves, key=lambda n: n.startswith("eval/"))[:CURVES]
            ),
        ]
    )


def _state(workdir: Path, note: dict) -> str:
    again = "the command that started it continues"
    if _locked(workdir):
        return "running"
    if note.get("state", "running") == "running":
        if note.get("host", socket.gethostname()) != socket.gethostname():
            return f"running on {note['host']}, as it said {duration(max(time.time() - note['time'], 0))} ago"
        return f"not running, and it has not said why; {again}"
    if note["state"] == "interrupted":
        return f"interrupted; {again}"
    return note["state"] + (f": {note['reason']}" if "reason" in note else "")


def _place(step: int, note: dict) -> str:
    step, last = max(step, note.get("step", 0)), note.get("of")
    text = f"step {step:,}" + (f" of {last:,} ({100 * step / last:.0f} %)" if last else "")
    if "phase" in note:
        text += f", {note['phase']}"
    if "seconds_left" in note:
        left = note["seconds_left"] - (time.time() - note["time"])
        text += f"; {note['steps_per_second']:.3g} steps/s, {duration(max(left, 0))} left"
    return text


def _checkpoints(folder: Path) -> str:
    steps = sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())
    if not steps:
        return "no checkpoint yet"
    seconds = max(time.time() - (folder / str(steps[-1])).stat().st_mtime, 0)
    return f"checkpoints of steps {', '.join(f'{step:,}' for step in steps)}; the newest {duration(seconds)} old"


def _plot(name: str, points: list[tuple[int, float]]) -> str:
    plotext.clear_figure()
    plotext.theme("clear")
    plotext.plot_size(WIDTH, HEIGHT)
    plotext.title(f"{name}: {points[-1][1]:.4g}")
    steps, values = zip(*points, strict=True)
    plotext.plot(steps, values, marker="braille")
    plotext.xticks([steps[0], steps[len(steps) // 2], steps[-1]])
    return "\n" + plotext.uncolorize(plotext.build()).rstrip()


def _locked(folder: Path) -> bool:
    """Whether a process of this machine trains there."""
    lock = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(lock)
    return False


def _row(line: str) -> dict | None:
    """A row, unless it is just being written."""
    try:
        return json.loads(line)
    except ValueError:
        return None
