"""Topologies that are not there, and a compiler that is missing or fails."""

import sys

import pytest

from faceswap_jax.cost import topologies
from faceswap_jax.cost.topologies import devices_of
from faceswap_jax.errors import InputError


@pytest.mark.parametrize("name", ["v5e:3x3", "v5e:2x2x1", "v5p:4x4", "v9:2x2", "v5e", "", "16"])
def test_unknown_ones_are_refused_with_those_that_exist(name):
    with pytest.raises(InputError, match=rf"no topology '{name}'.*v5e:2x2, .*v5p:2x2x1.*v6e:2x2"):
        devices_of(name)


def test_a_missing_compiler_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "libtpu", None)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.delenv("TPU_LIBRARY_PATH", raising=False)
    sys.path_importer_cache.clear()
    with pytest.raises(InputError, match=r"needs libtpu.*extra `tpu`.*--devices"):
        devices_of("v5e:4x4")


def test_one_that_cannot_be_loaded_is_told(monkeypatch, tmp_path):
    """The library that the variable names is a text."""
    broken = tmp_path / "libtpu.so"
    broken.write_text("no library")
    monkeypatch.setenv("TPU_LIBRARY_PATH", str(broken))
    for variable in topologies.ENVIRONMENT:
        monkeypatch.setenv(variable, "")
    with pytest.raises(InputError, match=r"--topology v5e:4x4: libtpu cannot be used"):
        devices_of("v5e:4x4")
