"""What each choice of the small experiments is worth: the choice taken back, all else equal, for the same wall time.

    python -m experiments.benchmarks.levers --workdir build/levers [--minutes 5] [--seeds 2] [--only "warp,batch of 8"]
        [--personas 3] [--swapped 3]

Trains `demo.py` on a few puppets, from nothing unless a row says otherwise, and scores swaps of clips that were never
trained on against the truth, blended with --blend none. Before all trainings the speed of the steps of each is
measured, so that all would take equally long on a quiet machine, whatever a step costs. What is finished is kept: the
same command continues; other --minutes or --personas want another --workdir.
"""

import itertools
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import app, flags

from data_pipelines.puppets.dataset import PuppetClips, write_clips, write_records
from experiments import demo
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.evaluation.frames import row_name
from faceswap_jax.files import write_json
from faceswap_jax.train import train

WORKDIR = flags.DEFINE_string("workdir", None, "Folder to make or to continue.", required=True)
MINUTES = flags.DEFINE_float("minutes", 5.0, "Of each training.", lower_bound=0.5)
SEEDS = flags.DEFINE_integer("seeds", 2, "Trainings of each choice.", lower_bound=1)
PERSONAS = flags.DEFINE_integer("personas", 3, "Puppets to train on.", lower_bound=2)
SWAPPED = flags.DEFINE_integer(
    "swapped", 3, "Of these the first, whose clips are swapped.", lower_bound=2
)
ONLY = flags.DEFINE_list("only", None, "Names of choices, with commas between; all by default.")

TRACKS = range(12)
HELD_OUT = range(12, 13)
PROBE = 60  # steps that the speed is measured on
BLENDING = "none"
FINAL = 0.25  # of the steps, at the final rate

ONE_DECODER = {
    "model.network": "tunable",
    "model.code": 32,
    "model.made": 1,
    "model.mean_decoder": False,
}

# What is changed of `demo.py` without its start
CHOICES: dict[str, Mapping[str, object]] = {
    "demo.py from nothing": {},
    "adam 1e-3": {"optimizer": "adam", "learning_rate": 1e-3, "final_learning_rate": 1e-4},
    "adam 3e-3": {"optimizer": "adam", "learning_rate": 3e-3, "final_learning_rate": 3e-4},
    "adabelief 1e-3": {
        "optimizer": "adabelief",
        "learning_rate": 1e-3,
        "final_learning_rate": 1e-4,
    },
    "muon .01": {"learning_rate": 0.01, "final_learning_rate": 0.001},
    "muon .04": {"learning_rate": 0.04, "final_learning_rate": 0.004},
    "no averaged weights": {"average": 0.0},
    "no mean decoder": {"model.mean_decoder": False},
    "no matching": {"loss.matching": 0.0},
    "one encoder for all": {"model.network": "comb"},
    "one decoder for all": ONE_DECODER | {"model.tuning": "persona"},
    "one decoder from codes": ONE_DECODER | {"model.tuning": "code"},
    "no expression read": {"loss.expression": 0.0},
    "no closer look": {"loss.details": 0.0},
    "eyes and mouth as the rest": {"loss.parts": 1.0, "loss.details": 0.0},
    "eyes and mouth by 8": {"loss.parts": 8.0},
    "latent cycle": {"loss.latent_cycle": 0.1},
    "warp": {"data.warp": 0.05},
    "not mirrored": {"data.mirror": False},
    "growing from 16 px": {"level_steps": (0, 0, 0.2, 0.2, 0.35)},
    "batch of 8": {"batch": 8},
    "alignment stable": {"alignment": "stable"},
    "published widths": {
        "model.channels": (),
        "model.part_channels": (),
        "model.width": 0.125,
    },
    "from puppets": {"init": "puppets", "learning_rate": 0.005, "final_learning_rate": 0.001},
    "from puppets with its encoder held": {
        "init": "puppets",
        "freeze.steps": 170,
        "learning_rate": 0.005,
        "final_learning_rate": 0.001,
    },
}
FROM_NOTHING = {
    "init": "",
    "freeze.steps": 0,
    "learning_rate": 0.02,
    "final_learning_rate": 0.002,
}

COLUMNS = {
    "psnr": "PSNR",
    "identity": "identity",
    "gaze": "gaze",
    "lids": "lids",
    "brows": "brows",
    "mouth": "mouth",
    "sharpness": "sharpness",
}
"""Scores of the bench, and how the table calls them."""


def main(_) -> None:
    """Makes the data, then trains and scores the choices by turns of the seed."""
    silence_orbax()
    workdir = Path(WORKDIR.value)
    make_data(workdir)
    chosen = ONLY.value or list(CHOICES)
    for name in chosen:
        if name not in CHOICES:
            raise app.UsageError(f"There is no choice '{name}'; choose of {', '.join(CHOICES)}.")
    # All speeds in the same minutes: what else the machine does changes.
    for name in chosen:
        finish(experiment(name, 0, workdir, PROBE), workdir / "probes" / name)
    for seed in range(SEEDS.value):
        for name in chosen:
            result = workdir / "results" / f"{name}, {seed}.json"
            if not result.exists():
                result.parent.mkdir(exist_ok=True)
                write_json(result, scores_of(name, seed, workdir))
    show(workdir / "results")


def make_data(workdir: Path) -> None:
    """Records to train on and clips to swap, of the same puppets."""
    write_records(workdir / "data", 0, range(PERSONAS.value), TRACKS, 25, 3.0, 64, processes=2)
    swapped = range(SWAPPED.value)
    clips = PuppetClips.regular(0, swapped, HELD_OUT, frames=40, size=160, rate=8.0)
    write_clips(workdir / "held_out", clips, processes=2)


def scores_of(name: str, seed: int, workdir: Path) -> dict[str, float]:
    """Trains one choice as long as all, and scores its swaps."""
    steps = round(60 * MINUTES.value * speed(workdir / "probes" / name))
    run = workdir / "runs" / f"{name}, {seed}"
    finish(experiment(name, seed, workdir, steps), run)
    output = evaluate(run, workdir / "held_out", (BLENDING,))
    rows = json.loads((output / "scores.json").read_text())["overall"]
    found = rows[row_name("swap", BLENDING)]
    return {"steps": steps} | {score: found[score]["mean"] for score in COLUMNS}


def finish(config: ml_collections.ConfigDict, run: Path) -> None:
    """Trains to the end, or ends the program where it is interrupted."""
    if not train(config, run):
        raise SystemExit(130)


def experiment(name: str, seed: int, workdir: Path, steps: int) -> ml_collections.ConfigDict:
    """The demo with a choice taken back, for some steps."""
    c = demo.get_config()
    c.update_from_flattened_dict(FROM_NOTHING | CHOICES[name] | {"seed": seed})
    c.data.path = str(workdir / "data")
    shares = CHOICES[name].get("level_steps", (0, 0, 0, 0, 1 - FINAL))
    c.level_steps = tuple(round(share * steps) for share in shares)
    c.final_steps = steps - sum(c.level_steps)
    c.run.update(log=10, preview=steps, checkpoint=steps)
    return c


def speed(run: Path) -> float:
    """Steps per second, each phase as fast as it ever was: other work on the machine can only slow it."""
    lines = (run / "metrics.jsonl").read_text().splitlines()
    rows = [row for row in map(json.loads, lines) if "phase" in row]
    steps, fastest = Counter(), {}
    for before, row in itertools.pairwise([{"step": 0}, *rows]):
        phase = row["phase"]
        steps[phase] += row["step"] - before["step"]
        fastest[phase] = max(fastest.get(phase, 0), row.get("steps_per_second", 0))
    seconds = sum(count / fastest[phase] for phase, count in steps.items())
    return steps.total() / seconds


def show(results: Path) -> None:
    """Prints the means over the seeds, and how far the seeds are apart."""
    rows = []
    for name in CHOICES:
        paths = sorted(results.glob(f"{name}, *.json"))
        if paths:
            found = [json.loads(path.read_text()) for path in paths]
            rows.append([name, *(cell([one[score] for one in found]) for score in found[0])])
    print_table(
        ("choice", "steps", *COLUMNS.values()),
        rows,
        title=f"{MINUTES.value:g} minutes each",
        width=130,
    )


def cell(values: list[float]) -> str:
    """The mean of the seeds, ± half their range."""
    mean = np.mean(values)
    if mean > 100:
        return f"{mean:.0f}"
    return f"{mean:.3g} ± {np.ptp(values) / 2:.2g}"


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
