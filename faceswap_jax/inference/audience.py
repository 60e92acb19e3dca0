"""Who is told how far a job is: a terminal, unless somebody else asks."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Protocol, TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


class Audience(Protocol):
    """Somebody who is told what becomes of a clip."""

    def admitted(self, frames: Iterable[T]) -> Iterable[T]:
        """The same frames, as they are read, by a thread perhaps; may raise, which ends the job."""
        ...

    def watched(self, items: Iterable[T], what: str, total: int) -> Iterable[T]:
        """The same items, as they are done; may raise, which ends the job."""
        ...

    def tell(self, text: str) -> None:
        """A line for people."""
        ...


class Terminal:
    """Shows bars and lines on stderr, and admits all."""

    def admitted(self, frames: Iterable[T]) -> Iterable[T]:
        """See `Audience.admitted`."""
        return frames

    def watched(self, items: Iterable[T], what: str, total: int) -> Iterable[T]:
        """See `Audience.watched`; the bar goes when all is done."""
        console = Console(stderr=True)
        return track(
            items, what, total, console=console, transient=True, disable=not console.is_terminal
        )

    def tell(self, text: str) -> None:
        """See `Audience.tell`."""
        Console(stderr=True).print(text, highlight=False, markup=False, soft_wrap=True)


_AUDIENCE: ContextVar[Audience] = ContextVar("audience")


@contextmanager
def told_to(audience: Audience) -> Iterator[None]:
    """Tells somebody else than the terminal, in this thread."""
    token = _AUDIENCE.set(audience)
    try:
        yield
    finally:
        _AUDIENCE.reset(token)


def admitted(frames: Iterable[T]) -> Iterable[T]:
    """The same frames as they are read, which the audience may refuse."""
    return _audience().admitted(frames)


def watched(items: Iterable[T], what: str, total: int) -> Iterable[T]:
    """The same items; the audience sees how far they are."""
    return _audience().watched(items, what, total)


def tell(text: str) -> None:
    """A line for people."""
    _audience().tell(text)


def _audience() -> Audience:
    return _AUDIENCE.get(None) or Terminal()
