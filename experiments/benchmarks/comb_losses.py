"""What the comb network's options do to swaps, on the bench, with equal steps.

    faceswap puppets --output data --format records --personas 8 --tracks 12 --frames 25 --rate 3 --resolution 64
    faceswap puppets --output held_out --personas 8 --first_track 12 --tracks 1 --frames 12 --rate 3 --size 128
    python -m experiments.benchmarks.comb_losses --data data --held_out held_out --embedder runs/identity \
        --workdir runs/comb_losses [--seeds 0,1] [--variants "none,+ identity"] [--level_steps 0,0,100,500]

Options are losses, the order of updates, and masking. Every variant is trained with every seed and
evaluated with --blend none, where the face is the network's own. The table has means over the seeds
and, under them, half of the distance between the extreme seeds. The same command continues.
"""

import json
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments import comb_puppets
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.evaluation.bench import evaluate
from faceswap_jax.train import train

DATA = flags.DEFINE_string("data", None, "Face records of the puppets to train on.", required=True)
HELD_OUT = flags.DEFINE_string(
    "held_out", None, "Clips of the same puppets, never trained on.", required=True
)
EMBEDDER = flags.DEFINE_string("embedder", None, "A run of experiments/identity.py.", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the runs.", required=True)
SEEDS = flags.DEFINE_list("seeds", "0,1", "Seeds of each variant.")
LEVEL_STEPS = flags.DEFINE_list(
    "level_steps", "0,0,100,500", "Steps of each level; a fifth of the last is added."
)

IDENTITY = {"loss.identity": 0.2}
CYCLE = {"loss.cycle": 1.0, "loss.latent_cycle": 0.1}
VARIANTS = {
    "none": {},
    "+ identity": IDENTITY,
    "+ cycle": CYCLE,
    "+ identity + cycle": IDENTITY | CYCLE,
    "sequential": {"update_order": "sequential"},
    "Eq. 1": {"loss.masking": "target"},
}
CHOSEN = flags.DEFINE_list("variants", list(VARIANTS), "Which variants.")

BLEND = "none"
ROW = "swap --blend none"
REFERENCES = ("do nothing", "ceiling --blend none")

SCORES = {
    "psnr": "PSNR (dB)",
    "ms_ssim": "MS-SSIM (%)",
    "identity": "identity found (%)",
    "distance": "identity distance",
    "yaw": "yaw (deg)",
    "pitch": "pitch (deg)",
    "gaze": "gaze (deg)",
    "lids": "lids (%)",
    "mouth": "mouth (%)",
    "sharpness": "sharpness (%)",
    "flicker": "flicker",
}
WIDTH = 170  # of the table, in characters
PERCENT = ("ms_ssim", "sharpness")  # stored as fractions

Overall = dict[str, dict[str, dict[str, float]]]
"""Statistics of each score of each row of the bench."""


def main(_) -> None:
    """Trains, evaluates, prints the table."""
    silence_orbax()
    found: dict[str, list[Overall]] = {}
    # All variants of a seed first, so that a whole table is there early.
    for seed in SEEDS.value:
        for variant in CHOSEN.value:
            found.setdefault(variant, []).append(run(variant, int(seed)))
            print_scores(found)


def run(variant: str, seed: int) -> Overall:
    """Returns the scores of one trained network; does only what is still missing."""
    config = comb_puppets.get_config()
    config.data.path = DATA.value
    config.loss.embedder = EMBEDDER.value
    # The embedder's, and that of the table in experiments/comb_puppets.py
    config.alignment = "eyes"
    config.seed = seed
    config.level_steps = tuple(map(int, LEVEL_STEPS.value))
    config.final_steps = config.level_steps[-1] // 5
    config.update_from_flattened_dict(VARIANTS[variant])

    workdir = Path(WORKDIR.value) / f"{variant.replace(' ', '').replace('.', '')}_{seed}"
    if not train(config, workdir):
        raise SystemExit("Interrupted; the same command continues.")

    steps = sum(config.level_steps) + config.final_steps
    clips = Path(HELD_OUT.value).resolve()
    path = workdir / "evaluation" / clips.name / f"step_{steps}" / "scores.json"
    if not path.exists():
        evaluate(workdir, clips, [BLEND])
    return json.loads(path.read_text())["overall"]


def print_scores(found: dict[str, list[Overall]]) -> None:
    """Prints a line for doing nothing, for the ceiling, and for each variant."""
    first = next(iter(found.values()))
    rows = [[reference, *cells(first[:1], reference)] for reference in REFERENCES]
    rows += [[variant, *cells(runs, ROW)] for variant, runs in found.items()]
    print_table(("", *SCORES.values()), rows, width=WIDTH)


def cells(runs: list[Overall], row: str) -> list[str]:
    """Returns mean and spread over the runs of each score of a row."""
    texts = []
    for score in SCORES:
        scale = 100 if score in PERCENT else 1
        values = scale * np.array([run[row][score]["mean"] for run in runs])
        spread = f"\n± {np.ptp(values) / 2:.2f}" if len(values) > 1 else ""
        texts.append(f"{values.mean():.2f}{spread}")
    return texts


if __name__ == "__main__":
    app.run(main)
