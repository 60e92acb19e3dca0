"""Threads that work ahead: order, bounds, failures, the end, and who is told."""

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar

import pytest

from faceswap_jax.faces.ahead import THREADS, ahead, mapped


def doubled_ahead(items: Iterable[int]) -> Iterator[int]:
    return ahead((2 * item for item in items), 3)


def doubled_by_several(items: Iterable[int]) -> Iterator[int]:
    return mapped(lambda item: 2 * item, items)


WAYS = {"ahead": (doubled_ahead, 3), "mapped": (doubled_by_several, THREADS)}
ways = pytest.mark.parametrize(("doubled", "most"), WAYS.values(), ids=list(WAYS))
Doubled = Callable[[Iterable[int]], Iterator[int]]


@ways
@pytest.mark.parametrize("count", [0, 1, 2, 50])
def test_all_come_in_their_order(doubled: Doubled, most: int, count: int):
    assert list(doubled(range(count))) == [2 * number for number in range(count)]


@ways
def test_no_more_are_taken_than_is_said(doubled: Doubled, most: int):
    taken = []

    def items():
        for number in itertools.count():
            taken.append(number)
            yield number

    results = doubled(items())
    for asked in range(1, 6):
        next(results)
        assert len(taken) <= asked + most
    results.close()
    assert len(taken) <= 5 + most


@ways
def test_what_goes_wrong_is_raised_in_its_place(doubled: Doubled, most: int):
    def items():
        yield from range(7)
        raise RuntimeError("the eighth")

    results = doubled(items())
    # Those that are being worked on are lost with it.
    with pytest.raises(RuntimeError, match="the eighth"):
        for expected, result in enumerate(results):
            assert result == 2 * expected


def test_a_failure_comes_after_all_that_went_well_before():
    def reciprocal(number: int) -> float:
        return 1 / (5 - number)

    seen = []
    with pytest.raises(ZeroDivisionError):
        for result in mapped(reciprocal, range(50)):
            seen.append(result)
    assert seen == [1 / (5 - number) for number in range(5)]


@ways
def test_no_thread_is_left_of_what_is_closed(doubled: Doubled, most: int):
    before = threading.active_count()
    results = doubled(itertools.count())
    next(results)
    assert threading.active_count() > before
    results.close()
    assert threading.active_count() == before


@ways
def test_a_closed_iterator_closes_what_it_reads(doubled: Doubled, most: int):
    closed = []

    def items():
        try:
            yield from itertools.count()
        finally:
            closed.append(True)

    results = doubled(items())
    next(results)
    results.close()
    del results
    assert closed


def test_several_threads_work_at_once():
    """Each waits until there are as many as it is said, which one thread alone would never see."""
    together = threading.Barrier(THREADS, timeout=30)

    def meet(number: int) -> int:
        together.wait()
        return number

    assert list(mapped(meet, range(2 * THREADS))) == list(range(2 * THREADS))


SAID = ContextVar("said", default="nothing")


def test_threads_know_what_their_caller_has_set():
    token = SAID.set("something")
    try:
        told_ahead = ahead((SAID.get() for _ in range(3)), 2)
        told_mapped = mapped(lambda _: SAID.get(), range(3))
        assert [*told_ahead, *told_mapped] == ["something"] * 6
    finally:
        SAID.reset(token)
