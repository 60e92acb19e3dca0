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
import numpy as np
from absl import app, flags
from rich.progress import track

from data_pipelines.batches import pipeline
from data_pipelines.datasets import open_data
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import (
    SHARDS,
    Counts,
    FaceRecord,
    Manifest,
    Persona,
    Shard,
    ShardWriter,
    encode,
)
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
WARM_UP = 0.2  # fraction of the records


def main(_: Sequence[str]) -> None:
    """Measures and prints the tables."""
    with tempfile.TemporaryDirectory() as scratch:
        write_data(Path(scratch))
        data = ml_collections.ConfigDict({"kind": "tracks", "path": scratch, "split": "train"})
        sources = list(open_data(data).values())
        batches = pipeline.persona_batches(sources, resolution=SIZE, batch=BATCH, seed=0, warp=0.05)
        measure("persona_batches", batches, PERSONAS * BATCH)
        paired = pipeline.paired_batches(sources, resolution=SIZE, batch=BATCH, seed=0)
        measure("paired_batches", paired, 3 * BATCH)


def write_data(folder: Path) -> None:
    """Writes a data set of noise."""
    (folder / SHARDS).mkdir()
    rng = np.random.default_rng(0)
    personas = {}
    for p in track(range(PERSONAS), "writing", transient=True):
        name = str(p)
        shards = [write_shard(folder, rng, name, index) for index in range(SHARDS_EACH)]
        personas[name] = Persona("train", shards, Counts(0, 0, {}))
    Manifest(Settings(resolution=SIZE).to_json(), personas, {}).save(folder)


def write_shard(folder: Path, rng: np.random.Generator, persona: str, index: int) -> Shard:
    """Writes a shard that repeats one record."""
    data = encode(noise(rng, persona))
    count = RECORDS.value // (PERSONAS * SHARDS_EACH)
    with ShardWriter(folder / SHARDS / f"{persona}-{index:05d}.arrayrecord") as writer:
        for number in range(count):
            writer.write(data, number // TRACK)
    return writer.shard


def noise(rng: np.random.Generator, persona: str) -> FaceRecord:
    """Returns a record without a face."""
    return FaceRecord(
        image=rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8),
        landmarks=rng.uniform(0, SIZE, (68, 2)),
        irises=rng.uniform(0, SIZE, (2, 2)),
        polygon=np.array([[8, 8], [56, 8], [32, 60]]),
        transform=np.eye(2, 3),
        pose=np.zeros(3),
        frame_size=(SIZE, SIZE),
        time=0.0,
        frame=0,
        confidence=1.0,
        sharpness=0.0,
        persona=persona,
        clip="noise",
        track=0,
        sound=np.zeros(640),
    )


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
    with pipeline.iterate(dataset, 0, steps) as batches:
        for step, _ in enumerate(batches, 1):
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
