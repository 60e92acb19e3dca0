"""Draws at random which videos of a persona are kept and which split each persona belongs to.

A draw hashes the seed with names. So it depends on nothing else: neither on the order of the inputs
nor on what else is there.
"""

import collections
import functools
import hashlib
from collections.abc import Iterable, Sequence

from data_pipelines.clips import Clip
from data_pipelines.records import SPLITS


def draw_videos(clips: Iterable[Clip], max_videos: int, seed: int) -> list[Clip]:
    """Keeps the clips of at most `max_videos` videos of each persona, drawn at random; 0 keeps all."""
    clips = list(clips)
    if not max_videos:
        return clips

    # Names of each persona's videos.
    videos = collections.defaultdict(set)
    for clip in clips:
        videos[clip.persona].add(clip.video)

    drawn = {}
    for persona, names in videos.items():
        shuffled = sorted(names, key=functools.partial(_lot, seed, persona))
        drawn[persona] = set(shuffled[:max_videos])
    return [clip for clip in clips if clip.video in drawn[clip.persona]]


def identity_splits(personas: Iterable[str], percent: Sequence[int], seed: int) -> dict[str, str]:
    """Assigns each persona to "train", "validation" or "test" at random.

    The counts are exact (largest remainder), with one exception: the training split gets at least
    one persona unless it is to have 0 percent.

    Args:
        personas: their names, in any order.
        percent: of the personas in each split; the sum is 100.
        seed: of the draw.
    """
    shuffled = sorted(set(personas), key=functools.partial(_lot, seed))
    counts = _largest_remainder(len(shuffled), percent)
    if shuffled and percent[0] and not counts[0]:
        # Nothing could be trained: takes one from the largest split.
        counts[counts.index(max(counts))] -= 1
        counts[0] = 1

    splits = []
    for split, count in zip(SPLITS, counts, strict=True):
        splits += [split] * count
    return dict(sorted(zip(shuffled, splits, strict=True)))


def _largest_remainder(total: int, percent: Sequence[int]) -> list[int]:
    """Divides a number into parts of the given percentages; the rest goes where most was cut off."""
    counts = [total * part // 100 for part in percent]
    remainders = [total * part % 100 for part in percent]
    by_remainder = sorted(range(len(percent)), key=lambda part: -remainders[part])
    for part in by_remainder[: total - sum(counts)]:
        counts[part] += 1
    return counts


def _lot(seed: int, *names: str) -> bytes:
    text = "\0".join([str(seed), *names])
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
