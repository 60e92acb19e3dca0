"""Measures the oracle that ships, or a newly trained one and stores it, on puppets of 256 px that it has never seen.

    python -m experiments.benchmarks.oracle [--pictures 2048]

    faceswap train --config experiments/oracle.py --workdir runs/oracle
    python -m experiments.benchmarks.oracle --workdir runs/oracle [--output FILE]

The file holds the weights as float16, the errors of these very weights, and reference pictures that
tell whether the renderer has changed since.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from jaxtyping import Bool

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import DEGREES
from experiments import oracle as experiment
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.evaluation import oracle
from faceswap_jax.evaluation.puppet_world import OPEN_LIDS
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.training import runs

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run, to be stored.")
OUTPUT = flags.DEFINE_string("output", str(oracle.SHIPPED), "File to write.")
PICTURES = flags.DEFINE_integer("pictures", 2048, "Puppets to measure on.", lower_bound=1)

ASIDE = 25.0
"""Degrees of yaw beyond which the nose begins to hide the far eye."""


def main(_) -> None:
    """Restores, stores, measures what was stored, stores that; or measures what ships."""
    silence_orbax()
    if WORKDIR.value:
        # Measured as stored: float16 changes the errors.
        oracle.save_oracle(Path(OUTPUT.value), restore(Path(WORKDIR.value)))
    stored = oracle.load_oracle(Path(OUTPUT.value))
    world_seed = experiment.get_config().data.test_world_seed
    found = oracle.errors(stored, world_seed, range(PICTURES.value))
    if WORKDIR.value:
        oracle.save_oracle(Path(OUTPUT.value), oracle.measured(stored, found))
    show(found)
    show_in_sight(found)


def restore(workdir: Path) -> oracle.Oracle:
    """The oracle of the newest checkpoint, not measured yet."""
    run = runs.load(workdir, make_mesh())
    return oracle.Oracle(run.task.model, run.state.params, {}, {}, oracle.reference())


def show(found: oracle.Errors) -> None:
    """Prints the errors, and those of always saying the median."""
    guessing = np.abs(found.truth - np.median(found.truth, axis=0))
    means = np.stack([found.face.mean(0), found.picture.mean(0), guessing.mean(0)])
    rows = []
    for (name, span), errors in zip(samples.SPANS.items(), means.T, strict=True):
        degrees = f"{errors[0] * DEGREES[name]:.2f}" if name in DEGREES else ""
        rows.append(
            [name, f"{span.low:g} .. {span.high:g}", *(f"{error:.3g}" for error in errors), degrees]
        )
    columns = ("span", "face only", "whole picture", "guessing", "face only, degrees")
    print_table(("parameter", *columns), rows, title="mean absolute error")


def show_in_sight(found: oracle.Errors) -> None:
    """Prints errors of the face alone where what they are about is in sight."""
    truth = dict(zip(samples.SPANS, found.truth.T, strict=True))
    opened = np.minimum(truth["lid_left"], truth["lid_right"]) > OPEN_LIDS
    frontal = np.abs(truth["yaw"]) < ASIDE
    gaze = ("gaze_x", "gaze_y")
    lids = ("lid_left", "lid_right")
    rows = [
        [f"gaze (deg), both lids above {OPEN_LIDS:g}", means_of(found, gaze, opened)],
        [f"the same, |yaw| below {ASIDE:g}", means_of(found, gaze, opened & frontal)],
        [f"lids, |yaw| below {ASIDE:g}", means_of(found, lids, frontal)],
    ]
    print_table(("in sight", "mean absolute errors"), rows)


def means_of(found: oracle.Errors, names: Sequence[str], counted: Bool[np.ndarray, "n"]) -> str:
    """Mean errors of parameters over some puppets, angles in degrees."""
    means = []
    for name in names:
        errors = found.face[counted, list(samples.SPANS).index(name)]
        means.append(f"{errors.mean() * DEGREES.get(name, 1):.3g}")
    return ", ".join(means)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
