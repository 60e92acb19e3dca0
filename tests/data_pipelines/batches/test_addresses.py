"""Batches addressed by step: seeds, hosts, threads, starts, skipped ones, epochs."""

import threading

import numpy as np
import pytest

from data_pipelines.batches.addresses import batch_number, epoch_order, iterate
from data_pipelines.batches.assembly import FIELDS
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.roles import Identities, Personas, Roles
from tests.support.numbered import made, numbered, part, same

STRONG = Augmentation(mirror=True, rotation=10, scale=0.1, shift=0.1, warp=0.05)


def batches_of(sampler, **settings):
    sources = [
        numbered(4, 1, 4),
        numbered(2, 5, first=10, persona="b"),
        numbered(1, 1, first=20, persona="c"),
    ]
    if sampler.cut_together:
        sources = [numbered(6), numbered(6, first=10, persona="b")]
    usual = {"fields": FIELDS, "seed": 1, "augmentation": STRONG, "resolution": 8}
    return made(sources, sampler, **usual | settings)


SAMPLERS = pytest.mark.parametrize(
    ("sampler", "axis"),
    [
        (Personas(), 1),
        (Identities(), 0),
        (Identities(2), 0),
        (Identities(2, 2), 0),
        (Roles(3, 1, 2), 0),
    ],
)


@SAMPLERS
def test_global_batch_is_the_same_for_any_number_of_hosts(sampler, axis):
    for step in (0, 5):
        whole = batches_of(sampler)[step]
        for hosts in (2, 4):
            for host in range(hosts):

                def of_host(array, host=host, hosts=hosts):
                    return np.split(array, hosts, axis)[host]

                sliced = batches_of(sampler, host=host, hosts=hosts)[step]
                assert same(sliced, part(whole, of_host))


@SAMPLERS
def test_iteration_equals_addressing_for_any_number_of_threads_and_start(sampler, axis):
    dataset = batches_of(sampler)
    addressed = [dataset[step] for step in range(6)]
    for threads, start in ((1, 0), (2, 3), (5, 0)):
        with iterate(batches_of(sampler), start, 6, threads=threads) as batches:
            iterated = list(batches)
        assert len(iterated) == 6 - start
        assert all(map(same, iterated, addressed[start:]))


@SAMPLERS
def test_seed_decides(sampler, axis):
    first, again, other = (batches_of(sampler, seed=seed)[0] for seed in (1, 1, 2))
    assert same(first, again) and not same(first, other)


def test_no_step_takes_a_skipped_batch():
    skipped = (2, 3, 7)
    taken = [batch_number(step, skipped) for step in range(6)]
    assert taken == [0, 1, 4, 5, 6, 8]
    dataset = batches_of(Identities())
    with iterate(dataset, 1, 6, skipped=skipped) as batches:
        for number, batch in zip(taken[1:], batches, strict=True):
            assert same(batch, dataset[number])


def test_iterator_closes_its_threads():
    with iterate(batches_of(Personas()), 0, 10**9) as batches:
        next(batches)
        workers = [
            thread for thread in threading.enumerate() if thread.name.startswith("grain-prefetch")
        ]
        assert workers
    for thread in workers:
        thread.join(timeout=10)
    assert not any(thread.is_alive() for thread in workers)


def test_each_epoch_has_every_number_once_in_a_new_order():
    order = epoch_order(8, (3,))
    epochs = np.array([order(position) for position in range(32)]).reshape(4, 8)
    assert (np.sort(epochs) == np.arange(8)).all()
    assert len({tuple(epoch) for epoch in epochs.tolist()}) == 4
