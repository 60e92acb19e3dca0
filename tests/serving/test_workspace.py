"""The folder of a server goes with it."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.serving.workspace import workspace

KILLED = """
from faceswap_jax.serving.workspace import workspace
with workspace() as folder:
    (folder / "secret.png").write_bytes(b"x")
    print(folder, flush=True)
    input()
"""


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_it_is_private_and_removed():
    with workspace() as folder:
        assert folder.stat().st_mode & 0o077 == folder.parent.stat().st_mode & 0o077 == 0
        (folder / "picture.png").write_bytes(b"x")
    assert not folder.exists()


def test_the_next_server_removes_what_a_killed_one_has_left(temporary):
    command = [sys.executable, "-c", KILLED]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, text=True, **pipes) as process:
        folder = process.stdout.readline().strip()
        assert temporary.as_posix() in folder
        # One that runs keeps its folder.
        with workspace():
            assert os.listdir(folder) == ["secret.png"]
        process.send_signal(signal.SIGKILL)
    with workspace() as own:
        assert [path.name for path in own.parent.iterdir()] == [own.name]


def test_a_folder_of_somebody_else_is_not_used(temporary):
    (temporary / "elsewhere").mkdir()
    (temporary / f"faceswap-serve-{os.getuid()}").symlink_to(temporary / "elsewhere")
    with pytest.raises(InputError, match="not a private folder of yours"), workspace():
        pass
