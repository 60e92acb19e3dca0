"""Many requests, one model: their faces go through it together, in batches of a few fixed sizes."""

import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from faceswap_jax.inference.generator import Edit, Faces, Generator, Identity, Images, Who
from faceswap_jax.serving.refusal import BUSY, Refusal

SIZES = (1, 2, 4, 8)
"""Of batches: each is compiled once. The largest is that of `inference.batching`."""

LINGER = 0.004
"""Seconds that a batch waits for more faces, where the last one was shared."""

KNOWN = 64
"""Identities that are remembered."""


@dataclass
class Asked:
    """Some faces that wait for their images.

    Attributes:
        identity: who is shown.
        faces: without repetitions at the end.
        count: how many there are.
        deadline: on the clock of `time.monotonic`; None for no end.
        images: what comes of it.
    """

    identity: Identity
    faces: Faces
    count: int
    deadline: float | None
    images: Future[Images] = field(default_factory=Future)


class Pool:
    """One thread that runs a generator for all."""

    def __init__(
        self,
        generator: Generator,
        together: int = SIZES[-1],
        told: Callable[[int], None] = lambda count: None,
    ):
        """Starts.

        Args:
            generator: for all requests.
            together: most faces of several requests in a batch; 1 if each request goes alone.
            told: hears of each batch how many faces it has.
        """
        self.generator = generator
        self._together = together
        self._told = told
        self._waiting: queue.SimpleQueue[Asked | None] = queue.SimpleQueue()
        self._identities: OrderedDict[tuple, Identity] = OrderedDict()
        self._lock = threading.Lock()
        self._linger = 0.0
        self._thread = threading.Thread(target=self._run, name="model", daemon=True)
        self._thread.start()

    def warm_up(self) -> None:
        """Compiles all sizes."""
        generator = self.generator
        side = generator.resolution
        who = Who({generator.personas[0]: 1.0}) if generator.personas else None
        who = who or Who(pictures=[np.zeros((side, side, 3), np.uint8)])
        identity = generator.identity(who)
        for size in SIZES:
            generator(identity, _no_faces(generator, size))

    def for_order(self, deadline: float | None) -> "PooledGenerator":
        """The generator as one order sees it."""
        return PooledGenerator(self, deadline)

    def identity(self, who: Who) -> Identity:
        """Of known personas always the same object, so that requests are seen to want the same."""
        if who.pictures:
            return self.generator.identity(who)
        key = tuple(sorted(who.personas.items()))
        with self._lock:
            if key not in self._identities:
                self._identities[key] = self.generator.identity(who)
            self._identities.move_to_end(key)
            while len(self._identities) > KNOWN:
                self._identities.popitem(last=False)
            return self._identities[key]

    def ask(self, identity: Identity, faces: Faces, deadline: float | None) -> Images:
        """Images of faces, when their turn has come.

        Raises:
            Refusal: it has not come by the deadline.
        """
        arrays = _arrays(faces)
        length = len(next(iter(arrays.values())))
        count = _unfilled(arrays, length)
        asked = Asked(identity, _rows(arrays, range(count)), count, deadline)
        self._waiting.put(asked)
        images = asked.images.result()
        return images[np.minimum(np.arange(length), count - 1)]

    def close(self) -> None:
        """Ends the thread when all that waits is done."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        kept: list[Asked] = []  # of other identities than the last batch
        open_ = True
        while open_ or kept:
            open_ = self._gather(kept) and open_
            kept = self._answer(kept)

    def _gather(self, kept: list[Asked]) -> bool:
        """Adds what waits, until there is enough for a batch or it has lingered; whether more may come."""
        end = None if not kept else time.monotonic() + self._linger
        while sum(asked.count for asked in kept) < self._together:
            try:
                left = None if end is None else max(end - time.monotonic(), 0)
                asked = self._waiting.get(timeout=left)
            except queue.Empty:
                return True
            if asked is None:
                return False
            end = end or time.monotonic() + self._linger
            kept.append(asked)
        return True

    def _answer(self, kept: list[Asked]) -> list[Asked]:
        """Makes a batch for the one that waits longest and those with the same identity; returns the others."""
        now = time.monotonic()
        chosen: list[Asked] = []
        others: list[Asked] = []
        for asked in kept:
            if asked.deadline is not None and asked.deadline < now:
                late = Refusal(BUSY, "The server has no time for this now; try again later.", 5)
                asked.images.set_exception(late)
            elif not chosen or self._fits(chosen, asked):
                chosen.append(asked)
            else:
                others.append(asked)
        if chosen:
            # Whoever asks alone waits for nobody.
            self._linger = LINGER if len(chosen) > 1 else 0.0
            self._generate(chosen)
        return others

    def _fits(self, chosen: Sequence[Asked], asked: Asked) -> bool:
        """Whether faces go into a batch with others."""
        count = sum(other.count for other in chosen) + asked.count
        return asked.identity is chosen[0].identity and count <= self._together

    def _generate(self, chosen: Sequence[Asked]) -> None:
        """Makes the images of a batch, and hands them out."""
        count = sum(asked.count for asked in chosen)
        size = next((size for size in SIZES if size >= count), count)
        every = [_arrays(asked.faces) for asked in chosen]
        together = {name: np.concatenate([arrays[name] for arrays in every]) for name in every[0]}
        faces = _rows(together, np.minimum(np.arange(size), count - 1))
        try:
            images = self.generator(chosen[0].identity, faces)
        except Exception as error:
            if len(chosen) == 1:
                chosen[0].images.set_exception(error)
                return
            # One's faces must not spoil those of others.
            for asked in chosen:
                self._generate([asked])
            return
        self._told(count)
        start = 0
        for asked in chosen:
            asked.images.set_result(images[start : start + asked.count])
            start += asked.count


class PooledGenerator:
    """A `Generator` whose images come from a pool."""

    def __init__(self, pool: Pool, deadline: float | None):
        self._pool = pool
        self._deadline = deadline

    def __getattr__(self, name: str) -> Any:
        """What the generator says of itself."""
        return getattr(self._pool.generator, name)

    def identity(self, who: Who) -> Identity:
        """See `Generator.identity`."""
        return self._pool.identity(who)

    def __call__(self, identity: Identity, faces: Faces, edit: Edit | None = None) -> Images:
        """See `Generator.__call__`; edits are made alone."""
        if edit is not None:
            return self._pool.generator(identity, faces, edit)
        return self._pool.ask(identity, faces, self._deadline)


def _arrays(faces: Faces) -> dict[str, np.ndarray]:
    """What is filled of faces."""
    return {name: array for name, array in vars(faces).items() if array is not None}


def _rows(arrays: dict[str, np.ndarray], rows: Sequence[int] | np.ndarray) -> Faces:
    """Some of the faces."""
    return Faces(**{name: array[np.asarray(rows)] for name, array in arrays.items()})


def _unfilled(arrays: dict[str, np.ndarray], length: int) -> int:
    """How many faces there are but for repetitions of the last one, with which a batch was filled up."""
    count = length
    while count > 1 and all(np.array_equal(a[count - 2], a[-1]) for a in arrays.values()):
        count -= 1
    return count


def _no_faces(generator: Generator, size: int) -> Faces:
    """Faces of the shapes that a generator reads."""
    side = generator.resolution
    shapes = {
        "crops": np.zeros((size, side, side, 3), np.uint8),
        "landmarks": np.zeros((size, 68, 2), np.float32),
        "pose": np.zeros((size, 3), np.float32),
        "sound": np.zeros((size, generator.sound_window), np.float32),
    }
    return Faces(**{name: shapes[name] for name in generator.inputs})
