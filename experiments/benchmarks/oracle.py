"""Measures a trained oracle on puppets that it has never seen, and stores it where `load_oracle` finds it.

    faceswap train --config experiments/oracle.py --workdir runs/oracle
    python -m experiments.benchmarks.oracle --workdir runs/oracle [--output FILE] [--pictures 2048]

The file holds the weights as float16, the errors of these very weights, and what tells a changed renderer.
"""

from pathlib import Path

import jax
import numpy as np
from absl import app, flags, logging
from jaxtyping import Float
from rich.console import Console
from rich.table import Column, Table

from data_pipelines.puppets import samples
from data_pipelines.puppets.parameters import DEGREES
from faceswap_jax.evaluation import oracle
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.training import runs

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the trained run.", required=True)
OUTPUT = flags.DEFINE_string("output", str(oracle.SHIPPED), "File to write.")
PICTURES = flags.DEFINE_integer("pictures", 2048, "Puppets to measure on.", lower_bound=1)


def main(_) -> None:
    """Restores, stores, measures what was stored, stores that."""
    logging.set_verbosity(logging.ERROR)  # Orbax tells a lot
    path, world_seed, trained = Path(OUTPUT.value), *restore(Path(WORKDIR.value))
    oracle.save_oracle(path, trained)
    final = oracle.measured(oracle.load_oracle(path), world_seed, range(PICTURES.value))
    oracle.save_oracle(path, final)
    numbers = (
        samples.parameters(samples.sample_frame(world_seed, i, 16)) for i in range(PICTURES.value)
    )
    truth = np.stack(list(numbers))
    show(final, np.abs(truth - np.median(truth, axis=0)).mean(0))


def restore(workdir: Path) -> tuple[int, oracle.Oracle]:
    """The seed of the test world, and the newest checkpoint, not measured yet."""
    run = runs.load(workdir, make_mesh())
    trained = oracle.Oracle(run.task.model, run.state.params, {}, {}, oracle.reference())
    return run.config.data.test_world_seed, trained


def show(final: oracle.Oracle, guessing: Float[np.ndarray, "40"]) -> None:
    """Prints the errors, and those of always saying the median."""
    columns = ("span", "face only", "whole picture", "guessing", "face only, degrees")
    table = Table(
        "parameter",
        *(Column(name, justify="right") for name in columns),
        title="mean absolute error",
    )
    for (name, span), guess in zip(samples.SPANS.items(), guessing, strict=True):
        errors = final.errors[name], final.picture_errors[name], guess
        degrees = f"{errors[0] * DEGREES[name]:.2f}" if name in DEGREES else ""
        table.add_row(
            name, f"{span.low:g} .. {span.high:g}", *(f"{error:.3g}" for error in errors), degrees
        )
    Console().print(table)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
