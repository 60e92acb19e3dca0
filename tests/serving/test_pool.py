"""Faces of many requests go through one model together."""

import threading
import time

import numpy as np
import pytest

from faceswap_jax.inference.generator import Faces, Who
from faceswap_jax.serving.models import Models
from faceswap_jax.serving.pool import Pool
from faceswap_jax.serving.refusal import Refusal
from tests.support.generators import PixelGenerator


class Named(PixelGenerator):
    """Its images are as bright as the persona says; one at a time, once it may."""

    def __post_init__(self):
        super().__post_init__()
        self.may = threading.Event()

    def identity(self, who):
        return {"weight": np.float32(who.personas["ada"])}

    def __call__(self, identity, faces, edit=None):
        assert self.may.wait(30)
        images = super().__call__(identity, faces, edit)
        return (images * identity["weight"]).astype(np.uint8)


def crops(*values) -> np.ndarray:
    return np.stack([np.full((4, 4, 3), value, np.uint8) for value in values])


@pytest.fixture
def generator():
    return Named(np.copy, 4)


@pytest.fixture
def pool(generator):
    pool = Pool(generator)
    yield pool
    generator.may.set()
    pool.close()


def asked(pool, who, *values, deadline=None):
    """A thread that asks, and what it is answered."""
    answer = []

    def ask():
        pooled = pool.for_order(deadline)
        try:
            answer.append(pooled(pooled.identity(Who(who)), Faces(crops=crops(*values))))
        except Refusal as refusal:
            answer.append(refusal)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, answer


def test_those_who_want_the_same_share_batches_of_fixed_sizes(pool, generator):
    first = asked(pool, {"ada": 1.0}, 1)
    time.sleep(0.1)  # It is in the model, and the others wait.
    others = [asked(pool, {"ada": 1.0}, value) for value in (2, 3, 4)]
    half = asked(pool, {"ada": 0.5}, 10, 20)
    time.sleep(0.1)
    generator.may.set()
    for thread, _ in (first, half, *others):
        thread.join(30)
    assert [answer[0][:, 0, 0, 0].tolist() for _, answer in (first, *others)] == [
        [1],
        [2],
        [3],
        [4],
    ]
    assert half[1][0][:, 0, 0, 0].tolist() == [5, 10]
    assert sorted(generator.batches) == [1, 2, 4]


def test_one_who_asks_alone_waits_for_nobody(pool, generator, monkeypatch):
    monkeypatch.setattr("faceswap_jax.serving.pool.LINGER", 60)
    generator.may.set()
    for _ in range(2):
        thread, answer = asked(pool, {"ada": 1.0}, 7)
        thread.join(30)
        assert answer[0].max() == 7


def test_faces_that_fill_up_a_batch_are_not_made(pool, generator):
    generator.may.set()
    thread, answer = asked(pool, {"ada": 1.0}, 7, 9, 9, 9, 9, 9, 9, 9)
    thread.join(30)
    assert answer[0][:, 0, 0, 0].tolist() == [7] + 7 * [9]
    assert generator.batches == [2]


def test_what_comes_too_late_is_not_made(pool, generator):
    first = asked(pool, {"ada": 1.0}, 1)
    time.sleep(0.1)
    late = asked(pool, {"ada": 1.0}, 2, deadline=time.monotonic())
    time.sleep(0.1)
    generator.may.set()
    for thread, _ in (first, late):
        thread.join(30)
    assert first[1][0].max() == 1 and late[1][0].status_code == 503
    assert generator.batches == [1]


def test_a_failure_reaches_all_who_wait(pool, generator):
    generator.may.set()
    generator.pixels = lambda crops: 1 / 0
    pooled = pool.for_order(None)
    with pytest.raises(ZeroDivisionError):
        pooled(pooled.identity(Who({"ada": 1.0})), Faces(crops=crops(1)))
    generator.pixels = np.copy
    assert pooled(pooled.identity(Who({"ada": 1.0})), Faces(crops=crops(1))).max() == 1


def test_the_failure_of_one_spoils_no_other(pool, generator):
    def careful(crops):
        assert (crops != 13).all()
        return crops

    generator.pixels = careful
    first = asked(pool, {"ada": 1.0}, 1)
    time.sleep(0.1)
    good = asked(pool, {"ada": 1.0}, 2)
    with pytest.raises(AssertionError):
        later = threading.Timer(0.1, generator.may.set)
        later.start()
        pool.for_order(None)(pool.identity(Who({"ada": 1.0})), Faces(crops=crops(13)))
    for thread, _ in (first, good):
        thread.join(30)
    assert good[1][0].max() == 2 and sorted(generator.batches) == [1, 1, 1, 2]


def test_a_new_version_is_ready_before_it_is_served_and_the_old_one_finishes():
    told = []
    old, new = PixelGenerator(np.copy, 4), PixelGenerator(np.invert, 4)
    models = Models({"swaps": old}, lambda name, count: told.append((name, count)))
    with models["swaps"].order() as pool:
        models.replace("swaps", new)
        assert new.batches == [1, 2, 4, 8]  # compiled
        assert pool.for_order(None)(None, Faces(crops=crops(3))).max() == 3
    with models["swaps"].order() as pool:
        assert pool.for_order(None)(None, Faces(crops=crops(3))).max() == 252
    assert told == [("swaps", 1), ("swaps", 1)]
    models.close()


def test_an_order_whose_turn_comes_after_its_version_was_replaced_is_done_by_that_version():
    models = Models({"swaps": PixelGenerator(np.copy, 4)}, lambda name, count: None)
    waits = models["swaps"]
    models.replace("swaps", PixelGenerator(np.invert, 4))
    for _ in range(2):
        with waits.order() as pool:
            assert pool.for_order(None)(None, Faces(crops=crops(3))).max() == 3
    models.close()
