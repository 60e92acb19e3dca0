"""Resident memory of the reader over 100,000 records that it reads from files.

    python -m experiments.benchmarks.memory [--records 100000]

A reader that keeps something of what it has read grows by it. This one must not: less than 2 % after
a warm-up.
"""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

import ml_collections
from absl import app, flags
from rich.progress import track

from data_pipelines.batches.addresses import iterate
from data_pipelines.batches.assembly import batches
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Personas, Roles
from data_pipelines.datasets import open_data
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.source import puppet_source
from data_pipelines.records import SHARDS, Counts, Manifest, Persona, Shard, ShardWriter
from experiments.benchmarks.measuring import print_table

RECORDS = flags.DEFINE_integer(
    "records", 100_000, "Number of records, all of which are read twice.", lower_bound=10_000
)

PERSONAS = 4
SHARDS_EACH = 100  # more shards than are kept open
TRACK = 25  # records
SIZE = 64  # pixels
BATCH = 32
ROWS = 10
FIELDS = ("image", "encoder_input", "mask", "landmarks", "encoder_landmarks", "sound", "record")
WARM_UP = 0.2  # fraction of the records


def main(_: Sequence[str]) -> None:
    """Measures and prints the tables."""
    with tempfile.TemporaryDirectory() as scratch:
        write_data(Path(scratch))
        data = ml_collections.ConfigDict({"kind": "tracks", "path": scratch, "split": "train"})
        sources = list(open_data(data).values())
        for sampler, frames in ((Personas(), PERSONAS), (Roles(3, 1, 2), 6)):
            dataset = batches(
                sources,
                sampler,
                fields=FIELDS,
                alignment="eyes",
                resolution=SIZE,
                batch=BATCH,
                seed=0,
                augmentation=Augmentation(mirror=True, rotation=10, warp=0.05),
            )
            measure(str(sampler), dataset, frames * BATCH)


def write_data(folder: Path) -> None:
    """Writes a data set in which each persona shows one picture of a puppet again and again."""
    (folder / SHARDS).mkdir()
    personas = {}
    for p in track(range(PERSONAS), "writing", transient=True):
        record = puppet_source(0, p, 0, 1, SIZE).records[0]
        shards = [write_shard(folder, record, f"{p}-{index:05d}") for index in range(SHARDS_EACH)]
        personas[str(p)] = Persona("train", shards, Counts(0, 0, {}))
    Manifest(Settings(resolution=SIZE).to_json(), personas, {}).save(folder)


def write_shard(folder: Path, record: bytes, name: str) -> Shard:
    """Writes a shard that repeats one record."""
    count = RECORDS.value // (PERSONAS * SHARDS_EACH)
    with ShardWriter(folder / SHARDS / f"{name}.arrayrecord") as writer:
        for number in range(count):
            writer.write(record, number // TRACK)
    return writer.shard


def measure(name: str, dataset, per_step: int) -> None:
    """Reads as many pictures as there are records and prints the memory on the way.

    Args:
        name: of the kind of batches.
        dataset: of batches.
        per_step: pictures in a batch.
    """
    steps = RECORDS.value // per_step
    rows = []
    base = None  # bytes after the warm-up
    with iterate(dataset, 0, steps) as iterated:
        for step, _ in enumerate(iterated, 1):
            if step % (steps // ROWS):
                continue
            memory = resident()
            if base is None and step >= WARM_UP * steps:
                base = memory
            growth = f"{100 * (memory / base - 1):.2f}" if base else ""
            rows.append([f"{step * per_step:,}", f"{memory / 2**20:.1f}", growth])
    print_table(("pictures read", "resident, MiB", "growth after warm-up, %"), rows, title=name)


def resident() -> int:
    """Returns the memory of this process in RAM, bytes."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    app.run(main)
