"""Where the wall time of a run goes."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

PARTS = ("start", "compile", "data", "step", "evaluation", "checkpoint")


class Clock:
    """Splits the time since it was made among `PARTS`; at every moment it runs for exactly one of them.

    It starts with "start". `with clock("data"):` runs for "data" until the block ends or a block within it names
    another part. Times are the host's: the device works on while the host waits for data, so "data" is an upper bound
    of the time in which the device was idle.

    Attributes:
        part: for which it runs now.
    """

    def __init__(self):
        self._seconds = dict.fromkeys(PARTS, 0.0)
        self.part = "start"
        self._since = time.monotonic()

    @contextmanager
    def __call__(self, part: str) -> Iterator[None]:
        """Runs for `part` in a `with` block."""
        outer = self.part
        self._switch(part)
        try:
            yield
        finally:
            self._switch(outer)

    def seconds(self) -> dict[str, float]:
        """Time of each part until now; together, all time since the clock was made."""
        self._switch(self.part)
        return dict(self._seconds)

    def _switch(self, part: str) -> None:
        now = time.monotonic()
        self._seconds[self.part] += now - self._since
        self.part = part
        self._since = now
