"""Generators from the folders of runs: what a task synthesises, with the weights of a checkpoint."""

import hashlib
import itertools
import json
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

import jax
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Float

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Edit, EmbeddedFace, Faces, Identity, Images, Who
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.base import Synthesis
from faceswap_jax.tasks.registry import load_task
from faceswap_jax.training import runs


class TrainedGenerator:
    """A task's synthesis as a `Generator`, compiled once for each size of batch."""

    def __init__(self, synthesis: Synthesis, step: int, mesh: Mesh):
        """Takes over what the synthesis says of itself.

        Args:
            synthesis: of the state that was restored.
            step: how many steps it was trained.
            mesh: the devices that hold the state.
        """
        self.alignment = synthesis.alignment
        self.resolution = synthesis.resolution
        self.placement = synthesis.placement
        self.inputs = synthesis.inputs
        self.sound_window = synthesis.sound_window
        self.personas = synthesis.personas
        self.step = step
        self.parts = _slices(synthesis.parts)
        self.paintable = synthesis.embedded is not None

        self._synthesis = synthesis
        self._images = jax.jit(synthesis.images)
        self._latents = jax.jit(synthesis.latents) if synthesis.latents else None
        self._mesh = mesh

    def identity(self, who: Who) -> Identity:
        """See `Generator.identity`."""
        with jax.set_mesh(self._mesh):
            return self._synthesis.identity(who)

    def __call__(self, identity: Identity, faces: Faces, edit: Edit | None = None) -> Images:
        """See `Generator.__call__`."""
        shift = None if edit is None else edit.shift
        with jax.set_mesh(self._mesh):
            images = self._images(self._synthesis.variables, identity, self._read(faces), shift)
        return np.asarray(images)

    def embedded(self, identity: Identity) -> EmbeddedFace:
        """See `Generator.embedded`."""
        with jax.set_mesh(self._mesh):
            return np.asarray(self._synthesis.embedded(identity), np.float32)

    def painted(self, identity: Identity, face: EmbeddedFace) -> Identity:
        """See `Generator.painted`."""
        with jax.set_mesh(self._mesh):
            return self._synthesis.painted(identity, face)

    def latents(self, faces: Faces) -> Float[np.ndarray, "b latent"]:
        """See `Generator.latents`."""
        with jax.set_mesh(self._mesh):
            return np.asarray(self._latents(self._synthesis.variables, self._read(faces)))

    @cached_property
    def digest(self) -> str:
        """See `Generator.digest`."""
        parts = digests(self._synthesis.variables)
        text = json.dumps(parts, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def _read(self, faces: Faces) -> dict[str, np.ndarray]:
        """What is read of faces, by name."""
        return {name: getattr(faces, name) for name in self.inputs}


def _slices(lengths: Mapping[str, int]) -> dict[str, slice]:
    """Where parts lie that follow one another, from their lengths."""
    ends = itertools.accumulate(lengths.values())
    return {
        name: slice(end - length, end)
        for (name, length), end in zip(lengths.items(), ends, strict=True)
    }


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
    synthesis = run.task.synthesis(run.phase, run.state)
    return TrainedGenerator(synthesis, int(run.state.step), mesh)
