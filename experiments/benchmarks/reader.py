"""Pictures per second of the reader, beside a PyTorch DataLoader on the same JPEG files.

    python -m experiments.benchmarks.reader [--repeats 5] [--seconds 2]

Both give shuffled, mirrored batches of pictures and masks from rendered 256 px faces; ours come with landmarks, irises
and pose too. PyTorch's data set is as good as a plain one gets: OpenCV decodes, resizes, mirrors, and fills the outline
with our own function. The contestants take turns, for other work on the machine slows whoever happens to run; the best
turn of each counts, and of PyTorch's the best number of worker processes.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import cv2
import grain
import ml_collections
import msgpack
import numpy as np
from absl import app, flags
from jaxtyping import Float32, UInt8
from rich.console import Console
from rich.progress import track
from rich.table import Table

from data_pipelines.batches import assembly, pipeline
from data_pipelines.datasets import open_data
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.source import puppet_source
from data_pipelines.records import SHARDS, Counts, Manifest, Persona, ShardWriter, decode

REPEATS = flags.DEFINE_integer("repeats", 5, "Turns of each contestant.")
SECONDS = flags.DEFINE_float("seconds", 2.0, "Length of a turn.")
PERSONAS, RENDERED, COPIES = (
    4,
    24,
    40,
)  # pictures rendered of each persona, and how often each is stored
SIZE, BATCH, WARM_UP = 256, 8, 6  # px, pictures of each persona, batches before the clock starts
RESOLUTIONS = (256, 64)
THREADS, WORKERS = (1, 2, 3), (0, 1, 2)


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    try:
        from torch.utils.data import DataLoader
    except ModuleNotFoundError:
        raise SystemExit(
            "This benchmark compares with PyTorch, which is missing; install the extra `bench`."
        ) from None
    cv2.setNumThreads(1)  # both keep all cores busy as they are
    contestants = {}
    with tempfile.TemporaryDirectory() as scratch:
        files = write_data(Path(scratch))
        data = ml_collections.ConfigDict({"kind": "tracks", "path": scratch, "split": "train"})
        sources = list(open_data(data).values())
        for resolution in RESOLUTIONS:
            batches = pipeline.persona_batches(sources, resolution=resolution, batch=BATCH, seed=0)
            for threads in THREADS:
                contestants["ours", threads, resolution] = lambda b=batches, t=threads: ours(b, t)
            for workers in WORKERS:
                loader = DataLoader(
                    Faces(files, resolution), PERSONAS * BATCH, shuffle=True, num_workers=workers
                )
                contestants["torch", workers, resolution] = lambda loader=loader: theirs(loader)
        turns = [kind for _ in range(REPEATS.value) for kind in contestants]
        rates = dict.fromkeys(contestants, 0.0)
        for kind in track(turns, "measuring", transient=True):
            rates[kind] = max(rates[kind], pictures_per_second(contestants[kind]))
    table = Table(
        "pictures/s", *(f"{r} px" for r in RESOLUTIONS), title=f"{SIZE} px JPEG, {len(files)} files"
    )
    for kind, counts, unit in (("ours", THREADS, "threads"), ("torch", WORKERS, "workers")):
        for count in counts:
            table.add_row(
                f"{kind}, {count} {unit}", *(f"{rates[kind, count, r]:,.0f}" for r in RESOLUTIONS)
            )
    best = {
        (kind, r): max(v for (k, _, s), v in rates.items() if (k, s) == (kind, r))
        for kind, _, r in rates
    }
    table.add_row(
        "ratio of the best", *(f"{best['ours', r] / best['torch', r]:.2f}" for r in RESOLUTIONS)
    )
    Console().print(table)


def write_data(folder: Path) -> list[tuple[str, Float32[np.ndarray, "n 2"]]]:
    """A data set of puppets, and its pictures as files of JPEG.

    Returns:
        Each file with the outline of its face.
    """
    (folder / SHARDS).mkdir()
    files, personas, settings = [], {}, Settings(resolution=SIZE)
    for p in track(range(PERSONAS), "rendering", transient=True):
        records = puppet_source(0, p, 0, RENDERED, SIZE).records
        with ShardWriter(folder / SHARDS / f"puppet{p}-00000.arrayrecord") as writer:
            for number in range(RENDERED * COPIES):
                data = records[number % RENDERED]
                writer.write(data, 0)
                files.append(
                    (f"{folder}/puppet{p}-{number:05d}.jpg", decode(data, image=False).polygon)
                )
                Path(files[-1][0]).write_bytes(msgpack.unpackb(data)["image"])
        count = writer.shard.records
        personas[f"puppet{p}"] = Persona("train", [writer.shard], Counts(count, count, {}))
    Manifest(settings.to_json(), personas, {}).save(folder)
    return files


class Faces:
    """A data set for PyTorch: pictures and masks."""

    def __init__(self, files: Sequence[tuple[str, Float32[np.ndarray, "n 2"]]], resolution: int):
        self.files, self.resolution = files, resolution

    def __len__(self) -> int:
        """Number of pictures."""
        return len(self.files)

    def __getitem__(
        self, index: int
    ) -> tuple[UInt8[np.ndarray, "r r 3"], UInt8[np.ndarray, "r r"]]:
        """A picture and its mask, mirrored or not."""
        name, polygon = self.files[index]
        side = self.resolution
        image = cv2.imread(name, cv2.IMREAD_COLOR_RGB)
        if side != SIZE:
            image = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
        mask = assembly.polygon_masks(
            (polygon + 0.5) * (side / SIZE) - 0.5, np.array([len(polygon)]), side
        )[0]
        if np.random.random() < 0.5:
            image, mask = cv2.flip(image, 1), cv2.flip(mask, 1)
        return image, mask


@contextmanager
def theirs(loader) -> Iterator[Iterator]:
    """Endless batches of a DataLoader."""

    def epochs():
        while True:
            yield from loader

    batches = epochs()
    yield batches
    batches.close()


def ours(batches: grain.MapDataset, threads: int) -> Iterator:
    """Endless batches of our pipeline."""
    return pipeline.iterate(batches, 0, pipeline.ENDLESS, threads=threads)


def pictures_per_second(contestant: Callable) -> float:
    """Speed of one contestant for one turn."""
    with contestant() as batches:
        for _ in range(WARM_UP):
            next(batches)
        count, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < SECONDS.value:
            next(batches)
            count += 1
    return count * PERSONAS * BATCH / seconds


if __name__ == "__main__":
    app.run(main)
