"""Kills trainings with SIGKILL at random moments, continues them, and compares with one that was left alone.

    python -m experiments.benchmarks.kills [--trials 20] [--kills 1] [--steps 20] [--seed 0]

A tiny comb network trains at 8 and then at 16 px and saves after every step, so that most kills meet a save. A trial
has survived if the same command then comes to the end, and is bit-equal if the state it ends with (parameters,
optimizer, random state) and the metrics of all its steps, which tell the order of the data, are those of the training
that was left alone, to the last bit.
"""

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
from absl import app, flags, logging

from data_pipelines.puppets.dataset import write_records
from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.reporting.reporter import METRICS, TIMES
from faceswap_jax.training import runs

TRIALS = flags.DEFINE_integer("trials", 20, "Trainings to kill.", lower_bound=1)
KILLS = flags.DEFINE_integer("kills", 1, "How often to kill each.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 20, "Of each of the two levels.", lower_bound=2)
SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")
EXPERIMENT = Path(__file__).parents[1] / "comb.py"


@dataclass(frozen=True)
class Outcome:
    """What became of a training that was killed.

    Attributes:
        steps: done by its newest checkpoint, at each kill.
        saving: number of kills at which a checkpoint was being written.
        survived: whether the same command went on to the end.
        equal: whether the result is that of the training that was left alone.
    """

    steps: list[int]
    saving: int
    survived: bool
    equal: bool


def main(_) -> None:
    """Prints a line for each trial, and what they come to."""
    logging.set_verbosity(logging.ERROR)  # Orbax tells a lot
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        for outcome in trials(Path(folder), TRIALS.value, KILLS.value, STEPS.value, SEED.value):
            outcomes.append(outcome)
            print(f"{len(outcomes):3} {outcome}", flush=True)
    kills, saving = sum(len(o.steps) for o in outcomes), sum(o.saving for o in outcomes)
    survived, equal = sum(o.survived for o in outcomes), sum(o.equal for o in outcomes)
    print(
        f"{len(outcomes)} trials, {survived} survived, {equal} bit-equal; {saving} of {kills} kills met a save"
    )
    sys.exit(not survived == equal == len(outcomes))


def trials(folder: Path, count: int, kills: int, steps: int, seed: int) -> Iterator[Outcome]:
    """Trains in peace in `folder`, then kills `count` trainings `kills` times each."""
    write_records(folder / "data", 0, range(2), range(1), frames=8, rate=4.0, resolution=16)
    peaceful, last = folder / "peaceful", 2 * steps
    process = _start(peaceful, steps)
    _await_save(peaceful, steps + 2, process)
    began = time.monotonic()
    _await_save(peaceful, last, process)
    period = (time.monotonic() - began) / (steps - 2)
    assert process.wait() == 0
    expected, chance = _result(peaceful, last), random.Random(seed)
    for number in range(1, count + 1):
        workdir, killed, saving = folder / f"trial_{number}", [], 0
        for step in sorted(chance.sample(range(1, last), kills)):
            process = _start(workdir, steps)
            _await_save(workdir, step, process)
            time.sleep(chance.uniform(0, 2 * period))
            process.kill()
            if process.wait():  # else it was quicker
                killed.append(_saved(workdir))
                saving += any((workdir / "checkpoints").glob("*tmp*"))
        survived = _start(workdir, steps).wait() == 0
        yield Outcome(killed, saving, survived, survived and _result(workdir, last) == expected)


def _start(workdir: Path, steps: int) -> subprocess.Popen:
    """The same command for the first start and every other."""
    folder = workdir.parent
    values = {
        "data.path": folder / "data",
        "data.validation": 0.25,
        "data.warp": 0.02,
        "data.jitter.rotation": 3.0,
        "augment.brightness": 0.05,
        "model.width": 1 / 64,
        "model.latent": 8,
        "level_steps": f"(0,{steps},{steps})",
        "final_steps": 0,
        "run.log": 1,
        "run.preview": steps // 2,
        "run.checkpoint": 1,
    }
    command = [
        sys.executable,
        "-m",
        "faceswap_jax.cli",
        "train",
        f"--config={EXPERIMENT}",
        f"--workdir={workdir}",
    ]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
    }
    with (folder / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(
            [*command, *(f"--config.{name}={value}" for name, value in values.items())],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _saved(workdir: Path) -> int:
    """Steps done by the newest checkpoint."""
    return max(
        (int(path.name) for path in (workdir / "checkpoints").glob("*") if path.name.isdecimal()),
        default=0,
    )


def _await_save(workdir: Path, step: int, process: subprocess.Popen) -> None:
    """Returns when the process has saved this step, or a later one, or ended."""
    while _saved(workdir) < step and process.poll() is None:
        time.sleep(0.001)


def _result(workdir: Path, last: int) -> tuple[int, dict[str, str], list[dict]]:
    """Steps done, the digests of the state as a restore gives it, and the metrics."""
    state = runs.load(workdir, make_mesh(), last, optimizer=True).state
    return int(state.step), digests(state), _metrics(workdir)


def _metrics(workdir: Path) -> list[dict]:
    """The rows of all steps, without the times."""
    rows = map(json.loads, (workdir / METRICS).read_text().splitlines())
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
