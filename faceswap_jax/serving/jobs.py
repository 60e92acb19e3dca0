"""Clips are jobs: they wait, are worked on, can be stopped, and their results are kept for a while."""

import logging
import secrets
import shutil
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from faceswap_jax.serving.limits import Places
from faceswap_jax.serving.orders import Stopped, Watch
from faceswap_jax.serving.refusal import NOT_READY, UNKNOWN, Refusal

logger = logging.getLogger(__name__)


class State(StrEnum):
    """What becomes of a job."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


ENDED = (State.DONE, State.FAILED, State.CANCELLED)


@dataclass
class Job:
    """A clip on its way.

    Attributes:
        owner: who may see it.
        folder: of its files.
        output: its result.
        watch: sees how far it is.
        id: cannot be guessed.
        state: what has become of it.
        problem: why it failed; "" otherwise.
        expires: when it is forgotten, on the clock of `Jobs`; None before it has ended.
        fetched: whether somebody has the result.
    """

    owner: str
    folder: Path
    output: Path
    watch: Watch
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))
    state: State = State.WAITING
    problem: str = ""
    expires: float | None = None
    fetched: bool = False


class Jobs:
    """The jobs of a server."""

    def __init__(
        self, places: Places, workers: int, keep: float, clock: Callable[[], float] = time.monotonic
    ):
        """None yet.

        Args:
            places: of jobs that are known, ended or not.
            workers: how many run at once.
            keep: seconds for which a job is known after its end.
            clock: seconds.
        """
        self._places = places
        self._keep = keep
        self._clock = clock
        self._jobs: dict[str, Job] = {}
        self._lock = threading.Lock()
        self._workers = ThreadPoolExecutor(workers, "clip")

    def start(self, job: Job, work: Callable[[Watch], None]) -> None:
        """Lets a job wait for its turn.

        Raises:
            Refusal: too many are known.
        """
        self.sweep()
        self._places.take(job.owner)
        with self._lock:
            self._jobs[job.id] = job
        self._workers.submit(self._run, job, work)

    def of(self, owner: str, id: str) -> Job:
        """The job of that name.

        Raises:
            Refusal: the owner has none.
        """
        self.sweep()
        job = self._jobs.get(id)
        if job is None or job.owner != owner:
            raise Refusal(UNKNOWN, "There is no such job, or its result was kept long enough.")
        return job

    def result(self, owner: str, id: str) -> Job:
        """A job that is done.

        Raises:
            Refusal: it is not, or the owner has none of that name.
        """
        job = self.of(owner, id)
        if job.state is not State.DONE:
            raise Refusal(NOT_READY, job.problem or f"This job is {job.state}; it has no result.")
        job.fetched = True
        return job

    def cancel(self, owner: str, id: str) -> None:
        """Stops a job, or forgets one that has ended; raises Refusal as `of`."""
        job = self.of(owner, id)
        with self._lock:
            ended = job.state in ENDED
            if job.state is State.WAITING:
                self._end(job, State.CANCELLED)
        if ended:
            self._forget(job)
        job.watch.stop()

    def expires_in(self, job: Job) -> float | None:
        """Seconds for which an ended job is still known."""
        return None if job.expires is None else max(job.expires - self._clock(), 0.0)

    def count(self, state: State) -> int:
        """How many jobs are in a state."""
        return sum(job.state is state for job in list(self._jobs.values()))

    @property
    def settled(self) -> bool:
        """Whether nothing runs or waits, and every result was fetched."""
        jobs = list(self._jobs.values())
        return all(
            job.state in ENDED and (job.fetched or job.state is not State.DONE) for job in jobs
        )

    def sweep(self) -> None:
        """Forgets jobs that were known long enough."""
        now = self._clock()
        for job in list(self._jobs.values()):
            if job.expires is not None and job.expires <= now:
                self._forget(job)

    def close(self) -> None:
        """Stops all, and waits until they have."""
        for job in list(self._jobs.values()):
            job.watch.stop()
        self._workers.shutdown(cancel_futures=True)
        for job in list(self._jobs.values()):
            self._forget(job)

    def _run(self, job: Job, work: Callable[[Watch], None]) -> None:
        """Works on a job whose turn has come."""
        with self._lock:
            if job.state is not State.WAITING:
                return
            job.state = State.RUNNING
        state, problem = State.DONE, ""
        try:
            work(job.watch)
        except Stopped:
            state = State.CANCELLED
        except Refusal as refusal:
            state, problem = State.FAILED, refusal.detail
        except Exception:
            logger.exception("A job failed.")
            state, problem = State.FAILED, "The server failed at this; its log tells why."
        with self._lock:
            self._end(job, state, problem)

    def _end(self, job: Job, state: State, problem: str = "") -> None:
        """Keeps nothing but the result. The lock is held."""
        for path in job.folder.iterdir():
            if path != job.output or state is not State.DONE:
                path.unlink(missing_ok=True)
        job.problem = problem
        job.expires = self._clock() + self._keep
        job.state = state

    def _forget(self, job: Job) -> None:
        """Removes all that there is of a job, once."""
        with self._lock:
            if self._jobs.pop(job.id, None) is None:
                return
        self._places.leave(job.owner)
        shutil.rmtree(job.folder, ignore_errors=True)
