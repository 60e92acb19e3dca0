"""Verifies people with a face embedder: held-out identities of its run, or those of another prepared data set.

    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    python -m experiments.benchmarks.identity --embedder runs/identity [--data DIR] [--resolution 64]

Whole crops, and the face alone as identity losses see it. Accuracy and true accepts (TAR) follow the protocol of
`evaluation/verification.py`, mean and standard error over ten folds, and need 20 people; the area under the ROC
curve and the cosines of the same person and of others (mean and standard deviation) are of all pairs, those of one
person from two tracks each.
"""

from collections.abc import Sequence
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import app, flags, logging
from jaxtyping import Float, Float32, Int
from rich.console import Console
from rich.table import Column, Table

from data_pipelines.batches.assembly import polygon_masks
from data_pipelines.datasets import open_data
from data_pipelines.records import FaceRecord, decode
from data_pipelines.sources import PersonaSource
from faceswap_jax import config as configs
from faceswap_jax.evaluation import verification
from faceswap_jax.faces import align
from faceswap_jax.pretrained import embedder
from faceswap_jax.tasks.registry import load_task

EMBEDDER = flags.DEFINE_string(
    "embedder", None, "Folder of a run of experiments/identity.py, or a file.", required=True
)
DATA = flags.DEFINE_string(
    "data", None, "Folder of face tracks; by default the identities that the run has held out."
)
SPLIT = flags.DEFINE_string("split", "train", "Whose identities to take of --data.")
PICTURES = flags.DEFINE_integer("pictures", 20, "At most so many of each person.", lower_bound=2)
PAIRS = flags.DEFINE_integer(
    "pairs", 1000, "At most so many of one and of two people in each fold.", lower_bound=1
)
RESOLUTION = flags.DEFINE_integer("resolution", 64, "Side of the crops in pixels.", lower_bound=8)

BATCH = 64
RATES = (1e-2, 1e-3)  # of false accepts


def main(_) -> None:
    """Reads, embeds, compares."""
    logging.set_verbosity(logging.ERROR)  # Orbax tells a lot
    path = Path(EMBEDDER.value)
    if DATA.value:
        data = ml_collections.ConfigDict(
            {"kind": "tracks", "path": DATA.value, "split": SPLIT.value}
        )
        people = list(open_data(data).values())
    else:
        people = load_task(configs.load(path / "config.json")).held_out
    identity, track, crops, masks = read(people, PICTURES.value, RESOLUTION.value)
    network = embedder.load(path)
    table = Table(
        "seen",
        *(
            Column(name, justify="right")
            for name in ("accuracy %", *(f"TAR %, {rate:g}" for rate in RATES))
        ),
        *(Column(name, justify="right") for name in ("area", "same", "others")),
        title=f"{len(people)} people, {len(crops)} pictures, {RESOLUTION.value} px",
    )
    for name, shown in (("face", masks), ("crop", np.ones_like(masks))):
        table.add_row(name, *scores(embedded(network, crops, shown), identity, track))
    Console().print(table)


def read(
    people: Sequence[PersonaSource], pictures: int, side: int
) -> tuple[
    Int[np.ndarray, "n"],
    Int[np.ndarray, "n"],
    Float32[np.ndarray, "n s s 3"],
    Float32[np.ndarray, "n s s"],
]:
    """Who and from which track, crops and masks in [0, 1], of pictures spread evenly over each person's."""
    found: list[tuple[int, FaceRecord]] = []
    for i, person in enumerate(people):
        chosen = np.unique(np.linspace(0, len(person) - 1, pictures).round().astype(int)).tolist()
        found += [(i, person.read(number, decode)) for number in chosen]
    names: dict[tuple, int] = {}
    track = [names.setdefault((i, record.clip, record.track), len(names)) for i, record in found]
    crops, outlines = [], []
    for _, record in found:
        transform = align.alignment_transform(record.landmarks, side, "eyes")
        crops.append(align.crop(record.image, transform, side))
        outlines.append(align.transform_points(record.polygon, transform))
    masks = polygon_masks(
        np.concatenate(outlines), np.array([len(outline) for outline in outlines]), side
    )
    top = np.iinfo(crops[0].dtype).max
    return (
        np.array([i for i, _ in found]),
        np.array(track),
        np.float32(crops) / top,
        np.float32(masks) / 255,
    )


def embedded(
    network: embedder.Embedder,
    crops: Float[np.ndarray, "n s s 3"],
    masks: Float[np.ndarray, "n s s"],
) -> Float[np.ndarray, "n d"]:
    """Embeddings of unit length, batch by batch."""
    embed = jax.jit(embedder.embed, static_argnums=0)
    parts = []
    for start in range(0, len(crops), BATCH):
        some = [np.resize(a[start : start + BATCH], (BATCH, *a.shape[1:])) for a in (crops, masks)]
        parts.append(np.asarray(embed(network.config, network.params, network.statistics, *some)))
    return np.concatenate(parts)[: len(crops)]


def scores(
    embeddings: Float[np.ndarray, "n d"],
    identity: Int[np.ndarray, "n"],
    track: Int[np.ndarray, "n"],
) -> list[str]:
    """The cells of a row."""
    cells = []
    if len(np.unique(identity)) < 2 * verification.FOLDS:
        cells = ["-"] * (1 + len(RATES))
    else:
        pairs = verification.draw_pairs(identity, track, PAIRS.value)
        cosines = (embeddings[pairs.first] * embeddings[pairs.second]).sum(1)
        folds = [verification.accuracy(cosines, pairs)]
        folds += [verification.true_accepts(cosines, pairs, rate) for rate in RATES]
        cells = [f"{100 * f.mean():.1f}±{100 * f.std(ddof=1) / len(f) ** 0.5:.1f}" for f in folds]
    first, second = np.triu_indices(len(identity), 1)
    fair = (identity[first] != identity[second]) | (track[first] != track[second])
    first, second = first[fair], second[fair]
    cosines, same = (embeddings @ embeddings.T)[first, second], identity[first] == identity[second]
    area = verification.area(cosines, same)
    return [
        *cells,
        f"{area:.4f}",
        *(f"{part.mean():.2f}±{part.std():.2f}" for part in (cosines[same], cosines[~same])),
    ]


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
