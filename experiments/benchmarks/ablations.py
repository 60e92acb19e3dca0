"""What each part of MC-AAD is worth: the part taken away, or added, all else equal, for as many steps.

    python -m experiments.benchmarks.ablations --workdir build/ablations --data data [--steps 1000] [--seeds 2] \
        [--only "as it is,without the cycle"]

Data are those that the card of `attribute_puppets.py` makes, but with --alike 2 in place of --restyled: "truths" want
people two by two who are alike, and the other choices do not mind. What is trained is its network, in --steps, 0.5 s
each on two quiet cores; its schedules are as much shorter. Then puppets that it has never seen, half of whom wear
glasses, lend each other identities and expressions, blended with --blend none. Scores are comparable within one call:
longer trained networks than those that ship are given by --identity and --expression.

The source claims that glasses are kept by the cycle alone. "Glasses kept" is told of those who wear some; beside it
stand what doing nothing keeps, and what the oracle finds in the truth itself.

What is finished is kept: the same command continues, also in the middle of a training. Other --steps or --data want
another --workdir.
"""

import json
import time
from collections.abc import Mapping, Sequence
from operator import attrgetter
from pathlib import Path

import jax
import ml_collections
from absl import app, flags
from rich.console import Console

from data_pipelines import datasets
from data_pipelines.puppets.dataset import PuppetClips, write_clips
from data_pipelines.puppets.parameters import sample_persona
from experiments import attribute_puppets
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.evaluation.frames import row_name
from faceswap_jax.files import write_json
from faceswap_jax.tasks.open_set import trained_identities
from faceswap_jax.train import train

WORKDIR = flags.DEFINE_string("workdir", None, "Folder to make or to continue.", required=True)
DATA = flags.DEFINE_string("data", "data", "Data set of puppets to train on.")
IDENTITY = flags.DEFINE_string("identity", "puppets", "Run that reads identities, or what ships.")
EXPRESSION = flags.DEFINE_string(
    "expression", "puppets", "Run that reads expressions, or what ships."
)
STEPS = flags.DEFINE_integer("steps", 1_000, "Of each training.", lower_bound=1)
SEEDS = flags.DEFINE_integer("seeds", 2, "Trainings of each choice.", lower_bound=1)
ONLY = flags.DEFINE_list("only", None, "Names of choices, with commas between; all by default.")
WORLD = flags.DEFINE_integer("world_seed", 7, "Of the puppets of --data.")
FIRST = flags.DEFINE_integer("first_persona", 5_400, "Of those who are held out of --data.")
EACH = flags.DEFINE_integer("each", 3, "How many with glasses, and without.", lower_bound=1)
SIZE = flags.DEFINE_integer("size", 192, "Side of their clips, pixels.")
FRAMES = flags.DEFINE_integer("frames", 30, "Of each of their clips.", lower_bound=1)

TRACK = 9  # of their clips, which no data have
RATE = 10.0
BLENDING = "none"

# What is changed of `attribute_puppets.py`
CHOICES: dict[str, Mapping[str, object]] = {
    "as it is": {},
    "nothing hidden": {"model.hidden": ()},
    "own identities": {"data.pictures": 1},
    "without the cycle": {"loss.cycle": 0.0},
    "without the expression role": {"features.expression": ""},
    "one mask": {"task": "experiments.benchmarks.one_mask"},
    "cross entropy": {"loss.adversary": "cross_entropy"},
    "truths": {"data.alike": 2},
    "truths, nothing hidden": {"data.alike": 2, "model.hidden": (), "loss.attributes": 1.0},
}

COLUMNS = {
    "identity found %": ("identity", "identity"),
    "attribute error %": ("identity", "attributes"),
    "glasses kept %": ("identity", "glasses"),
    "yaw error, deg": ("identity", "yaw"),
    "pitch error, deg": ("identity", "pitch"),
    "mouth error %": ("identity", "mouth"),
    "PSNR gain, dB": ("identity", "psnr"),
    "lent mouth error %": ("expression", "mouth"),
    "lent lid error %": ("expression", "lids"),
    "lent PSNR gain, dB": ("expression", "psnr"),
}
"""Of each column the role that is lent, and the score. PSNR is told as its gain over doing nothing."""

SWAP = row_name("swap", BLENDING)
REFERENCES = ("do nothing", row_name("ceiling", BLENDING), "truth")
"""Rows of the bench that no training changes."""

Found = Mapping[str, Mapping[str, float | None]]
"""Of each row of the bench, of each column; None where it is not measured."""


def main(_: Sequence[str]) -> None:
    """Makes the clips, then trains and scores the choices by turns of the seed."""
    silence_orbax()
    workdir = Path(WORKDIR.value)
    chosen = ONLY.value or list(CHOICES)
    for name in chosen:
        if name not in CHOICES:
            raise app.UsageError(f"There is no choice '{name}'; choose of {', '.join(CHOICES)}.")
    make_clips(workdir / "held_out")

    todo = []
    for seed in range(SEEDS.value):
        for name in chosen:
            result = workdir / "results" / f"{name}, {seed}.json"
            if not result.exists():
                todo.append((name, seed, result))
    begin = time.monotonic()
    for number, (name, seed, result) in enumerate(todo, 1):
        found = scores_of(name, seed, workdir)
        result.parent.mkdir(exist_ok=True)
        write_json(result, found)
        hours = (time.monotonic() - begin) / 3600
        left = hours / number * (len(todo) - number)
        tell(
            f"{number} of {len(todo)}: {name}, seed {seed}, {hours:.1f} h; about {left:.1f} h left"
        )
    show(workdir / "results")


def make_clips(folder: Path) -> None:
    """Clips of puppets that are never trained on, half of whom wear glasses."""
    wearing, bare = [], []
    number = FIRST.value
    while min(len(wearing), len(bare)) < EACH.value:
        group = wearing if sample_persona(WORLD.value, number).glasses > 0 else bare
        if len(group) < EACH.value:
            group.append(number)
        number += 1
    personas = sorted(wearing + bare)
    clips = PuppetClips.regular(
        WORLD.value, personas, [TRACK], frames=FRAMES.value, size=SIZE.value, rate=RATE
    )

    data = experiment("as it is", seed=0).data
    trained = trained_identities(datasets.open_data(data), data.held_out)
    known = sorted({clip.name for clip in clips.clips} & set(trained))
    if known:
        raise app.UsageError(
            f"{', '.join(known)} of '{DATA.value}' are trained on; name the first of the others by --first_persona."
        )
    write_clips(folder, clips)


def scores_of(name: str, seed: int, workdir: Path) -> Found:
    """Trains one choice, or goes on with it, and scores what it makes; ends the program where it is interrupted."""
    run = workdir / "runs" / f"{name}, {seed}"
    if not train(experiment(name, seed), run):
        raise SystemExit(130)
    try:
        output = evaluate(run, workdir / "held_out", (BLENDING,))
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    tables = {}
    for role in ("identity", "expression"):
        path = output / role / "scores.json"
        if path.exists():
            tables[role] = json.loads(path.read_text())["overall"]
    return {row: columns_of(tables, row) for row in (SWAP, *REFERENCES)}


def columns_of(tables: Mapping[str, Mapping], row: str) -> dict[str, float | None]:
    """What a row of the bench has in each column."""
    found = dict.fromkeys(COLUMNS)
    for column, (role, score) in COLUMNS.items():
        if role not in tables:
            continue
        value = tables[role][row][score]["mean"]
        if score != "psnr":
            found[column] = value
        elif row != "truth":
            # The truth is like itself.
            found[column] = value - tables[role]["do nothing"][score]["mean"]
    return found


def experiment(name: str, seed: int) -> ml_collections.ConfigDict:
    """The experiment with a part taken away."""
    c = attribute_puppets.get_config()
    c.data.path = DATA.value
    c.features.update(identity=IDENTITY.value, expression=EXPRESSION.value)
    shorter = {"steps": STEPS.value}
    for part in ("final_steps", "loss.features_warm_up", "loss.adversarial_warm_up"):
        shorter[part] = round(attrgetter(part)(c) * STEPS.value / c.steps)
    c.update_from_flattened_dict(CHOICES[name] | shorter | {"seed": seed})
    c.run.preview = STEPS.value
    return c


def show(results: Path) -> None:
    """Prints a row for each choice and seed, below those that no training changes."""
    found = {}
    for name in CHOICES:
        for path in sorted(results.glob(f"{name}, *.json")):
            found[path.stem] = json.loads(path.read_text())
    # Not every choice has all roles.
    fullest = min(found.values(), key=lambda one: list(one["truth"].values()).count(None))
    rows = [[row, *cells(fullest[row])] for row in REFERENCES]
    rows += [[name, *cells(one[SWAP])] for name, one in found.items()]
    print_table(("choice, seed", *COLUMNS), rows, title=f"after {STEPS.value:,} steps", width=160)


def cells(found: Mapping[str, float | None]) -> list[str]:
    """The numbers of a row; a dash where there is none."""
    return ["-" if value is None else f"{value:.1f}" for value in found.values()]


def tell(text: str) -> None:
    """A line for people."""
    Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
