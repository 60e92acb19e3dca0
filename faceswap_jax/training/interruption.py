"""Stopping a run from outside, after a step."""

import os
import signal
import time

import jax
from jax.experimental import multihost_utils

ECHO_SECONDS = 1.0
"""A signal that follows so soon is the same one, sent to a group of processes and passed on by a launcher as well."""


class Interruption:
    """Turns Ctrl-C and SIGTERM into a request to stop after a step; a later one stops at once. A context manager.

    Of several processes any may be asked, and all stop after the same step: JAX, which has taken SIGTERM for this
    purpose, lets them agree on one. They heed no later SIGTERM.
    """

    def __enter__(self) -> "Interruption":
        self._requested_at, self._several = None, jax.process_count() > 1
        caught = [signal.SIGINT] if self._several else [signal.SIGINT, signal.SIGTERM]
        self._previous = {number: signal.signal(number, self._request) for number in caught}
        return self

    def __exit__(self, *_):
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    @property
    def requested(self) -> bool:
        """Whether this process, being the only one, has been asked to stop."""
        return self._requested_at is not None and not self._several

    def after(self, step: int) -> bool:
        """Whether to stop after this step; to be called once after each."""
        return (
            multihost_utils.reached_preemption_sync_point(step) if self._several else self.requested
        )

    def _request(self, _number, _frame):
        now = time.monotonic()
        if self._requested_at is None:
            self._requested_at = now
            if self._several:
                os.kill(os.getpid(), signal.SIGTERM)
        elif now - self._requested_at >= ECHO_SECONDS:
            raise KeyboardInterrupt
