"""Step numbers to batches: which batch a step takes, which part of it a host makes, in which order records come.

A data set of batches is addressed by number: element [number] depends on nothing but the seed and the number. So
training resumes at any step without the state of an iterator, and any number of hosts and threads sees the same
global batches.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Sequence

import grain
import numpy as np

ENDLESS = 2**48
"""Batches of a data set."""

THREADS = min(os.cpu_count() or 1, 8)
"""Batches made at a time. More bring little: a tenth of the work is Python's, which one thread at a time can do."""


def host_slice(batch: int, host: int, hosts: int) -> slice:
    """One host's elements of a global batch. Laid beside each other, the slices of all hosts are the batch."""
    return slice(host * batch // hosts, (host + 1) * batch // hosts)


def epoch_order(length: int, seed: tuple[int, ...]) -> Callable[[int], int]:
    """A function from positions of a stream to numbers 0..length-1: each once per epoch, shuffled anew in each.

    Grain's own shuffle needs no memory, but takes longer than decoding an image where a persona has few records.
    """

    @functools.lru_cache(4)
    def permutation(epoch: int) -> np.ndarray:
        return np.random.default_rng((*seed, epoch)).permutation(length).astype(np.uint32)

    def number(position: int) -> int:
        epoch, place = divmod(position, length)
        return int(permutation(epoch)[place])

    return number


def batch_number(step: int, skipped: Sequence[int]) -> int:
    """Number of the batch that the step after `step` steps takes.

    Args:
        step: steps done.
        skipped: numbers of batches that no step takes, ascending.
    """
    for number in skipped:
        if number <= step:
            step += 1
    return step


def iterate(
    dataset: grain.MapDataset,
    start: int,
    stop: int,
    *,
    skipped: Sequence[int] = (),
    threads: int = THREADS,
) -> contextlib.closing[grain.DatasetIterator]:
    """Batches of the steps start..stop-1, prefetched by threads; use it in a `with` statement.

    Args:
        dataset: batches by number.
        start: first step.
        stop: first step after the last.
        skipped: numbers of batches that no step takes, ascending; the steps from there on take the next ones.
        threads: that make batches.
    """

    def batch_of(step: int) -> dict:
        return dataset[batch_number(step, skipped)]

    options = grain.ReadOptions(num_threads=threads, prefetch_buffer_size=2 * threads)
    steps = grain.MapDataset.range(start, stop).map(batch_of)
    return contextlib.closing(iter(steps.to_iter_dataset(options)))
