"""Work that threads do ahead of whoever asks for its results.

Decoders, OpenCV, LiteRT and XLA compute while other threads run Python. Results come in order, and no more of them are
held than is said, however long a clip is. What goes wrong is raised where the result is asked for. Whoever stops
asking closes the iterator: that waits for the results that are being made, and begins no others.
"""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import copy_context
from typing import TypeVar

A = TypeVar("A")
B = TypeVar("B")


def cores() -> int:
    """How many cores this process may use."""
    # macOS does not tell which.
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


THREADS = min(cores(), 4)
"""That `mapped` uses: with more, too many frames would be held."""


def ahead(items: Iterable[A], length: int) -> Iterator[A]:
    """The same items, made by a thread of their own.

    Args:
        items: iterated in that thread only.
        length: how many are made before they are asked for.
    """
    end = object()
    context = copy_context()
    iterator = iter(items)
    with _waiting(threads=1) as (pool, waiting):
        for _ in range(length):
            waiting.append(pool.submit(context.run, next, iterator, end))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(pool.submit(context.run, next, iterator, end))
            yield item


def mapped(function: Callable[[A], B], items: Iterable[A], threads: int = THREADS) -> Iterator[B]:
    """What a function makes of each item, in their order.

    Args:
        function: may be called by several threads at once.
        items: iterated in the thread that asks for the results.
        threads: how many items are worked on at once.
    """
    with _waiting(threads) as (pool, waiting):
        for item in items:
            waiting.append(pool.submit(copy_context().run, function, item))
            if len(waiting) > threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


@contextmanager
def _waiting(threads: int) -> Iterator[tuple[ThreadPoolExecutor, deque[Future]]]:
    """Threads, and room for what they are to do; at the end they do nothing more of it."""
    waiting: deque[Future] = deque()
    with ThreadPoolExecutor(threads) as pool:
        try:
            yield pool, waiting
        finally:
            for future in waiting:
                future.cancel()
