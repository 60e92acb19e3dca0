"""Pictures as a generator's latent space knows them, by the inversion of a run or of a file."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Float32, PyTree

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import Pictures
from faceswap_jax.losses.measures import psnr
from faceswap_jax.models import restyle
from faceswap_jax.models.restyle import Made
from faceswap_jax.ops import precision
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.pretrained import restyle as pretrained
from faceswap_jax.training import runs

TASKS = ("inversion", "transfer")
"""Whose runs hold an inversion."""


class Inverted(NamedTuple):
    """Inversions of some pictures.

    Attributes:
        images: of the generator.
        psnr: how near they are in dB, at the side that the encoder reads.
    """

    images: Pictures
    psnr: Float32[np.ndarray, "n"]


@dataclass(frozen=True, eq=False)
class Inverter:
    """An inversion in use.

    Attributes:
        alignment: how its faces are cut, one of `faces.align.ALIGNMENTS`.
        resolution: side of its images in pixels.
        side: of the pictures that its encoder reads.
        inverted: what each refinement makes of such pictures, given the variables.
        variables: weights.
        mesh: where they lie.
    """

    alignment: str
    resolution: int
    side: int
    inverted: Callable[[PyTree, Float[Array, "b s s 3"]], Sequence[Made]]
    variables: PyTree
    mesh: Mesh

    def __call__(self, crops: Pictures) -> Inverted:
        """What the generator makes of the latents of crops."""

        def invert(variables, crops):
            pictures = restyle.reduced(precision.from_bytes(crops), self.side)
            made = self.inverted(variables, pictures)[-1]
            whole = jnp.ones((*pictures.shape[:3], 1))
            near = psnr(made.seen.clip(0, 1), pictures, whole)
            return Inverted(precision.to_bytes(made.images.clip(0, 1)), near)

        with jax.set_mesh(self.mesh):
            return jax.device_get(jax.jit(invert)(self.variables, crops))


def load(model: Path, step: int | None = None) -> Inverter:
    """The inversion of a run of 'inversion' or 'transfer', or of a file of ReStyle's public weights.

    Args:
        model: folder of the run, or the file.
        step: which checkpoint of the run, by its number of steps; the newest sound one if not given.

    Raises:
        InputError: `model` is neither, cannot be used, or has no such checkpoint.
    """
    return _of_run(model, step) if model.is_dir() else _of_file(model)


def _of_run(workdir: Path, step: int | None) -> Inverter:
    task = configs.load(workdir / "config.json").task
    if task not in TASKS:
        raise InputError(
            f"'{workdir}' holds a run of '{task}', which inverts no pictures; give one of {' or '.join(TASKS)}."
        )
    run = runs.load(workdir, make_mesh(), step)
    form = run.task.synthesis(run.phase)
    return Inverter(
        alignment=form.alignment,
        resolution=form.resolution,
        side=run.task.side,
        inverted=run.task.inverted,
        variables=run.task.variables(run.phase, run.state),
        mesh=run.mesh,
    )


def _of_file(path: Path) -> Inverter:
    config, weights = pretrained.read(path)

    def inverted(variables, pictures):
        return restyle.invert(config, **variables, pictures=pictures)

    return Inverter(
        alignment=pretrained.ALIGNMENT,
        resolution=config.generator.resolution,
        side=config.encoder.side,
        inverted=inverted,
        variables=weights,
        mesh=make_mesh(),
    )
