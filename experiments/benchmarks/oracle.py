"""Measures a trained oracle on puppets of 256 px that it has never seen, and stores it for `load_oracle`.

    faceswap train --config experiments/oracle.py --workdir runs/oracle
    python -m experiments.benchmarks.oracle --workdir runs/oracle [--output FILE] [--pictures 2048]

The file holds the weights as float16, the errors of these very weights, and reference pictures that
tell whether the renderer has changed since.
"""

from pathlib import Path

import jax
import numpy as np
from absl import app, flags
from jaxtyping import Float

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import DEGREES
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.evaluation import oracle
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.training import runs

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the trained run.", required=True)
OUTPUT = flags.DEFINE_string("output", str(oracle.SHIPPED), "File to write.")
PICTURES = flags.DEFINE_integer("pictures", 2048, "Puppets to measure on.", lower_bound=1)


def main(_) -> None:
    """Restores, stores, measures what was stored, stores that."""
    silence_orbax()
    path = Path(OUTPUT.value)
    world_seed, trained = restore(Path(WORKDIR.value))

    # Measured as stored: float16 changes the errors.
    oracle.save_oracle(path, trained)
    final = oracle.measured(oracle.load_oracle(path), world_seed, range(PICTURES.value))
    oracle.save_oracle(path, final)

    frames = (samples.sample_frame(world_seed, i, 16) for i in range(PICTURES.value))
    truth = np.stack([samples.parameters(frame) for frame in frames])
    guessing = np.abs(truth - np.median(truth, axis=0)).mean(0)
    show(final, guessing)


def restore(workdir: Path) -> tuple[int, oracle.Oracle]:
    """Returns the seed of the test world, and the oracle of the newest checkpoint, not measured yet."""
    run = runs.load(workdir, make_mesh())
    trained = oracle.Oracle(run.task.model, run.state.params, {}, {}, oracle.reference())
    return run.config.data.test_world_seed, trained


def show(final: oracle.Oracle, guessing: Float[np.ndarray, "40"]) -> None:
    """Prints the errors, and those of always saying the median."""
    rows = []
    for (name, span), guess in zip(samples.SPANS.items(), guessing, strict=True):
        face_only = final.errors[name]
        whole = final.picture_errors[name]
        degrees = f"{face_only * DEGREES[name]:.2f}" if name in DEGREES else ""
        errors = [f"{error:.3g}" for error in (face_only, whole, guess)]
        rows.append([name, f"{span.low:g} .. {span.high:g}", *errors, degrees])
    columns = ("span", "face only", "whole picture", "guessing", "face only, degrees")
    print_table(("parameter", *columns), rows, title="mean absolute error")


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
