"""The tiny run as an artifact."""

from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def artifact(run, tmp_path_factory) -> Path:
    """In all formats; copy it to change it."""
    pytest.importorskip("jax2onnx")
    from faceswap_jax.artifacts.export import export

    folder = tmp_path_factory.mktemp("artifacts") / "tiny"
    export(run, folder)
    return folder
