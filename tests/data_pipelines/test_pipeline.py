"""Tests of the batches: addressing by step, hosts, epochs, mirroring, puppets."""

import subprocess
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest

import data_pipelines
from data_pipelines import pipeline
from data_pipelines.pipeline import PuppetSource, _warped, iterate, persona_batches, split
from data_pipelines.records import FaceRecord, decode, encode
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align

SIZE = 32
STEP = 8  # between the grey levels that number the records: more than JPEG changes


def record(image, polygon, frame=0, persona="a") -> bytes:
    return encode(
        FaceRecord(
            image=image,
            landmarks=np.zeros((68, 2), np.float32),
            polygon=np.array(polygon, np.float32),
            transform=np.eye(2, 3),
            frame_size=(SIZE, SIZE),
            time=frame / 25,
            frame=frame,
            confidence=1.0,
            persona=persona,
            clip="a.mp4",
            track=0,
        )
    )


def numbered(count: int, persona: str = "a") -> list[bytes]:
    """Records told apart by their grey level; the polygon covers more of the right half."""
    return [
        record(np.full((SIZE, SIZE, 3), STEP * i, np.uint8), [[8, 4], [28, 4], [28, 28]], i, persona)
        for i in range(count)
    ]


def numbers(batch) -> np.ndarray:
    """Which records a batch of `numbered` pictures holds: [persona, batch]."""
    return np.rint(batch["image"].mean((2, 3, 4)) / STEP).astype(int)


def same(one, other) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in ("image", "input", "mask"))


def test_shapes_and_types():
    batch = persona_batches([numbered(3), numbered(5)], resolution=16, batch=4, seed=0)[0]
    assert batch["image"].shape == (2, 4, 16, 16, 3) and batch["image"].dtype == np.uint8
    assert batch["mask"].shape == (2, 4, 16, 16) and batch["mask"].dtype == np.uint8
    assert batch["mask"].min() == 0 and batch["mask"].max() == 255


def test_global_batch_is_the_same_for_any_number_of_hosts():
    sources = [numbered(7), numbered(9)]
    for step in (0, 5):
        whole = persona_batches(sources, resolution=16, batch=4, seed=1)[step]
        for hosts in (2, 4):
            for host in range(hosts):
                share = persona_batches(sources, resolution=16, batch=4, seed=1, host=host, hosts=hosts)[step]
                assert same(share, {name: array[:, host::hosts] for name, array in whole.items()})


def test_iteration_equals_addressing_for_any_number_of_threads_and_start():
    dataset = persona_batches([numbered(7), numbered(9)], resolution=16, batch=4, seed=1)
    addressed = [dataset[step] for step in range(8)]
    for threads in (1, 2, 5):
        for start in (0, 3):
            with iterate(dataset, start, 8, threads=threads) as batches:
                iterated = list(batches)
            assert len(iterated) == 8 - start
            assert all(map(same, iterated, addressed[start:]))


def test_iterator_closes_its_threads():
    with iterate(persona_batches([numbered(4)], resolution=16, batch=2, seed=0), 0, 10**9) as batches:
        next(batches)
        workers = [thread for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")]
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


def test_seed_decides():
    batches = [persona_batches([numbered(8)], resolution=16, batch=8, seed=seed)[0] for seed in (1, 1, 2)]
    assert same(batches[0], batches[1]) and not same(batches[0], batches[2])


def test_mirror_takes_the_mask_along():
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[:, SIZE // 2 :] = 255
    source = [record(image, [[15.5, -0.5], [31.5, -0.5], [31.5, 31.5], [15.5, 31.5]])]  # covers the bright half exactly
    batch = persona_batches([source], resolution=16, batch=64, seed=0)[0]
    bright = batch["image"][0, ..., 0] > 127
    np.testing.assert_array_equal(bright, batch["mask"][0] == 255)
    mirrored = bright[:, 0, 0]
    assert 16 < mirrored.sum() < 48

    plain = persona_batches([source], resolution=16, batch=64, seed=0, mirror=False)[0]
    assert not (plain["mask"][0, :, 0, 0] > 0).any()


def test_picture_shrinks_by_area_and_the_mask_follows():
    rng = np.random.default_rng(0)
    image = cv2.GaussianBlur(rng.integers(0, 256, (SIZE, SIZE, 3), np.uint8), (0, 0), 2)
    data = record(image, [[8, 4], [28, 4], [28, 28]])
    batch = persona_batches([[data]], resolution=8, batch=1, seed=0, mirror=False)[0]
    areas = decode(data).image.reshape(8, 4, 8, 4, 3).mean((1, 3))
    assert np.abs(batch["image"][0, 0] - areas).max() <= 0.5
    cover = align.polygon_mask(decode(data).polygon, SIZE, SIZE).reshape(8, 4, 8, 4).mean((1, 3))
    assert np.abs(batch["mask"][0, 0] / 255 - cover).mean() < 0.02


def test_split_holds_out_the_end():
    train, validation = split(numbered(10), 0.2)
    assert [decode(train[i]).frame for i in range(len(train))] == list(range(8))
    assert [decode(validation[i]).frame for i in range(len(validation))] == [8, 9]
    assert list(map(len, split(numbered(3), 0.0))) == [2, 1]
    assert list(map(len, split(numbered(3), 1.0))) == [1, 2]
    seen = numbers(persona_batches([train], resolution=16, batch=64, seed=0)[0])
    assert set(seen.flat) == set(range(8))


def test_bad_settings():
    with pytest.raises(InputError, match="only one picture"):
        split(numbered(1), 0.5)
    with pytest.raises(InputError, match="3 pictures per persona does not divide among 2 hosts"):
        persona_batches([numbered(2)], resolution=16, batch=3, seed=0, hosts=2)
    large = persona_batches([numbered(2, "ann")], resolution=64, batch=1, seed=0)
    with pytest.raises(InputError, match="persona ann have 32 px, but 64 px"), iterate(large, 0, 1) as batches:
        next(batches)


def test_puppets_go_the_same_way():
    sources = [PuppetSource(world_seed=0, persona=persona, track=0, frames=3, resolution=32) for persona in (0, 1)]
    face = decode(sources[1][2])
    assert (face.persona, face.frame, face.image.shape) == ("puppet1", 2, (32, 32, 3))
    assert sources[1][2] == PuppetSource(0, 1, 0, frames=3, resolution=32)[2]
    batch = persona_batches(sources, resolution=16, batch=3, seed=0)[0]
    assert batch["image"].shape == (2, 3, 16, 16, 3)
    assert 0.2 < batch["mask"].mean() / 255 < 0.8


def test_puppets_are_rendered_once(monkeypatch):
    rendered = []
    render = pipeline.render_frame
    monkeypatch.setattr(pipeline, "render_frame", lambda *args: rendered.append(args) or render(*args))
    source = PuppetSource(0, 0, 0, frames=2, resolution=16)
    assert source[1] == source[1] and len(rendered) == 1


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


def test_only_the_input_is_warped():
    source = [PuppetSource(0, 1, 0, 2, 16)]
    plain = persona_batches(source, resolution=16, batch=4, seed=0)[0]
    np.testing.assert_array_equal(plain["input"], plain["image"])
    warped, again = (persona_batches(source, resolution=16, batch=4, seed=0, warp=0.05)[0] for _ in range(2))
    assert same(warped, again)
    np.testing.assert_array_equal(warped["image"], plain["image"])
    np.testing.assert_array_equal(warped["mask"], plain["mask"])
    assert not np.array_equal(warped["input"], warped["image"])


def test_a_warp_displaces_by_its_strength():
    y, x = np.mgrid[:64, :64]
    ramp = np.stack([2 * x + 64, 2 * y + 64, 0 * x], -1).astype(np.uint8)
    moved = [_warped(ramp, 0.02, np.random.default_rng(seed)).astype(float) - ramp for seed in range(40)]
    inner = np.stack(moved)[:, 16:48, 16:48, :2] / 2
    assert 0.6 < inner.std() / (0.02 * 64) < 1.2
    assert np.abs(np.diff(inner, axis=2)).max() < 1  # smooth
