"""Files that appear only when they are complete, and locks of folders."""

import json
import shutil
import subprocess
import sys

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.files import (
    is_locked,
    is_partial,
    locked,
    partial_files,
    readable,
    replacing,
    write_json,
)

HOLD = """
import sys, time
from pathlib import Path
from faceswap_jax.files import locked
with locked(Path(sys.argv[1])):
    print("has it", flush=True)
    sys.stdin.read()
"""


def test_a_file_appears_when_it_is_complete(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as aside:
        aside.write_text("new")
        assert not path.exists() and aside.suffix == ".txt"
        assert is_partial(aside) and partial_files(tmp_path) == [aside]
    assert path.read_text() == "new" and partial_files(tmp_path) == []


def test_names_as_long_as_the_file_system_takes(tmp_path):
    for stem in ("顔" * 83, "x" * 251):
        paths = [tmp_path / f"{stem[:-1]}{end}.mp4" for end in "ab"]
        with replacing(paths[0]) as one, replacing(paths[1]) as two:
            one.write_text("1")
            two.write_text("2")
            assert set(partial_files(tmp_path)) == {one, two}
        assert [path.read_text() for path in paths] == ["1", "2"]


READ_ONLY = """
import sys
from pathlib import Path
from faceswap_jax.errors import InputError
from faceswap_jax.files import write_json
try:
    write_json(Path(sys.argv[1]) / "a.json", {})
except InputError as error:
    print(error)
"""


def test_a_file_system_that_cannot_be_written(tmp_path):
    """It is one in a namespace of its own."""
    mount = 'mount -t tmpfs -o ro tmpfs "$0" && exec "$@"'
    command = ["unshare", "-rm", "sh", "-c", mount, tmp_path]
    if shutil.which("unshare") is None or subprocess.run([*command, "true"]).returncode:
        pytest.skip("nothing can be mounted here")
    done = subprocess.run(
        [*command, sys.executable, "-c", READ_ONLY, tmp_path], capture_output=True, text=True
    )
    assert "a.json cannot be written (Read-only file system)" in done.stdout
    assert done.stderr == ""


def test_an_interrupted_write_keeps_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", [1])
    with pytest.raises(TypeError):
        write_json(tmp_path / "a.json", [2, object()])
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "a.json") as aside:
        aside.write_text("half")
        raise KeyboardInterrupt
    assert json.loads((tmp_path / "a.json").read_text()) == [1]
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_folder_that_is_not_there_is_named(tmp_path):
    with pytest.raises(InputError, match=r"gone/a\.json cannot be written.*/gone; make it"):
        write_json(tmp_path / "gone" / "a.json", {})
    for check in (is_locked, lambda path: locked(path).__enter__()):
        with pytest.raises(InputError, match="gone cannot be read"):
            check(tmp_path / "gone")


@pytest.mark.parametrize(
    ("name", "message"), [("no.txt", "does not exist"), ("", "folder"), ("empty", "0 bytes")]
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, message):
    (tmp_path / "empty").touch()
    path = tmp_path / name
    with pytest.raises(InputError, match=f"{path} .*{message}"), readable(path):
        path.read_text()


def test_a_lock_is_seen_by_others_and_ends_with_its_process(tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    assert not is_locked(tmp_path)
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"has it\n"
        assert is_locked(tmp_path)
        with pytest.raises(InputError, match=f"writing {tmp_path}"), locked(tmp_path, patience=0):
            pass
        holder.kill()
    assert not is_locked(tmp_path)
    with locked(tmp_path, patience=0):
        assert is_locked(tmp_path)
