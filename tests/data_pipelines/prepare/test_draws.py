"""Tests of the draws of videos and of identities."""

import random
from collections import Counter
from fractions import Fraction
from pathlib import Path

import pytest

from data_pipelines.clips import Clip
from data_pipelines.prepare.draws import draw_videos, identity_splits
from data_pipelines.records import SPLITS


def clips_of(persona: str, videos: int, parts: int = 2) -> list[Clip]:
    return [
        Clip(Path(f"{v}.mp4"), persona, f"{persona}/{v}.mp4#t={p}", p, p + 1, str(v))
        for v in range(videos)
        for p in range(parts)
    ]


def test_videos_are_drawn_whole_and_by_identity():
    ann = clips_of("ann", 12)
    bob = clips_of("bob", 3)
    drawn = draw_videos(ann + bob, 5, seed=1)
    assert Counter(clip.persona for clip in drawn) == {"ann": 10, "bob": 6}
    parts = Counter((clip.persona, clip.video) for clip in drawn)
    assert set(parts.values()) == {2}
    assert [clip for clip in ann + bob if clip in drawn] == drawn
    assert draw_videos(ann + bob, 0, seed=1) == ann + bob


def test_the_draw_of_a_persona_depends_on_neither_order_nor_company():
    ann = clips_of("ann", 12)
    alone = {clip.name for clip in draw_videos(ann, 5, seed=1)}
    in_company = draw_videos([*reversed(ann), *clips_of("eve", 9)], 5, seed=1)
    assert {clip.name for clip in in_company if clip.persona == "ann"} == alone
    assert {clip.name for clip in draw_videos(ann, 4, seed=1)} < alone


def test_every_video_is_as_likely():
    clips = clips_of("ann", 8, parts=1)
    counts = Counter()
    for seed in range(400):
        counts.update(clip.video for clip in draw_videos(clips, 2, seed))
    assert len(counts) == 8
    # 100 +- 3.5 sigma
    assert all(70 < count < 130 for count in counts.values())


@pytest.mark.parametrize(
    "percent", [(100, 0, 0), (75, 15, 10), (34, 33, 33), (80, 0, 20), (1, 50, 49), (0, 50, 50)]
)
def test_splits_have_exact_counts(percent):
    for total in [0, 1, 2, 3, 7, 40, 100, 333]:
        personas = [f"p{i}" for i in range(total)]
        splits = identity_splits(personas, percent, seed=3)
        shuffled = random.Random(total).sample(personas, total)
        assert identity_splits(shuffled, percent, seed=3) == splits
        assert list(splits) == sorted(personas)

        counts = [list(splits.values()).count(split) for split in SPLITS]
        wanted = [Fraction(total * part, 100) for part in percent]
        assert not total or not percent[0] or counts[0]
        for got, want in zip(counts, wanted, strict=True):
            # Training takes a persona of another split only where a split gets less than one.
            assert abs(got - want) < 1 or min(wanted) < 1
            assert got == want or total != 100
            assert want or not got


def test_splits_depend_on_the_seed():
    personas = [f"p{i}" for i in range(50)]
    first = identity_splits(personas, (80, 0, 20), seed=0)
    second = identity_splits(personas, (80, 0, 20), seed=1)
    assert first != second
    assert Counter(first.values()) == Counter(second.values()) == {"train": 40, "test": 10}
