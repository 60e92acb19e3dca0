"""Corrupt records are skipped, named and counted, and change no other frame."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Personas, Roles
from data_pipelines.sources import PersonaSource
from faceswap_jax.errors import InputError
from tests.support.numbered import (
    SIZE,
    made,
    numbered,
    numbers,
    part,
    record,
    same,
)

GREY = np.zeros((SIZE, SIZE, 3), np.uint8)
PAIR = Roles(source=1, driving=1, other=1)


def damaged(source: PersonaSource, *broken: int) -> PersonaSource:
    records = [b"" if number in broken else data for number, data in enumerate(source.records)]
    return dataclasses.replace(source, records=records, corrupt={})


def test_the_next_intact_record_takes_its_place():
    varied = Augmentation(mirror=True, rotation=5, scale=0.1, shift=0.1, warp=0.05)
    settings = {"batch": 8, "seed": 3, "augmentation": varied}
    settings["fields"] = ("image", "encoder_input", "mask", "landmarks", "pose", "record")
    whole, broken = numbered(8), damaged(numbered(8), 3, 4)
    before = made([whole, numbered(5)], Personas(), **settings)
    after = made([broken, numbered(5)], Personas(), **settings)
    for step in range(4):
        expected, batch = before[step], after[step]
        wrong = np.isin(numbers(expected)[0], (3, 4))
        assert wrong.sum() == 2  # an epoch is a batch
        np.testing.assert_array_equal(numbers(batch)[0], np.where(wrong, 5, numbers(expected)[0]))
        for name in batch:
            np.testing.assert_array_equal(batch[name][1], expected[name][1])
            np.testing.assert_array_equal(batch[name][0][~wrong], expected[name][0][~wrong])
    assert sorted(broken.corrupt) == [3, 4] and not whole.corrupt


def test_the_other_frames_of_its_track_stay():
    sampler, settings = Roles(source=2, driving=1), {"batch": 200, "resolution": 8}
    whole = made([numbered(6)], sampler, **settings)[0]
    batch = made([damaged(numbered(6), 2)], sampler, **settings)[0]
    before, after = (
        np.concatenate([numbers(b["source"]), numbers(b["driving"])], 1) for b in (whole, batch)
    )
    np.testing.assert_array_equal(before[before != 2], after[before != 2])
    assert all(len(set(frames)) == 3 and 2 not in frames for frames in after.tolist())


def test_tracks_with_too_few_intact_records_are_passed_over():
    def sources(*broken: int) -> list[PersonaSource]:
        return [damaged(numbered(2, 3), *broken), numbered(2, first=10)]

    settings = {"resolution": 8, "batch": 200}
    whole = made(sources(), PAIR, **settings)[0]
    # Track 0..1 has only one intact record left, track 2..4 two: 2 and 4.
    batch = made(sources(0, 3), PAIR, **settings)[0]
    source, driving = (numbers(batch[role])[:, 0] for role in ("source", "driving"))
    own = source < 10
    assert {*zip(source[own].tolist(), driving[own].tolist(), strict=True)} == {(2, 4), (4, 2)}
    assert same(*(part(b["source"], lambda array: array[~own]) for b in (batch, whole)))


def test_too_many_corrupt_records_are_told_with_the_persona():
    with pytest.raises(InputError, match="persona a has 2 intact records"):
        made([damaged(numbered(2, 3), 0, 2, 3), numbered(2)], PAIR, batch=64)[0]
    with pytest.raises(InputError, match="persona a has an intact record"):
        made([damaged(numbered(2), 0, 1)], Personas())[0]


@pytest.mark.parametrize(
    "broken",
    [
        record(np.zeros((16, 16, 3), np.uint8)),
        record(GREY, polygon=np.zeros((0, 2), np.float32)),
        record(GREY, landmarks=np.full((68, 2), np.nan, np.float32)),
        record(GREY, landmarks=np.zeros((68, 2), np.float32)),
        record(GREY).replace(b"\xff\xd8\xff", b"\x00\x00\x00"),
    ],
    ids=["size", "no outline", "no numbers", "no extent", "no image"],
)
def test_records_that_cannot_be_right_are_corrupt(broken):
    source = PersonaSource("a", [broken, numbered(2).records[1]], [2], SIZE)
    assert set(numbers(made([source], Personas())[0]).flat) == {1}
    assert list(source.corrupt) == [0]
