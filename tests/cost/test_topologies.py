"""Topologies that are not there, and a compiler that is missing or fails."""

import os
import subprocess
import sys

import pytest

from faceswap_jax.cost.topologies import devices_of
from faceswap_jax.errors import InputError


@pytest.mark.parametrize(
    "name", ["v5e:3x3", "v5e:2x2x1", "v5p:4x4", "v9:2x2", "h100:3", "v5e", "", "16"]
)
def test_unknown_ones_are_refused_with_those_that_exist(name):
    with pytest.raises(InputError, match=rf"no topology '{name}'.*v5e:2x2, .*v5p:2x2x1.*v6e:2x2"):
        devices_of(name)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    with pytest.raises(InputError, match=r"needs libtpu.*extra `tpu`.*--devices"):
        devices_of("v5e:4x4")


def test_a_missing_plug_in_for_gpus_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "jax_cuda12_plugin", None)
    with pytest.raises(InputError, match=r"h100:8 needs JAX's plug-in.*extra `cuda`.*--devices"):
        devices_of("h100:8")


def test_one_that_cannot_be_loaded_is_told(tmp_path):
    """In a process of its own, for a compiler is loaded once. The library that the variable names is a text."""
    broken = tmp_path / "libtpu.so"
    broken.write_text("no library")
    code = "from faceswap_jax.cost.topologies import devices_of; devices_of('v5e:4x4')"
    result = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"TPU_LIBRARY_PATH": str(broken), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert result.returncode == 1
    last = result.stderr.splitlines()[-1]
    assert "InputError: --topology v5e:4x4: libtpu cannot be used (" in last
