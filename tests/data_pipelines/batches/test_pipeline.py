"""Tests of the batches: addressing by step, hosts, epochs, pairs, what moves with a picture, corrupt records."""

import dataclasses
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest

import data_pipelines
from data_pipelines.batches.assembly import polygon_masks
from data_pipelines.batches.pipeline import (
    Jitter,
    identity_batches,
    iterate,
    paired_batches,
    persona_batches,
)
from data_pipelines.puppets.source import puppet_source
from data_pipelines.records import decode, encode
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from tests.support.records import record_of

SIZE = 32
STEP = 3  # between the grey levels that number the records: more than JPEG changes
TRIANGLE = ((8, 4), (28, 4), (28, 28))  # covers more of the right half


def record(image, frame=0, codec="jpeg", persona="a", track=0, **fields) -> bytes:
    where = {"time": frame / 25, "frame": frame, "persona": persona, "track": track}
    return encode(record_of(image, **{"polygon": TRIANGLE} | where | fields), codec)


def numbered(*tracks: int, first: int = 0, persona: str = "a") -> PersonaSource:
    """Tracks of so many records, told apart by their grey level."""
    records = [
        record(np.full((SIZE, SIZE, 3), STEP * i, np.uint8), i, persona=persona)
        for i in range(first, first + sum(tracks))
    ]
    return PersonaSource(persona, records, tracks, SIZE)


def one(data: bytes, size: int = SIZE) -> list[PersonaSource]:
    """A persona with a single record."""
    return [PersonaSource("a", [data], [1], size)]


def numbers(pictures) -> np.ndarray:
    """Which records a batch of `numbered` pictures holds: [..., batch]."""
    return np.rint(pictures["image"].mean((-1, -2, -3)) / STEP).astype(int)


def same(one, other) -> bool:
    """Whether two batches are equal in all that they hold."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    text = one.dtype.kind == other.dtype.kind == "U"  # of as many letters as the longest has
    return (text or one.dtype == other.dtype) and np.array_equal(
        one, other, equal_nan=one.dtype == np.float32
    )


def share(batch, take):
    """The part of a batch that `take` selects of every array."""
    return {name: share(a, take) if isinstance(a, dict) else take(a) for name, a in batch.items()}


def personas(**arguments):
    settings = {
        "resolution": 16,
        "batch": 4,
        "seed": 1,
        "warp": 0.05,
        "jitter": Jitter(10, 0.1, 0.1),
    }
    return persona_batches([numbered(7), numbered(9)], **settings | arguments)


def pairs(**arguments):
    sources = [
        numbered(3, 1, 4),
        numbered(2, 2, first=10, persona="b"),
        numbered(1, first=20, persona="c"),
    ]
    return paired_batches(sources, **{"resolution": 16, "batch": 4, "seed": 1} | arguments)


def identities(**arguments):
    sources = [
        numbered(3, 1, 4),
        numbered(2, 2, first=10, persona="b"),
        numbered(1, first=20, persona="c"),
    ]
    return identity_batches(
        sources, **{"resolution": 16, "batch": 4, "seed": 1, "jitter": Jitter(10)} | arguments
    )


KINDS = pytest.mark.parametrize(
    ("kind", "of_host"),
    [
        (personas, lambda host, hosts: lambda array: np.split(array, hosts, 1)[host]),
        (pairs, lambda host, hosts: lambda array: np.split(array, hosts)[host]),
        (identities, lambda host, hosts: lambda array: np.split(array, hosts)[host]),
    ],
)


def test_shapes_and_types():
    batch = persona_batches([numbered(3), numbered(5)], resolution=16, batch=4, seed=0)[0]
    shapes = {
        "image": (16, 16, 3),
        "input": (16, 16, 3),
        "mask": (16, 16),
        "landmarks": (68, 2),
        "irises": (2, 2),
        "pose": (3,),
        "record": (),
    }
    assert {name: array.shape for name, array in batch.items()} == {
        name: (2, 4, *s) for name, s in shapes.items()
    }
    assert {array.dtype.char for array in batch.values()} == {"B", "f", "U"}
    assert batch["mask"].min() == 0 and batch["mask"].max() == 255
    del shapes["input"]
    for pictures in pairs()[0].values():
        expected = {name: (4, *shape) for name, shape in shapes.items()} | {"identity": (4,)}
        assert {name: array.shape for name, array in pictures.items()} == expected
        assert pictures["identity"].dtype == np.int32
    pictures = identities()[0]
    assert {name: array.shape for name, array in pictures.items()} == expected
    assert pictures["identity"].dtype == np.int32


@KINDS
def test_global_batch_is_the_same_for_any_number_of_hosts(kind, of_host):
    for step in (0, 5):
        whole = kind()[step]
        for hosts in (2, 4):
            for host in range(hosts):
                assert same(kind(host=host, hosts=hosts)[step], share(whole, of_host(host, hosts)))


@KINDS
def test_iteration_equals_addressing_for_any_number_of_threads_and_start(kind, of_host):
    addressed = [kind()[step] for step in range(8)]
    for threads in (1, 2, 5):
        for start in (0, 3):
            with iterate(kind(), start, 8, threads=threads) as batches:
                iterated = list(batches)
            assert len(iterated) == 8 - start
            assert all(map(same, iterated, addressed[start:]))


@KINDS
def test_seed_decides(kind, of_host):
    first, again, other = (kind(seed=seed)[0] for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other)


def test_iterator_closes_its_threads():
    with iterate(personas(), 0, 10**9) as batches:
        next(batches)
        workers = [
            thread for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")
        ]
        assert workers
    for thread in workers:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in workers)


def test_each_epoch_covers_all_records_in_a_new_order():
    dataset = persona_batches([numbered(8), numbered(8)], resolution=16, batch=8, seed=3)
    epochs = np.stack([numbers(dataset[step]) for step in range(4)])  # [epoch, persona, batch]
    assert (np.sort(epochs) == np.arange(8)).all()
    orders = {tuple(order) for order in epochs.reshape(-1, 8)}
    assert len(orders) == 8  # neither two epochs nor two personas share one


def polygon_mask(polygon, side: int) -> np.ndarray:
    return polygon_masks(polygon, np.array([len(polygon)]), side)[0]


def covered(polygon, side: int) -> np.ndarray:
    """The share of each pixel that a convex polygon covers, from 16 x 16 samples."""
    samples = 16
    centres = (np.arange(side * samples) + 0.5) / samples - 0.5
    x, y = np.meshgrid(centres, centres)
    turns = [
        (x1 - x0) * (y - y0) - (y1 - y0) * (x - x0)
        for (x0, y0), (x1, y1) in zip(polygon, np.roll(polygon, -1, 0), strict=True)
    ]
    inside = np.all(np.stack(turns) >= 0, 0) | np.all(np.stack(turns) <= 0, 0)
    return inside.reshape(side, samples, side, samples).mean((1, 3))


def test_mask_is_the_covered_share_of_each_pixel():
    rng = np.random.default_rng(0)
    for side in (16, 40):
        for _ in range(8):
            polygon = cv2.convexHull(
                rng.uniform(-0.3 * side, 1.3 * side, (8, 2)).astype(np.float32)
            )[:, 0]
            error = polygon_mask(polygon, side) / 255 - covered(polygon, side)
            assert np.abs(error).max() < 0.5 and abs(error.mean()) < 0.03
    assert not polygon_mask(np.array([[-9, -9], [-2, -9], [-2, -3]], np.float32), 16).any()


def test_mask_of_a_face_is_nearly_as_exact_as_the_slower_one_and_not_too_large():
    errors = []
    for persona in range(16):
        polygon = puppet_source(0, persona, 0, 1, 64).read(0, decode).polygon
        exact = covered(polygon, 64)
        errors.append(
            [polygon_mask(polygon, 64) / 255 - exact, align.polygon_mask(polygon, 64, 64) - exact]
        )
    ours, slower = np.square(errors).mean((0, 2, 3))
    assert ours < 2 * slower
    ours, slower = np.sum(errors, (0, 2, 3))
    assert abs(ours) < 0.3 * slower


def dots(side: int, points) -> np.ndarray:
    """Blurred dots, one per channel, at up to three points: centroids tell where they go."""
    y, x = np.mgrid[:side, :side]
    channels = [200 * np.exp(-(np.square(x - px) + np.square(y - py)) / 18) for px, py in points]
    return np.stack(channels, -1).astype(np.uint8)


def centroids(image) -> np.ndarray:
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weights = image.astype(float) * (image > 12)  # leaves JPEG's ringing out
    return np.stack(
        [(weights * x[..., None]).sum((0, 1)), (weights * y[..., None]).sum((0, 1))], -1
    ) / weights.sum((0, 1)).reshape(3, 1)


def test_only_the_input_is_warped():
    source = [puppet_source(0, 1, 0, 2, 16)]
    plain = persona_batches(source, resolution=16, batch=4, seed=0)[0]
    np.testing.assert_array_equal(plain["input"], plain["image"])
    warped, again = (
        persona_batches(source, resolution=16, batch=4, seed=0, warp=0.05)[0] for _ in range(2)
    )
    assert same(warped, again)
    for name in ("image", "mask", "landmarks", "pose"):
        np.testing.assert_array_equal(warped[name], plain[name])
    assert not np.array_equal(warped["input"], warped["image"])


def test_a_warp_displaces_smoothly_by_its_strength():
    y, x = np.mgrid[:64, :64]
    ramp = np.stack([2 * x + 64, 2 * y + 64, 0 * x], -1).astype(np.uint8)
    source = one(record(ramp, codec="png"), 64)
    batch = persona_batches(source, resolution=64, batch=40, seed=0, mirror=False, warp=0.02)[0]
    moved = (batch["input"].astype(float) - batch["image"])[0, :, 16:48, 16:48, :2] / 2
    assert 0.6 < moved.std() / (0.02 * 64) < 1.2
    assert np.abs(np.diff(moved, axis=2)).max() < 1


def test_a_corrupt_record_changes_no_other_element():
    sound, damaged = numbered(8), numbered(8)
    damaged.records[3] = damaged.records[3][:200]
    damaged.records[4] = b""
    settings = {
        "resolution": 16,
        "batch": 8,
        "seed": 3,
        "warp": 0.05,
        "jitter": Jitter(5, 0.1, 0.1),
    }
    before, after = (
        persona_batches([source, numbered(5)], **settings) for source in (sound, damaged)
    )
    with iterate(after, 0, 6, threads=3) as batches:
        for step, batch in enumerate(batches):
            expected = before[step]
            wrong = np.isin(numbers(expected)[0], (3, 4))
            assert wrong.sum() == 2  # an epoch is a batch
            np.testing.assert_array_equal(
                numbers(batch)[0], np.where(wrong, 5, numbers(expected)[0])
            )
            for name in batch:
                np.testing.assert_array_equal(batch[name][1], expected[name][1])
                np.testing.assert_array_equal(batch[name][0][~wrong], expected[name][0][~wrong])
    assert sorted(damaged.corrupt) == [3, 4] and not sound.corrupt


@pytest.mark.parametrize(
    "broken",
    [
        record(np.zeros((16, 16, 3), np.uint8)),
        record(np.zeros((SIZE, SIZE, 3), np.uint8), polygon=np.zeros((0, 2), np.float32)),
        record(np.zeros((SIZE, SIZE, 3), np.uint8), landmarks=np.full((68, 2), np.nan, np.float32)),
        record(np.zeros((SIZE, SIZE, 3), np.uint8)).replace(b"\xff\xd8\xff", b"\x00\x00\x00"),
    ],
)
def test_records_that_cannot_be_right_are_corrupt(broken):
    source = PersonaSource("a", [broken, numbered(2).records[1]], [2], SIZE)
    assert set(numbers(persona_batches([source], resolution=16, batch=4, seed=0)[0]).flat) == {1}
    assert list(source.corrupt) == [0]


def test_bad_settings():
    with pytest.raises(InputError, match="batch of 3 does not divide among 2 hosts"):
        persona_batches([numbered(2)], resolution=16, batch=3, seed=0, hosts=2)
    with pytest.raises(InputError, match="persona ann have 32 px, but 64 px"):
        persona_batches([numbered(2, persona="ann")], resolution=64, batch=1, seed=0)
    with pytest.raises(InputError, match="Persona ann has no pictures"):
        persona_batches([PersonaSource("ann", [], [], SIZE)], resolution=16, batch=1, seed=0)
    with pytest.raises(InputError, match="Persona ann has no pictures"):
        identity_batches(
            [numbered(2), PersonaSource("ann", [], [], SIZE)], resolution=16, batch=2, seed=0
        )
    with pytest.raises(InputError, match="1 identities with pictures, but pairs need two"):
        paired_batches([numbered(4), numbered()], resolution=16, batch=1, seed=0)
    with pytest.raises(InputError, match="No face track of the data has two records"):
        paired_batches([numbered(1), numbered(1, 1)], resolution=16, batch=1, seed=0)


def test_pairs_are_two_frames_of_one_track_and_one_of_another_identity():
    tracks = {**dict.fromkeys(range(3), 0), 3: 1, **dict.fromkeys(range(4, 8), 2)}
    tracks |= {10: 3, 11: 3, 12: 4, 13: 4, 20: 5}
    owner = {number: 0 if number < 8 else 1 if number < 14 else 2 for number in tracks}
    batch = pairs(batch=3000, resolution=8, mirror=False)[0]
    source, driving, other = (
        numbers(batch[role]).tolist() for role in ("source", "driving", "other")
    )
    for a, b, c in zip(source, driving, other, strict=True):
        assert a != b and tracks[a] == tracks[b] and owner[a] != owner[c]
    for role, shown in (("source", source), ("driving", driving), ("other", other)):
        assert batch[role]["identity"].tolist() == [owner[number] for number in shown]
    counts = {number: source.count(number) for number in tracks}
    assert counts[3] == counts[20] == 0  # alone in their tracks
    # Both identities with longer tracks are equally likely, and so is each of their records in such tracks.
    np.testing.assert_allclose([counts[n] for n in (0, 1, 2, 4, 5, 6, 7)], 1500 / 7, rtol=0.25)
    np.testing.assert_allclose([counts[n] for n in (10, 11, 12, 13)], 1500 / 4, rtol=0.25)
    # All others are equally likely as the other frame, tracks of one record included.
    assert {number for number, one in zip(other, source, strict=True) if owner[one] == 0} == {
        10,
        11,
        12,
        13,
        20,
    }


def test_partners_are_mirrored_together():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:, SIZE // 2 :] = 255
    sources = [PersonaSource(name, [record(image)] * 3, [3], SIZE) for name in "ab"]
    batch = paired_batches(sources, resolution=16, batch=64, seed=0)[0]
    source, driving, other = (
        batch[role]["image"][:, 0, 0, 0] > 127 for role in ("source", "driving", "other")
    )
    np.testing.assert_array_equal(source, driving)
    assert 16 < source.sum() < 48 and 16 < (source ^ other).sum() < 48


def test_pairs_survive_corrupt_records():
    def damaged(*numbers: int) -> list[PersonaSource]:
        sources = [numbered(2, 3), numbered(2, first=10)]
        for number in numbers:
            sources[0].records[number] = b""
        return sources

    settings = {"resolution": 8, "batch": 200, "seed": 0}
    whole = paired_batches(damaged(), **settings)[0]
    # Track 0..1 has only one intact record left, track 2..4 two: 2 and 4.
    batch = paired_batches(damaged(0, 3), **settings)[0]
    source, driving = (numbers(batch[role]) for role in ("source", "driving"))
    own = source < 10
    assert {*zip(source[own].tolist(), driving[own].tolist(), strict=True)} == {(2, 4), (4, 2)}
    untouched = share(whole, lambda array: array[~own])
    assert same(share(batch, lambda array: array[~own])["source"], untouched["source"])
    with pytest.raises(InputError, match="No face track of persona a has two intact records"):
        paired_batches(damaged(0, 2, 3), **settings)[0]


def test_the_index_of_pairs_is_small_and_reads_no_record():
    """7,000 identities with 10 million records."""

    class Sealed:
        def __getitem__(self, index):
            raise AssertionError("read")

    rng = np.random.default_rng(0)
    sources = [
        PersonaSource(str(i), Sealed(), rng.integers(1, 140, 20).tolist(), SIZE)
        for i in range(7000)
    ]
    assert 9e6 < sum(map(len, sources)) < 11e6
    tracemalloc.start()
    start = time.process_time()
    dataset = paired_batches(sources, resolution=16, batch=4, seed=0)
    seconds, memory = time.process_time() - start, tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert memory < 10e6 and seconds < 10
    with pytest.raises(AssertionError, match="read"):
        dataset[10**9]


def test_identities_take_turns_and_show_each_record_once_before_they_repeat_one():
    dataset = identities(batch=6, mirror=False, jitter=None, resolution=8)
    batches = [dataset[step] for step in range(16)]  # two identities' turns a step, 32 turns in all
    shown, who = (
        np.concatenate(parts)
        for parts in zip(*((numbers(b), b["identity"]) for b in batches), strict=True)
    )
    turns = who.reshape(-1, 3)
    assert (np.sort(turns) == [0, 1, 2]).all() and len({tuple(turn) for turn in turns.tolist()}) > 3
    for i, own in enumerate([range(8), range(10, 14), [20]]):
        epochs = shown[who == i].reshape(-1, len(own))
        assert (np.sort(epochs) == own).all()
        assert len(own) == 1 or len({tuple(epoch) for epoch in epochs.tolist()}) > 1


def test_identities_mirror_half_of_the_pictures_and_survive_corrupt_records():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:, SIZE // 2 :] = 255
    sources = [PersonaSource(name, [record(image)] * 3, [3], SIZE) for name in "ab"]
    settings = {"resolution": 16, "batch": 64, "seed": 0}
    batch = identity_batches(sources, **settings)[0]
    mirrored = batch["image"][:, 0, 0, 0] > 127
    assert 16 < mirrored.sum() < 48
    assert not (
        identity_batches(sources, **settings, mirror=False)[0]["image"][:, 0, 0] > 127
    ).any()
    damaged = [
        dataclasses.replace(sources[0], records=[b"", *sources[0].records[1:]], corrupt={}),
        sources[1],
    ]
    assert same(identity_batches(damaged, **settings)[0], batch) and list(damaged[0].corrupt) == [0]


def test_puppets_go_the_same_way():
    sources = [
        puppet_source(world_seed=0, persona=persona, track=0, frames=3, resolution=32)
        for persona in (0, 1)
    ]
    batch = persona_batches(sources, resolution=16, batch=3, seed=0)[0]
    assert batch["image"].shape == (2, 3, 16, 16, 3)
    assert 0.2 < batch["mask"].mean() / 255 < 0.8
    face = paired_batches(sources, resolution=16, batch=3, seed=0)[0]["driving"]
    inside = [polygon_mask(align.face_polygon(landmarks), 16) for landmarks in face["landmarks"]]
    np.testing.assert_array_equal(face["mask"], inside)


def test_no_module_needs_jax():
    """Grain imports JAX where it is installed, so JAX is hidden from the process that imports our modules."""
    root = Path(data_pipelines.__file__).parents[1]
    code = f"""
import importlib, sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hide())
for name in {[".".join(path.relative_to(root).with_suffix("").parts) for path in root.glob("data_pipelines/**/*.py")]}:
    importlib.import_module(name)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
