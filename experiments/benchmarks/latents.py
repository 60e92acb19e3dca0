"""What an encoder's latents tell of puppets it never saw: how well parameters of performances are read from them.

    python -m experiments.benchmarks.latents [--start puppets] [--config experiments/pretraining.py]

Renders puppets of two worlds that no training uses. A ridge regression from latents to the true parameters is fitted on
one and tried on the other. What it cannot read, decoders hardly show. The last row is how much of the latents' variance
tells puppets apart who do the same: identity, which should not be there.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jaxtyping import Float, UInt8

from data_pipelines.puppets.parameters import PERFORMANCE_SPANS
from data_pipelines.puppets.source import PuppetRecords, PuppetTrack
from data_pipelines.puppets.tracks import performance_track
from data_pipelines.records import aligned_crop
from experiments.benchmarks.measuring import print_table
from faceswap_jax import config as configs
from faceswap_jax.faces import align
from faceswap_jax.models.autoencoder import Autoencoder
from faceswap_jax.ops.precision import from_bytes
from faceswap_jax.tasks import autoencoder_start
from faceswap_jax.tasks.registry import load_task

START = flags.DEFINE_string(
    "start", "puppets", "As config.init: a run's folder, a file, or 'puppets'."
)
CONFIG = flags.DEFINE_string(
    "config", "experiments/pretraining.py", "The experiment that it was trained with."
)

FITTED, TRIED = 901, 902
"""Worlds of puppets."""

TOGETHER = 4
"""Puppets who perform together."""

PUPPETS = {FITTED: 64, TRIED: 48}
FRAMES = 40
RATE = 2.0
BATCH = 64
RIDGE = 10.0
NAMES = [name for name in PERFORMANCE_SPANS if not name.startswith("translate")]


class Faces(NamedTuple):
    """Crops of a world's puppets, one puppet after the other, and the parameters of what they do."""

    crops: UInt8[np.ndarray, "n r r 3"]
    landmarks: Float[np.ndarray, "n 68 2"]
    parameters: Float[np.ndarray, "n k"]


def main(_) -> None:
    """Prints the correlations of what is read with what is true."""
    config = configs.from_experiment(Path(CONFIG.value))
    config.personas = ("a", "b")
    config.init = ""
    task = load_task(config)
    network = task.network(task.phases[-1])
    start = autoencoder_start.load(START.value)

    fitted, tried = (faces_of(world, network.resolution, config.alignment) for world in PUPPETS)
    encode = encoder(network, start.params)
    z = encode(fitted)
    mean = z.mean(0)
    spread = z.std(0) + 1e-6
    read = reading((z - mean) / spread, fitted.parameters)

    z = (encode(tried) - mean) / spread
    told = read(z)
    rows = []
    for column, name in enumerate(NAMES):
        found = np.corrcoef(told[:, column], tried.parameters[:, column])[0, 1]
        rows.append([name, f"{found:.2f}"])
    rows.append(["identity, of the variance", f"{identity_share(z):.2f}"])
    print_table(("parameter", "correlation"), rows, title=START.value)


def faces_of(world: int, resolution: int, alignment: str) -> Faces:
    """Renders puppets of a world, some of whom perform together."""
    crops = []
    landmarks = []
    parameters = []
    for puppet in range(PUPPETS[world]):
        performer = puppet - puppet % TOGETHER
        track = PuppetTrack.of(world, puppet, 0, FRAMES, RATE, performer)
        records = PuppetRecords(track, resolution)
        for frame, done in enumerate(performance_track(world, performer, 0, FRAMES, RATE)):
            record = records.render(frame)
            transform = align.alignment_transform(record.landmarks, resolution, alignment)
            crops.append(aligned_crop(record, resolution, alignment))
            landmarks.append(align.transform_points(record.landmarks, transform))
            parameters.append([getattr(done, name) for name in NAMES])
    return Faces(np.stack(crops), np.stack(landmarks), np.array(parameters))


def encoder(network: Autoencoder, params: dict) -> Callable[[Faces], np.ndarray]:
    """From faces to their latents."""

    @jax.jit
    def encode(crops, landmarks):
        inputs = {"image": from_bytes(crops), "landmarks": landmarks}
        return network.encode(params, inputs, jnp.ones(()))

    def encode_all(faces: Faces) -> np.ndarray:
        starts = range(0, len(faces.crops), BATCH)
        parts = [encode(faces.crops[i : i + BATCH], faces.landmarks[i : i + BATCH]) for i in starts]
        return np.concatenate(parts)

    return encode_all


def reading(z: np.ndarray, parameters: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """A ridge regression, fitted."""

    def with_constant(z):
        return np.concatenate([z, np.ones((len(z), 1))], 1)

    x = with_constant(z)
    kernel = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ parameters)
    return lambda z: with_constant(z) @ kernel


def identity_share(z: np.ndarray) -> float:
    """How much of the variance of latents lies between the means of puppets who perform together."""
    means = z.reshape(-1, TOGETHER, FRAMES, z.shape[-1]).mean(2)
    return float(means.var(1).mean(0).sum() / z.var(0).sum())


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
