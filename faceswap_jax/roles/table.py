"""The table of a synthesized data set: what each record was made of, and how far it is from that.

    identity, record          whose persona it is of, and its number among the records of this one
    attributes, frame, time   what was changed: picture or clip, the frame in it, seconds
    to_lent                   distance of the record's face from the identity that was lent
    to_own                    from that of the picture that was changed
    before                    of these two from each other: what `to_lent` is where nothing is changed
    sface_to_lent, ...        the same three by SFace

Distances are those of `identities.distance`: by the run's own embedder, against which it was trained, and by SFace, of
which it knows nothing.
"""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import ml_collections
import numpy as np

from data_pipelines.datasets import open_data
from data_pipelines.records import MANIFEST, FaceRecord, aligned_crop, decode
from faceswap_jax.faces.face import Image
from faceswap_jax.files import replacing
from faceswap_jax.inference.audience import watched
from faceswap_jax.inference.batching import features
from faceswap_jax.inference.generator import Generator
from faceswap_jax.roles.identities import IDENTITY, Lender, Vectors, by_sface, distance

TABLE = "records.csv"
PLACE = ("identity", "record", "attributes", "frame", "time")
DISTANCES = ("to_lent", "to_own", "before")
MEASURED = (*DISTANCES, *(f"sface_{name}" for name in DISTANCES))


def is_written(folder: Path) -> bool:
    """Whether a data set has its table. Where records have changed, its manifest is younger."""
    table = folder / TABLE
    return table.exists() and table.stat().st_mtime >= (folder / MANIFEST).stat().st_mtime


def write_table(
    folder: Path, generator: Generator, lent: Mapping[str, Lender], given: Sequence[FaceRecord]
) -> None:
    """Looks at all records of a data set, and writes its table.

    Args:
        folder: of the data set.
        generator: that made it.
        lent: who lent an identity, by name of the persona.
        given: the faces that were changed, in the order of each persona's records.
    """
    own = _look(generator, given)
    described = {"kind": "tracks", "path": str(folder), "split": "train"}
    data = open_data(ml_collections.ConfigDict(described))
    with replacing(folder / TABLE) as aside, aside.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow([*PLACE, *MEASURED])
        for name, source in watched(data.items(), "distances", len(data)):
            made = _look(generator, (source.read(i, decode) for i in range(len(source))))
            wanted = lent[name].identity[IDENTITY], lent[name].by_sface
            columns = []
            for of_made, of_own, of_wanted in zip(made, own, wanted, strict=True):
                columns.append(distance(of_made, of_wanted))
                columns.append(distance(of_made, of_own))
                columns.append(distance(of_own, of_wanted))
            for number, (record, *measured) in enumerate(zip(given, *columns, strict=True)):
                place = (name, number, record.clip, record.frame, f"{record.time:.3f}")
                writer.writerow([*place, *(f"{each:.4f}" for each in measured)])


def _look(generator: Generator, records: Iterable[FaceRecord]) -> tuple[Vectors, Vectors]:
    """Whom each of some records shows, by the run's embedder and by SFace."""
    side, alignment = generator.resolution, generator.alignment
    embeddings = []

    def crops() -> Iterator[Image]:
        for record in records:
            embeddings.append(by_sface(record.image, record.landmarks))
            yield aligned_crop(record, side, alignment)

    return features(generator, IDENTITY, crops()), np.stack(embeddings)


def means(folder: Path) -> str:
    """How far the records of a data set are from the identities that were lent, in words."""
    table = folder / TABLE
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    mean = {name: np.mean([float(row[name]) for row in rows]) for name in MEASURED}
    return (
        f"{table}: {len(rows)} records, on average {mean['to_lent']:.2f} from the identity that was lent, where the "
        f"pictures were {mean['before']:.2f} from it; by SFace {mean['sface_to_lent']:.2f}, where they were "
        f"{mean['sface_before']:.2f}"
    )
