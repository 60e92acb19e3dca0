"""Generators from the folders of runs: what a task synthesises, with the weights of a checkpoint."""

import hashlib
import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float, Float32, PyTree

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import Arrays, DescribedGenerator, Description, Pictures
from faceswap_jax.inference.generator import Images
from faceswap_jax.ops.precision import to_bytes
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.base import OWN, Synthesis
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.training import runs


class TrainedGenerator(DescribedGenerator):
    """A task's synthesis as a `Generator`, compiled once for each size of batch.

    Attributes:
        synthesis: its functions.
        variables: what they read: trained weights, a tree of arrays.
    """

    def __init__(
        self,
        synthesis: Synthesis,
        variables: PyTree,
        step: int,
        mesh: Mesh,
        digest: str | None = None,
        version: str | None = None,
    ):
        """Takes over what the synthesis says of itself.

        Args:
            synthesis: of a task.
            variables: of the state that was restored.
            step: how many steps it was trained.
            mesh: the devices that hold the variables.
            digest: see `Generator.digest`; of the variables if not given.
            version: see `Generator.version`; of the variables if not given.
        """
        super().__init__(describe(synthesis, step))
        self.synthesis = synthesis
        self.variables = variables
        self._mesh = mesh
        self._digest = digest
        self._version = version
        self._compiled = {
            "images": jax.jit(_in_bytes(synthesis.images)),
            "latents": jax.jit(synthesis.latents) if synthesis.latents else None,
            "decode": jax.jit(_in_bytes(synthesis.decode)) if synthesis.decode else None,
            "identity": jax.jit(synthesis.identity) if synthesis.identity else None,
            # A program for each role
            "features": jax.jit(synthesis.features, static_argnums=1) if self.roles else None,
            "sample": jax.jit(_in_bytes(synthesis.sample)) if synthesis.sample else None,
        }

    def _run(self, name: str, *arguments: PyTree) -> PyTree:
        """What a function makes of the variables and of what is given."""
        with jax.set_mesh(self._mesh):
            return self._compiled[name](self.variables, *arguments)

    def _images(self, identity: Arrays, inputs: Arrays, shift: np.ndarray | None) -> Images:
        return np.asarray(self._run("images", identity, inputs, shift))

    def _latents(self, inputs: Arrays) -> Float[np.ndarray, "b latent"]:
        return np.asarray(self._run("latents", inputs))

    def decode(self, identity: Arrays, latents: Float[np.ndarray, "b latent"]) -> Images:
        """See `DescribedGenerator.decode`."""
        return np.asarray(self._run("decode", identity, latents))

    def _identity(self, pictures: Pictures) -> Arrays:
        return self._run("identity", pictures)

    def _sample(self, drawn: Float32[np.ndarray, "b n"]) -> Images:
        return np.asarray(self._run("sample", drawn))

    def features(self, role: str, crops: Pictures) -> Float32[np.ndarray, "n d"]:
        """See `Generator.features`."""
        return np.asarray(self._run("features", role, crops))

    @cached_property
    def digest(self) -> str:
        """See `Generator.digest`."""
        # Latents are the same whoever is shown.
        shared = {name: tree for name, tree in self.variables.items() if name != OWN}
        return self._digest or digest_of(shared)

    @cached_property
    def version(self) -> str:
        """See `Generator.version`."""
        return self._version or digest_of(self.variables)


def _in_bytes(images: Callable) -> Callable:
    """The same function, whose images are bytes."""
    return lambda *arguments: to_bytes(images(*arguments))


def describe(synthesis: Synthesis, step: int) -> Description:
    """What a synthesis says of itself, trained for so many steps."""
    return Description(
        alignment=synthesis.alignment,
        resolution=synthesis.resolution,
        placement=synthesis.placement,
        inputs=synthesis.inputs,
        sound_window=synthesis.sound_window,
        personas=synthesis.personas,
        mixes=synthesis.mixes,
        by_pictures=synthesis.identity is not None or bool(synthesis.roles),
        paintable=synthesis.paintable,
        parts=synthesis.parts,
        step=step,
        relative=synthesis.relative,
        drawn=synthesis.drawn,
        outline=synthesis.outline,
        roles=synthesis.roles,
    )


def digest_of(variables: PyTree) -> str:
    """Of trained weights: 16 hexadecimal digits."""
    text = json.dumps(digests(variables), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def load(workdir: Path, step: int | None = None) -> TrainedGenerator:
    """The generator of a run.

    Args:
        workdir: folder of the run; its data need not be there.
        step: which checkpoint, by its number of steps; the newest sound one if not given.

    Raises:
        InputError: `workdir` holds no run, one that makes no images, or no such checkpoint.
    """
    config = configs.load(workdir / "config.json")
    # Before a checkpoint is read for nothing
    if not load_task(config).makes_images:
        raise InputError(
            f"'{workdir}' holds a run of '{config.task}', which makes no images; give another "
            "--workdir."
        )
    mesh = make_mesh()
    run = runs.load(workdir, mesh, step)
    synthesis = run.task.synthesis(run.phase)
    variables = run.task.variables(run.phase, run.state)
    return TrainedGenerator(synthesis, variables, int(run.state.step), mesh)
