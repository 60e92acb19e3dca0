"""Images per second of the reader, beside a PyTorch DataLoader on the same JPEG files.

    python -m experiments.benchmarks.reader [--repeats 5] [--seconds 2]

Both give shuffled batches of mirrored, aligned crops and masks from rendered faces of 256 px; ours come with landmarks,
irises and pose too. PyTorch's data set is as good as a plain one gets: OpenCV decodes, and each crop, mirrored or not,
is cut in one step; crops and masks are made by our own functions. The contestants take turns, for other work on the
machine slows whoever happens to run; the best turn of each counts, and of PyTorch's the best number of workers.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import cv2
import grain
import ml_collections
import msgpack
import numpy as np
from absl import app, flags
from jaxtyping import UInt8
from rich.console import Console
from rich.progress import track
from rich.table import Table

from data_pipelines.batches.addresses import ENDLESS, iterate
from data_pipelines.batches.assembly import batches, plain_crop
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.masks import polygon_masks
from data_pipelines.batches.roles import Personas
from data_pipelines.datasets import open_data
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.source import puppet_source
from data_pipelines.records import (
    SHARDS,
    Counts,
    FaceRecord,
    Manifest,
    Persona,
    ShardWriter,
    decode,
)
from data_pipelines.sources import PersonaSource
from faceswap_jax.faces import align

REPEATS = flags.DEFINE_integer("repeats", 5, "Turns of each contestant.")
SECONDS = flags.DEFINE_float("seconds", 2.0, "Length of a turn.")
PERSONAS = 4
RENDERED = 24  # images of each persona
COPIES = 40  # of each image, as records and files of their own
SIZE = 256  # px
BATCH = 8  # images of each persona
WARM_UP = 6  # batches before the clock starts
RESOLUTIONS = (256, 64)
THREADS, WORKERS = (1, 2, 3), (0, 1, 2)
ALIGNMENT = "eyes"
Kind = tuple[str, int, int]  # ours or torch, threads or workers, resolution
FIELDS = ("image", "mask", "landmarks", "irises", "pose")


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
            for threads in THREADS:
                dataset = our_batches(sources, resolution)
                contestants["ours", threads, resolution] = partial(ours, dataset, threads)
            for workers in WORKERS:
                faces = Faces(files, resolution)
                loader = DataLoader(faces, PERSONAS * BATCH, shuffle=True, num_workers=workers)
                contestants["torch", workers, resolution] = partial(theirs, loader)
        rates = measured(contestants)
    show(rates, len(files))


def measured(contestants: dict[Kind, Callable]) -> dict[Kind, float]:
    """Images per second in the best turn of each."""
    rates = dict.fromkeys(contestants, 0.0)
    turns = [kind for _ in range(REPEATS.value) for kind in contestants]
    for kind in track(turns, "measuring", transient=True):
        rates[kind] = max(rates[kind], images_per_second(contestants[kind]))
    return rates


def show(rates: dict[Kind, float], files: int) -> None:
    """Prints the rates, and the ratio of our best one to PyTorch's."""
    columns = [f"{resolution} px" for resolution in RESOLUTIONS]
    table = Table("images/s", *columns, title=f"{SIZE} px JPEG, {files} files")
    for name, counts, unit in (("ours", THREADS, "threads"), ("torch", WORKERS, "workers")):
        for count in counts:
            row = [f"{rates[name, count, resolution]:,.0f}" for resolution in RESOLUTIONS]
            table.add_row(f"{name}, {count} {unit}", *row)
    ratios = []
    for resolution in RESOLUTIONS:
        best_of_ours = max(rates["ours", count, resolution] for count in THREADS)
        best_of_theirs = max(rates["torch", count, resolution] for count in WORKERS)
        ratios.append(f"{best_of_ours / best_of_theirs:.2f}")
    table.add_row("ratio of the best", *ratios)
    Console().print(table)


def write_data(folder: Path) -> list[tuple[str, FaceRecord]]:
    """A data set of puppets, and its images as files of JPEG.

    Returns:
        Each file with its record, without the image.
    """
    (folder / SHARDS).mkdir()
    files, personas, settings = [], {}, Settings(resolution=SIZE)
    for p in track(range(PERSONAS), "rendering", transient=True):
        records = puppet_source(0, p, 0, RENDERED, SIZE).records
        with ShardWriter(folder / SHARDS / f"puppet{p}-00000.arrayrecord") as writer:
            for number in range(RENDERED * COPIES):
                data = records[number % RENDERED]
                writer.write(data, 0)
                file = folder / f"puppet{p}-{number:05d}.jpg"
                file.write_bytes(msgpack.unpackb(data)["image"])
                files.append((str(file), decode(data, image=False)))
        count = writer.shard.records
        personas[f"puppet{p}"] = Persona("train", [writer.shard], Counts(count, count, {}))
    Manifest(settings.to_json(), personas, {}).save(folder)
    return files


class Faces:
    """A data set for PyTorch: aligned crops and their masks."""

    def __init__(self, files: Sequence[tuple[str, FaceRecord]], resolution: int):
        self.files = files
        self.resolution = resolution

    def __len__(self) -> int:
        """Number of images."""
        return len(self.files)

    def __getitem__(
        self, index: int
    ) -> tuple[UInt8[np.ndarray, "r r 3"], UInt8[np.ndarray, "r r"]]:
        """A crop and its mask, mirrored or not."""
        name, record = self.files[index]
        side = self.resolution
        transform = align.alignment_transform(record.landmarks, side, ALIGNMENT)
        if np.random.random() < 0.5:
            transform[0] = [0, 0, side - 1] - transform[0]
        image = plain_crop(cv2.imread(name, cv2.IMREAD_COLOR_RGB), transform, side)
        outline = align.transform_points(record.polygon, transform)
        return image, polygon_masks(outline, np.array([len(outline)]), side)[0]


@contextmanager
def theirs(loader) -> Iterator[Iterator]:
    """Endless batches of a DataLoader."""

    def epochs():
        while True:
            yield from loader

    endless = epochs()
    yield endless
    endless.close()


def our_batches(sources: Sequence[PersonaSource], resolution: int) -> grain.MapDataset:
    """The same from our own pipeline."""
    return batches(
        sources,
        Personas(),
        fields=FIELDS,
        alignment=ALIGNMENT,
        resolution=resolution,
        batch=BATCH,
        seed=0,
        augmentation=Augmentation(mirror=True),
    )


def ours(dataset: grain.MapDataset, threads: int) -> Iterator:
    """Endless batches of our pipeline."""
    return iterate(dataset, 0, ENDLESS, threads=threads)


def images_per_second(contestant: Callable) -> float:
    """Speed of one contestant for one turn."""
    with contestant() as endless:
        for _ in range(WARM_UP):
            next(endless)
        count, start = 0, time.perf_counter()
        while (seconds := time.perf_counter() - start) < SECONDS.value:
            next(endless)
            count += 1
    return count * PERSONAS * BATCH / seconds


if __name__ == "__main__":
    app.run(main)
