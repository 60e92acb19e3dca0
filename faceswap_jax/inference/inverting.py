"""Pictures as a generator's latent space knows them, by the inversion that a run holds."""

from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float32

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import Pictures
from faceswap_jax.losses.measures import psnr
from faceswap_jax.models.restyle import reduced
from faceswap_jax.ops import precision
from faceswap_jax.parallel.mesh import make_mesh
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


class Inverter:
    """The inversion of a run.

    Attributes:
        alignment: how its faces are cut, one of `faces.align.ALIGNMENTS`.
        resolution: side of its images in pixels.
    """

    def __init__(self, run: runs.Run):
        self._run = run
        form = run.task.synthesis(run.phase)
        self.alignment = form.alignment
        self.resolution = form.resolution

    def __call__(self, crops: Pictures) -> Inverted:
        """What the generator makes of the latents of crops."""
        task = self._run.task

        def invert(variables, crops):
            pictures = reduced(precision.from_bytes(crops), task.side)
            made = task.inverted(variables, pictures)[-1]
            whole = jnp.ones((*pictures.shape[:3], 1))
            near = psnr(made.seen.clip(0, 1), pictures, whole)
            return Inverted(precision.to_bytes(made.images.clip(0, 1)), near)

        variables = task.variables(self._run.phase, self._run.state)
        with jax.set_mesh(self._run.mesh):
            return jax.device_get(jax.jit(invert)(variables, crops))


def load(workdir: Path, step: int | None = None) -> Inverter:
    """The inversion of a run of 'inversion' or 'transfer'.

    Args:
        workdir: folder of the run.
        step: which checkpoint, by its number of steps; the newest sound one if not given.

    Raises:
        InputError: `workdir` holds no such run, or no such checkpoint.
    """
    task = configs.load(workdir / "config.json").task
    if task not in TASKS:
        raise InputError(
            f"'{workdir}' holds a run of '{task}', which inverts no pictures; give one of {' or '.join(TASKS)}."
        )
    return Inverter(runs.load(workdir, make_mesh(), step))
