"""Stopping a run from outside, after a step."""

import os
import signal
import time
from collections.abc import Callable

import jax
from jax.experimental import multihost_utils

from faceswap_jax.reporting.goodput import Clock

ECHO_SECONDS = 1.0
"""A signal that follows so soon is the same one, sent to a group of processes and passed on by a launcher as well."""


class Interruption:
    """Turns Ctrl-C and SIGTERM into a request to stop after a step; a later one stops at once. A context manager.

    Of several processes any may be asked, and all stop after the same step: JAX, which has taken SIGTERM for this
    purpose, lets them agree on one. They heed no later SIGTERM.
    """

    def __init__(self, clock: Clock, say: Callable[[str], None]):
        """Says how a request is answered.

        Args:
            clock: tells what the run is doing when the request comes.
            say: writes a line for people.
        """
        self._clock, self._say = clock, say
        self._several = jax.process_count() > 1
        self._agreed = False
        self._requested_at: float | None = None

    def __enter__(self) -> "Interruption":
        caught = [signal.SIGINT] if self._several else [signal.SIGINT, signal.SIGTERM]
        self._previous = {number: signal.signal(number, self._request) for number in caught}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def stopping(self) -> bool:
        """Whether to begin nothing new. Several processes know it after a step, when they have agreed."""
        return self._agreed if self._several else self._requested_at is not None

    def after(self, step: int) -> bool:
        """Whether to stop after this step; to be called once after each."""
        if self._several:
            self._agreed = multihost_utils.reached_preemption_sync_point(step)
        return self.stopping

    def _request(self, _number, _frame):
        now = time.monotonic()
        if self._requested_at is None:
            self._requested_at = now
            work = "this compilation and one step" if self._clock.part == "compile" else "this step"
            self._say(f"Stopping after {work}; nothing is lost. Interrupt again to stop at once.")
            if self._several:
                os.kill(os.getpid(), signal.SIGTERM)
        elif now - self._requested_at >= ECHO_SECONDS:
            raise KeyboardInterrupt
