"""Kills trainings with SIGKILL at random moments, continues them, and compares with one that was left alone.

    python -m experiments.benchmarks.kills [--trials 20] [--kills 1] [--steps 20] [--seed 0]

A tiny comb network trains at 8 and then at 16 px and saves after every step, so that most kills meet a
save. A trial survives if the same command then comes to the end. It is bit-equal if the state it ends
with (parameters, optimizer, random state) and the metrics of all its steps, which depend on the order
of the data, are those of the training that was left alone.
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
from absl import app, flags

from data_pipelines.puppets.dataset import write_records
from experiments.benchmarks.measuring import silence_orbax
from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.reporting.reporter import METRICS, TIMES
from faceswap_jax.training import runs

TRIALS = flags.DEFINE_integer("trials", 20, "Trainings to kill.", lower_bound=1)
KILLS = flags.DEFINE_integer("kills", 1, "How often to kill each.", lower_bound=1)
STEPS = flags.DEFINE_integer("steps", 20, "Of each of the two levels.", lower_bound=3)
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
    """Prints a line for each trial, and how many survived."""
    silence_orbax()
    outcomes = []
    with tempfile.TemporaryDirectory() as folder:
        values = (TRIALS.value, KILLS.value, STEPS.value, SEED.value)
        for outcome in trials(Path(folder), *values):
            outcomes.append(outcome)
            print(f"{len(outcomes):3} {outcome}", flush=True)

    kills = sum(len(outcome.steps) for outcome in outcomes)
    saving = sum(outcome.saving for outcome in outcomes)
    survived = sum(outcome.survived for outcome in outcomes)
    equal = sum(outcome.equal for outcome in outcomes)
    print(
        f"{len(outcomes)} trials, {survived} survived, {equal} bit-equal; {saving} of {kills} kills "
        "met a save"
    )
    sys.exit(not survived == equal == len(outcomes))


def trials(folder: Path, count: int, kills: int, steps: int, seed: int) -> Iterator[Outcome]:
    """Trains undisturbed in `folder`, then kills `count` trainings `kills` times each."""
    write_records(folder / "data", 0, range(2), range(1), frames=8, rate=4.0, resolution=16)
    last = 2 * steps
    undisturbed = folder / "undisturbed"
    period = _seconds_per_step(undisturbed, steps)
    expected = _result(undisturbed, last)

    chance = random.Random(seed)
    for number in range(1, count + 1):
        workdir = folder / f"trial_{number}"
        killed = []
        saving = 0
        for step in sorted(chance.sample(range(1, last), kills)):
            process = _start(workdir, steps)
            _await_save(workdir, step, process)
            # Somewhere within the next two steps, and mostly within a save.
            time.sleep(chance.uniform(0, 2 * period))
            process.kill()
            # Zero: the training ended before the kill.
            if process.wait():
                killed.append(_saved(workdir))
                saving += any((workdir / "checkpoints").glob("*tmp*"))

        survived = _start(workdir, steps).wait() == 0
        equal = survived and _result(workdir, last) == expected
        yield Outcome(killed, saving, survived, equal)


def _seconds_per_step(workdir: Path, steps: int) -> float:
    """Trains to the end; returns the seconds of a step of the second level."""
    process = _start(workdir, steps)
    # The first steps of a level take longer: they compile.
    _await_save(workdir, steps + 2, process)
    began = time.monotonic()
    _await_save(workdir, 2 * steps, process)
    period = (time.monotonic() - began) / (steps - 2)
    assert process.wait() == 0
    return period


def _start(workdir: Path, steps: int) -> subprocess.Popen:
    """Starts the training, which goes on from its newest checkpoint."""
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
        *(f"--config.{name}={value}" for name, value in values.items()),
    ]
    environment = os.environ | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
    }
    with (folder / f"{workdir.name}.log").open("ab") as log:
        return subprocess.Popen(
            command,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )


def _saved(workdir: Path) -> int:
    """Returns how many steps the newest checkpoint has done."""
    names = [path.name for path in (workdir / "checkpoints").glob("*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def _await_save(workdir: Path, step: int, process: subprocess.Popen) -> None:
    """Returns when the process has saved this step, or a later one, or ended."""
    while _saved(workdir) < step and process.poll() is None:
        time.sleep(0.001)


def _result(workdir: Path, last: int) -> tuple[int, dict[str, str], list[dict]]:
    """Returns steps done, the digests of the state as a restore gives it, and the metrics."""
    state = runs.load(workdir, make_mesh(), last, optimizer=True).state
    return int(state.step), digests(state), _metrics(workdir)


def _metrics(workdir: Path) -> list[dict]:
    """Returns the rows of all steps, without the times."""
    rows = map(json.loads, (workdir / METRICS).read_text().splitlines())
    return [{name: row[name] for name in row if name not in TIMES} for row in rows]


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
