"""What reading a bad file says, in this process and in another one."""

import subprocess
import sys
from pathlib import Path

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video


def problem(path: Path) -> str:
    """The message of both readers, on one line and naming the file."""
    messages = set()
    for read in (video.probe, lambda path: list(video.read_frames(path))):
        with pytest.raises(InputError) as caught:
            read(path)
        messages.add(str(caught.value))
    (message,) = messages
    assert str(path) in message and "\n" not in message
    return message


READ = """
import os, sys
from faceswap_jax.errors import InputError
from faceswap_jax.faces import audio, video

if os.geteuid() == 0 and sys.argv[1] == "drop":
    try:
        os.setgroups([])
        os.setgid(65534)
        os.setuid(65534)
    except OSError:
        sys.exit("cannot drop")
for path in sys.argv[2:]:
    for read in video.probe, lambda path: next(video.read_frames(path)), audio.read_audio:
        try:
            read(path)
            print("read", path)
        except InputError as error:
            print(error)
"""


def answers(paths: list[Path], user: str = "same") -> list[str]:
    """What another process has to say that reads the paths three ways; with "drop", it has no privileges."""
    done = subprocess.run(
        [sys.executable, "-c", READ, user, *paths], capture_output=True, text=True, timeout=120
    )
    if "cannot drop" in done.stderr:
        pytest.skip("this process may not become another user")
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()
