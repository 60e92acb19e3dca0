"""Traces of steps, for XProf."""

import re
from dataclasses import dataclass
from pathlib import Path

import jax
from jaxtyping import PyTree

from faceswap_jax.errors import InputError


@dataclass
class Profile:
    """Which steps to trace, and where to.

    Attributes:
        folder: where XProf finds plugins/profile/; None for no trace.
        first: number of the first step to trace, counted from 1.
        last: number of the last step to trace.
    """

    folder: Path | None = None
    first: int = 1
    last: int = 0
    _running: bool = False

    @classmethod
    def parse(cls, text: str, folder: Path) -> "Profile":
        """The profile of steps "first:last".

        Raises:
            InputError: the text is no such thing.
        """
        match = re.fullmatch(r"(\d+):(\d+)", text)
        if not match or not 1 <= int(match[1]) <= int(match[2]):
            raise InputError(
                f"--profile={text} cannot be used; give the first and the last step, such as 10:14."
            )
        return cls(folder, int(match[1]), int(match[2]))

    def before(self, step: int, state: PyTree) -> None:
        """Begins the trace if this step is the first one, after the device has done all before it."""
        if self.folder and not self._running and self.first <= step <= self.last:
            jax.block_until_ready(state)
            jax.profiler.start_trace(self.folder)
            self._running = True

    def after(self, step: int, state: PyTree) -> None:
        """Ends the trace if this step was the last one, after the device has done it."""
        if self._running and step >= self.last:
            jax.block_until_ready(state)
            self.close()

    def close(self) -> None:
        """Ends the trace, if there is one."""
        if self._running:
            self._running = False
            jax.profiler.stop_trace()
