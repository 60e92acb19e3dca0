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

    Any of several processes may be asked, and all stop after the same step: JAX takes SIGTERM for this purpose and lets
    them agree on one. They do not hear a later SIGTERM.
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
        # JAX catches SIGTERM of several processes.
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
        """Tells whether to stop after this step. Call it once after each."""
        if self._several:
            self._agreed = multihost_utils.reached_preemption_sync_point(step)
        return self.stopping

    def _request(self, _number, _frame):
        now = time.monotonic()
        if self._requested_at is None:
            self._requested_at = now
            work = "this compilation and one step" if self._clock.part == "compile" else "this step"
            self._say(f"Stopping after {work}; nothing is lost. Interrupt again to stop at once.")
            # One of several processes asks the others by the signal that JAX has caught.
            if self._several:
                os.kill(os.getpid(), signal.SIGTERM)
        elif now - self._requested_at >= ECHO_SECONDS:
            raise KeyboardInterrupt
