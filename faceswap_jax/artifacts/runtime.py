"""Generators from artifacts. ONNX runs without JAX; this file imports none."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Float32

from faceswap_jax.artifacts.manifest import ONNX, SAFETENSORS, STABLEHLO, Artifact
from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import Arrays, DescribedGenerator, Pictures
from faceswap_jax.inference.generator import Generator, Images

if TYPE_CHECKING:
    import onnxruntime

Run = Callable[[str, Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""From the name of a program, and arrays by name, to what the program gives by name."""

FASTEST = (ONNX, STABLEHLO, SAFETENSORS)
"""Which format is used, by how fast it starts."""


class ArtifactGenerator(DescribedGenerator):
    """Programs of an artifact as a `Generator`."""

    def __init__(self, artifact: Artifact, run: Run):
        """Takes over what the manifest says.

        Args:
            artifact: the manifest.
            run: runs its programs.
        """
        super().__init__(artifact.description)
        self.digest = artifact.digest
        self.version = artifact.version
        self._run = run

    def _images(self, identity: Arrays, inputs: Arrays, shift: np.ndarray | None) -> Images:
        if self.parts:
            z = self._latents(inputs)
            return self.decode(identity, z if shift is None else z + shift)
        if self.roles:
            return _in_bytes(self._run("images", self._with_features({**inputs, **identity})))
        return _in_bytes(self._run("images", {**inputs, **self._shown(identity)}))

    def _with_features(self, given: Arrays) -> Arrays:
        """What is read of faces, with a vector of each role for each of them: the own one where nobody lends it."""
        crops = given["crops"]
        found = dict(given)
        for role in self.roles:
            vectors = given[role] if role in given else self.features(role, crops)
            found[role] = np.broadcast_to(vectors, (len(crops), vectors.shape[-1]))
        return found

    def decode(self, identity: Arrays, latents: Float[np.ndarray, "b latent"]) -> Images:
        """See `DescribedGenerator.decode`."""
        return _in_bytes(self._run("decode", {"latents": latents, **self._shown(identity)}))

    def _shown(self, identity: Arrays) -> Arrays:
        """What the programs are given of an identity: one persona alone is no question."""
        return {} if len(self.personas) == 1 else identity

    def _latents(self, inputs: Arrays) -> Float[np.ndarray, "b latent"]:
        return self._run("encode", inputs)["latents"]

    def _identity(self, pictures: Pictures) -> Arrays:
        return self._run("identity", {"pictures": pictures})

    def features(self, role: str, crops: Pictures) -> Float32[np.ndarray, "n d"]:
        """See `Generator.features`."""
        return self._run(role, {"pictures": crops})[role]

    def _sample(self, drawn: Float[np.ndarray, "b n"]) -> Images:
        return _in_bytes(self._run("sample", {"drawn": drawn}))


def _in_bytes(made: Arrays) -> Images:
    return np.rint(made["images"] * np.float32(255)).astype(np.uint8)


def load(folder: Path, kind: str | None = None) -> Generator:
    """The generator of an artifact.

    Args:
        folder: that an export has written.
        kind: which of its formats runs, one of `FORMATS`; if not given, the one that starts fastest.

    Raises:
        InputError: there is no artifact, or it is damaged or newer than this program, or lacks the format.
    """
    artifact = Artifact.load(folder)
    if kind is None:
        kind = next(kind for kind in FASTEST if kind in artifact.formats)
    elif kind not in artifact.formats:
        raise InputError(
            f"'{folder}' has no {kind}, only {', '.join(artifact.formats)}; export the run with --formats {kind}."
        )
    artifact.check(folder, artifact.files_of(kind))
    # Imported where needed: they import JAX.
    if kind == SAFETENSORS:
        from faceswap_jax.artifacts import archive

        return archive.load(folder, artifact)
    return ArtifactGenerator(artifact, run_of(folder, kind, artifact.programs()))


def run_of(folder: Path, kind: str, names: Sequence[str]) -> Run:
    """What runs programs of these names.

    Raises:
        InputError: they cannot be read, or what reads them is not installed.
    """
    if kind == STABLEHLO:
        from faceswap_jax.artifacts import stablehlo

        return stablehlo.load(folder, names)
    return load_onnx(folder, names)


def load_onnx(folder: Path, names: Sequence[str]) -> Run:
    """ONNX, run by onnxruntime on the CPU, or where it was built for."""
    sessions = {name: session(folder / f"{name}.{ONNX}") for name in names}

    def run(name, arrays):
        opened = sessions[name]
        given = {}
        for wanted in opened.get_inputs():
            kind = np.uint8 if wanted.type == "tensor(uint8)" else np.float32
            given[wanted.name] = np.asarray(arrays[wanted.name], kind)
        outputs = [output.name for output in opened.get_outputs()]
        return dict(zip(outputs, opened.run(outputs, given), strict=True))

    return run


def session(path: Path) -> "onnxruntime.InferenceSession":
    """A file of ONNX, opened by onnxruntime.

    Raises:
        InputError: it cannot be read, or onnxruntime is not installed.
    """
    # Imported where needed: it is an extra.
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(
            "ONNX needs onnxruntime to be run: pip install 'faceswap-jax[onnx]'."
        ) from error
    options = onnxruntime.SessionOptions()
    # Threads that spin while they wait take cores from decoding and blending: 46 ms of CPU for a face in place of 26.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    providers = onnxruntime.get_available_providers()
    try:
        return onnxruntime.InferenceSession(path, options, providers=providers)
    except Exception as error:  # of kinds of its own
        raise InputError(f"{path} cannot be read by onnxruntime ({error}).") from error
