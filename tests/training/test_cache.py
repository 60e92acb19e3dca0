"""Where compiled programs are kept. No test writes into the user's folder."""

import os
import subprocess
import sys

import pytest

from faceswap_jax.training.cache import FOLDER, LEAST_SECONDS, use_cache

# Compiles, and tells whether that was spared by an earlier process.
PROGRAM = """
from faceswap_jax.training.cache import use_cache
use_cache()
import jax
hits = []
jax.monitoring.register_event_listener(lambda name, **_: hits.append(name) if name.endswith("cache_hits") else None)
jax.jit(lambda x: x + 1)(jax.numpy.zeros(3)).block_until_ready()
print(len(hits) > 0, end="")
"""


@pytest.fixture(autouse=True)
def environment(monkeypatch, tmp_path):
    """Nothing is set, and all homes are empty folders."""
    monkeypatch.setattr(os, "environ", os.environ.copy())  # put back whatever is set
    for name in (FOLDER, LEAST_SECONDS, "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def test_the_folder_is_the_users_cache(monkeypatch, tmp_path):
    use_cache()
    assert os.environ[FOLDER] == str(tmp_path / "home" / ".cache" / "faceswap_jax" / "xla")
    monkeypatch.delenv(FOLDER)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "caches"))
    use_cache()
    assert os.environ[FOLDER] == str(tmp_path / "caches" / "faceswap_jax" / "xla")
    assert os.path.isdir(os.environ[FOLDER]) and not os.listdir(os.environ[FOLDER])


def test_what_the_user_has_set_wins(monkeypatch, tmp_path):
    for folder in (str(tmp_path / "mine"), "", "gs://bucket/cache"):
        monkeypatch.setenv(FOLDER, folder)
        monkeypatch.setenv(LEAST_SECONDS, "3")
        use_cache()
        assert (os.environ[FOLDER], os.environ[LEAST_SECONDS]) == (folder, "3")
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize("name", [FOLDER, "XDG_CACHE_HOME"])
def test_a_folder_that_cannot_be_written_is_told_once(monkeypatch, tmp_path, capfd, name):
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, str(tmp_path / "file" / "folder"))
    use_cache()
    assert os.environ[FOLDER] == ""
    message = capfd.readouterr().err
    assert (
        message.count("\n") == 1
        and str(tmp_path / "file") in message
        and f"set {FOLDER} to" in message
    )
    use_cache()
    assert not capfd.readouterr().err


@pytest.mark.slow
def test_a_second_process_finds_what_the_first_compiled(tmp_path):
    def run(**variables):
        environment = os.environ | {"JAX_PLATFORMS": "cpu"} | variables
        command = [sys.executable, "-c", PROGRAM]
        result = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=120, check=True
        )
        return result.stdout, result.stderr

    assert run() == ("False", "")
    assert run() == ("True", "")
    kept = sorted((tmp_path / "home" / ".cache" / "faceswap_jax" / "xla").iterdir())
    assert run(**{FOLDER: ""}) == ("False", "")
    assert kept and kept == sorted(
        (tmp_path / "home" / ".cache" / "faceswap_jax" / "xla").iterdir()
    )
