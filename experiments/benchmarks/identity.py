"""Verifies people with a face embedder: held-out identities of its run, or those of another prepared data set.

    faceswap train --config experiments/identity.py --workdir runs/identity --config.data.path=data
    python -m experiments.benchmarks.identity --embedder runs/identity [--data DIR] [--resolution 64]

Rows: the face alone as identity losses see it, and whole crops. Accuracy and true accepts (TAR)
follow the protocol of `evaluation/verification.py`, mean and standard error over ten folds, and need
20 people. The area under the ROC curve and the cosines of the same person and of others (mean and
standard deviation) are of all pairs, except pairs from the same track.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import jax
import ml_collections
import numpy as np
from absl import app, flags
from jaxtyping import Float, Float32, Int

from data_pipelines.batches.masks import polygon_masks
from data_pipelines.datasets import open_data
from data_pipelines.records import decode
from data_pipelines.sources import PersonaSource
from experiments.benchmarks.measuring import print_table, silence_orbax
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

RATES = (1e-2, 1e-3)
"""Of false accepts."""


def main(_) -> None:
    """Reads, embeds, compares."""
    silence_orbax()
    path = Path(EMBEDDER.value)
    people = load_people(path)
    network = embedder.load(path)
    pictures = read(people, PICTURES.value, RESOLUTION.value, network.alignment)

    rows = []
    shown = {"face": pictures.masks, "crop": np.ones_like(pictures.masks)}
    for name, masks in shown.items():
        embeddings = embedded(network, pictures.crops, masks)
        cells = fold_scores(embeddings, pictures) + pair_scores(embeddings, pictures)
        rows.append([name, *cells])
    rates = [f"TAR %, {rate:g}" for rate in RATES]
    print_table(
        ("seen", "accuracy %", *rates, "area", "same", "others"),
        rows,
        title=f"{len(people)} people, {len(pictures.crops)} pictures, {RESOLUTION.value} px",
    )


def load_people(path: Path) -> list[PersonaSource]:
    """Returns the identities of --data, or those that the embedder's run has held out."""
    if not DATA.value:
        return load_task(configs.load(path / "config.json")).held_out
    values = {"kind": "tracks", "path": DATA.value, "split": SPLIT.value}
    return list(open_data(ml_collections.ConfigDict(values)).values())


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Pictures of people.

    Attributes:
        identity: number of the person.
        track: number of the track; tracks of different people differ.
        crops: in [0, 1].
        masks: of the face, in [0, 1].
    """

    identity: Int[np.ndarray, "n"]
    track: Int[np.ndarray, "n"]
    crops: Float32[np.ndarray, "n s s 3"]
    masks: Float32[np.ndarray, "n s s"]


def read(people: Sequence[PersonaSource], pictures: int, side: int, alignment: str) -> Pictures:
    """Reads pictures spread evenly over those of each person."""
    identities = []
    tracks = []
    crops = []
    outlines = []
    numbers: dict[tuple, int] = {}  # of tracks
    for identity, person in enumerate(people):
        places = np.linspace(0, len(person) - 1, pictures).round().astype(int)
        for place in np.unique(places).tolist():
            record = person.read(place, decode)
            key = (identity, record.clip, record.track)
            identities.append(identity)
            tracks.append(numbers.setdefault(key, len(numbers)))
            transform = align.alignment_transform(record.landmarks, side, alignment)
            crops.append(align.crop(record.image, transform, side))
            outlines.append(align.transform_points(record.polygon, transform))

    lengths = np.array([len(outline) for outline in outlines])
    masks = polygon_masks(np.concatenate(outlines), lengths, side)
    white = np.iinfo(crops[0].dtype).max
    return Pictures(
        np.array(identities),
        np.array(tracks),
        np.float32(crops) / white,
        np.float32(masks) / 255,
    )


def embedded(
    network: embedder.Embedder,
    crops: Float[np.ndarray, "n s s 3"],
    masks: Float[np.ndarray, "n s s"],
) -> Float[np.ndarray, "n d"]:
    """Returns embeddings of unit length, made batch by batch."""
    embed = jax.jit(embedder.embed, static_argnums=0)
    parts = []
    for start in range(0, len(crops), BATCH):
        # The last batch is filled up, so that one program serves all.
        some = slice(start, start + BATCH)
        some_crops = np.resize(crops[some], (BATCH, *crops.shape[1:]))
        some_masks = np.resize(masks[some], (BATCH, *masks.shape[1:]))
        part = embed(network.config, network.params, network.statistics, some_crops, some_masks)
        parts.append(np.asarray(part))
    return np.concatenate(parts)[: len(crops)]


def fold_scores(embeddings: Float[np.ndarray, "n d"], pictures: Pictures) -> list[str]:
    """Returns accuracy and true accepts of drawn pairs; "-" where there are too few people."""
    if len(np.unique(pictures.identity)) < 2 * verification.FOLDS:
        return ["-"] * (1 + len(RATES))
    pairs = verification.draw_pairs(pictures.identity, pictures.track, PAIRS.value)
    cosines = (embeddings[pairs.first] * embeddings[pairs.second]).sum(1)
    folds = [verification.accuracy(cosines, pairs)]
    folds += [verification.true_accepts(cosines, pairs, rate) for rate in RATES]

    cells = []
    for values in folds:
        standard_error = values.std(ddof=1) / len(values) ** 0.5
        cells.append(f"{100 * values.mean():.1f}±{100 * standard_error:.1f}")
    return cells


def pair_scores(embeddings: Float[np.ndarray, "n d"], pictures: Pictures) -> list[str]:
    """Returns the area under the ROC curve and the cosines, of all pairs from two tracks."""
    # Pictures of one track are too alike to count.
    first, second = np.triu_indices(len(embeddings), 1)
    same = pictures.identity[first] == pictures.identity[second]
    fair = pictures.track[first] != pictures.track[second]
    cosines = (embeddings @ embeddings.T)[first, second]

    same = same[fair]
    cosines = cosines[fair]
    area = verification.area(cosines, same)
    parts = [f"{part.mean():.2f}±{part.std():.2f}" for part in (cosines[same], cosines[~same])]
    return [f"{area:.4f}", *parts]


if __name__ == "__main__":
    jax.config.update("jax_platforms", "cpu")
    app.run(main)
