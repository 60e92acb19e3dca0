"""How much is taken in: of one request, and of all at once."""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from faceswap_jax.serving.refusal import BUSY, TOO_LARGE, TOO_MANY, Refusal

BYTES_PER_PIXEL = 330
"""Memory that a swap takes for each pixel of a frame: 120 were measured for blending a face that fills it, two of which
are blended at once, and two dozen frames are in flight."""

DEEP_BYTES_PER_PIXEL = 620
"""Of a clip of more than 8 bits: 215 more were measured, most of them in the encoder of HEVC, and frames in flight are
larger."""


@dataclass(frozen=True)
class Limits:
    """What is admitted.

    Attributes:
        picture_bytes: of a request with pictures.
        clip_bytes: of a request with a clip.
        pixels: of one frame.
        seconds: that a clip lasts.
        frames: of a clip.
        memory: bytes of decoded frames, of all requests at once.
        patience: seconds until more of a request must have come.
        slowest: bytes a second that must come on average, once patience is over.
        upload_seconds: in which all of a request must have come.
        uploads: requests that are read at once.
        uploads_each: those of one key.
        pictures: that are worked on at once.
        together: faces of several requests that go through a model at once.
        waiting_pictures: that wait for it.
        picture_seconds: in which a picture must be done, the waiting included.
        clips: that are worked on at once.
        jobs: clips that wait, or whose results do.
        jobs_each: those of one key.
        result_seconds: for which the result of a job is kept.
    """

    picture_bytes: int = 32 << 20
    clip_bytes: int = 512 << 20
    pixels: int = 16_000_000
    seconds: float = 600
    frames: int = 36_000
    memory: int = 6 << 30
    patience: float = 10
    slowest: int = 8 << 10
    upload_seconds: float = 300
    uploads: int = 64
    uploads_each: int = 32
    pictures: int = 8
    together: int = 8
    waiting_pictures: int = 32
    picture_seconds: float = 30
    clips: int = 1
    jobs: int = 32
    jobs_each: int = 8
    result_seconds: float = 3600


class Places:
    """Places for so many at once; who finds none is refused, and does not wait."""

    def __init__(self, what: str, count: int, each: int | None = None):
        """All free.

        Args:
            what: is done there, for the sentence.
            count: of the places.
            each: how many one key may have; None for all.
        """
        self._what = what
        self._count = count
        self._each = each
        self._taken: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are not free."""
        return self._taken.total()

    @contextmanager
    def place(self, owner: str) -> Iterator[None]:
        """A place meanwhile.

        Raises:
            Refusal: none is free, or the owner has too many.
        """
        self.take(owner)
        try:
            yield
        finally:
            self.leave(owner)

    def take(self, owner: str) -> None:
        """Takes a place until `leave`; raises Refusal as `place`."""
        with self._lock:
            self.check(owner)
            self._taken[owner] += 1

    def check(self, owner: str) -> None:
        """Raises Refusal as `place`, and takes none."""
        if self._each is not None and self._taken[owner] >= self._each:
            raise Refusal(
                TOO_MANY,
                f"This key has {self._each} {self._what} already; wait until one is done.",
                retry_after=1,
            )
        if self.taken >= self._count:
            raise Refusal(BUSY, f"The server has {self._count} {self._what}; try again soon.", 1)

    def leave(self, owner: str) -> None:
        """Gives a place back."""
        with self._lock:
            self._taken[owner] -= 1
            # Owners come and go.
            self._taken += Counter()


class Memory:
    """Bytes that decoded frames may take, shared by all."""

    def __init__(self, total: int):
        self._total = total
        self._free = total
        self._changed = threading.Condition()

    @property
    def taken(self) -> int:
        """Bytes that are not free."""
        return self._total - self._free

    def check(self, pixels: int, deep: bool = False) -> None:
        """Raises Refusal if frames of so many pixels, or deep ones, take more than there is at all."""
        if pixels * _bytes_per_pixel(deep) > self._total:
            most = self._total // _bytes_per_pixel(deep) / 1e6
            raise Refusal(
                TOO_LARGE,
                f"A frame has {pixels / 1e6:.1f} million pixels, and memory is there for {most:.1f}; scale it down.",
            )

    @contextmanager
    def room(self, pixels: int, waits: bool = False, deep: bool = False) -> Iterator[None]:
        """Memory for frames of so many pixels meanwhile.

        Args:
            pixels: of a frame.
            waits: until there is enough.
            deep: whether it has more than 8 bits.

        Raises:
            Refusal: others have it, or it is more than there is at all.
        """
        self.check(pixels, deep)
        wanted = pixels * _bytes_per_pixel(deep)
        with self._changed:
            while wanted > self._free:
                if not waits:
                    raise Refusal(BUSY, "The server's memory is taken; try again soon.", 1)
                self._changed.wait()
            self._free -= wanted
        try:
            yield
        finally:
            with self._changed:
                self._free += wanted
                self._changed.notify_all()


def _bytes_per_pixel(deep: bool) -> int:
    return DEEP_BYTES_PER_PIXEL if deep else BYTES_PER_PIXEL
