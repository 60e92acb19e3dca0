"""Runs many jobs on one machine and shows progress; a clip that crashes its decoder stops no other."""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, CancelledError, Future, ThreadPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from pebble import ProcessExpired, ProcessPool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_pipelines.prepare import jobs
from data_pipelines.prepare.jobs import Job, Report
from data_pipelines.prepare.settings import Settings
from faceswap_jax.errors import JobError

TRIES = 2
"""How often a clip may end the process that reads it before it is left out."""

Tally = Sequence[int]
"""Shared by all processes. Two numbers of each job: the clip that is worked on, the frames looked at."""


def run_all(
    todo: Sequence[Job], output: Path, settings: Settings, processes: int, console: Console
) -> Iterator[tuple[int, Report]]:
    """Runs jobs and shows how far they are; yields the number and the report of each that is done.

    Args:
        todo: the jobs.
        output: folder of the data set.
        settings: of the data set.
        processes: how many work at once, on several jobs or on the parts of long clips; 1 works in this process. With
            more, a clip that makes a process crash is left out.
        console: shows the progress if it is a terminal.

    Raises:
        InputError: a shard cannot be written, or there is nothing to find faces with.
        JobError: a process has ended before it had anything to do.
    """
    if not todo:
        return
    tally = RawArray("q", 2 * len(todo))
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[frames]:,} frames, {task.fields[rate]:.0f}/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("shards", total=len(todo), frames=0, rate=0.0)

        def show() -> None:
            frames = int(np.frombuffer(tally, np.int64)[1::2].sum())
            seconds = max(progress.tasks[task].elapsed or 0, 1e-3)
            progress.update(task, frames=frames, rate=frames / seconds)

        if processes == 1:
            reports = _in_this_process(todo, output, settings, tally, show)
        else:
            reports = _in_processes(todo, output, settings, tally, show, processes)
        for number, report in reports:
            progress.advance(task)
            yield number, report


def _in_this_process(
    todo: Sequence[Job], output: Path, settings: Settings, tally: Tally, show: Callable[[], None]
) -> Iterator[tuple[int, Report]]:
    """Runs the jobs one after the other."""
    for number, job in enumerate(todo):

        def looked(clip: int, frames: int, number: int = number) -> None:
            _count(tally, number, clip, frames)
            show()

        yield number, jobs.run(job, output, settings, hopeless={}, looked=looked)


def _in_processes(
    todo: Sequence[Job],
    output: Path,
    settings: Settings,
    tally: Tally,
    show: Callable[[], None],
    processes: int,
) -> Iterator[tuple[int, Report]]:
    """Runs the jobs in a pool.

    A job whose process dies is begun again. If the same clip kills it TRIES times, the clip is left
    out of the next try.
    """
    waiting = deque(range(len(todo)))
    running: dict[Future[Report], int] = {}
    hopeless = _Hopeless(todo, tally)

    # Spawned: a fork would share the threads and locks of the libraries loaded here.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPool(processes, initializer=_begin, initargs=(tally,), context=context)
    # A job whose parts are done by several processes has a thread, which waits for them.
    threads = ThreadPoolExecutor(processes)
    parts = _Parts(pool, processes)
    try:
        while waiting or running:
            # One job waits in the pool for each that runs, so that no process is idle.
            while waiting and len(running) < 2 * processes:
                few = len(waiting) + len(running) < processes
                number = waiting.popleft()
                job = todo[number]
                arguments = (job, output, settings, number, hopeless.of(number))
                if few and jobs.may_be_long(job):
                    future = threads.submit(_run_in_parts, *arguments, tally, parts)
                else:
                    future = pool.schedule(_run, args=arguments)
                running[future] = number

            for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                try:
                    yield number, future.result()
                except ProcessExpired as error:
                    hopeless.count(number, error.exitcode)
                    waiting.appendleft(number)
                except BrokenProcessPool as error:
                    raise JobError(
                        "A process that was to prepare clips has ended before it began, for example because it was "
                        "killed; the same command goes on with what is left."
                    ) from error
            show()
    finally:
        parts.stop()
        threads.shutdown(cancel_futures=True)
        pool.stop()
        pool.join()


def _run_in_parts(
    job: Job,
    output: Path,
    settings: Settings,
    number: int,
    hopeless: dict[str, str],
    tally: Tally,
    parts: "_Parts",
) -> Report:
    """Runs a job in this process, and what takes long in those of the pool."""
    looked = _Looked(number, tally)
    return jobs.run(job, output, settings, hopeless=hopeless, looked=looked, each=parts)


class _Parts:
    """Processes that do something with several items at once, see `tracks.Each`.

    Raises:
        ProcessExpired: one of them has ended.
        CancelledError: they were stopped.
    """

    def __init__(self, pool: ProcessPool, processes: int) -> None:
        self._pool = pool
        self._processes = processes
        self._lock = threading.Lock()
        self._stopped = False
        self._unfinished: set[Future[list]] = set()

    def __call__(
        self, function: Callable[[Any], Iterable[Any]], items: Iterable[Any]
    ) -> Iterator[Any]:
        """What the function yields for each item, in order."""
        waiting: deque[Future[list]] = deque()
        try:
            for item in items:
                waiting.append(self._schedule(function, item))
                # One waits in the pool, so that no process is idle.
                if len(waiting) > self._processes:
                    yield from waiting.popleft().result()
            while waiting:
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()

    def stop(self) -> None:
        """Wakes all that wait; nothing new is begun."""
        with self._lock:
            self._stopped = True
            unfinished = list(self._unfinished)
        for future in unfinished:
            future.cancel()

    def _schedule(self, function: Callable[[Any], Iterable[Any]], item: Any) -> Future[list]:
        with self._lock:
            if self._stopped:
                raise CancelledError
            future = self._pool.schedule(_all_of, args=(function, item))
            self._unfinished.add(future)
        future.add_done_callback(self._unfinished.discard)
        return future


class _Hopeless:
    """Counts which clips end the processes that read them."""

    def __init__(self, todo: Sequence[Job], tally: Tally) -> None:
        self._todo = todo
        self._tally = tally
        self._deaths: Counter[tuple[int, str]] = Counter()
        self._reasons: dict[int, dict[str, str]] = {}

    def count(self, number: int, exit_code: int) -> None:
        """Notes that the process of a job has died, of the clip that it was reading."""
        clip = self._todo[number].clips[self._tally[2 * number]]
        self._deaths[number, clip.name] += 1
        if self._deaths[number, clip.name] == TRIES:
            self._reasons.setdefault(number, {})[clip.name] = (
                f"{clip.path} ends the process that reads it (exit code {exit_code}); "
                "export it again."
            )

    def of(self, number: int) -> dict[str, str]:
        """Returns the clips that a job must leave out, and why."""
        return dict(self._reasons.get(number, {}))


class _Looked:
    """Counts frames of a job: told in the process of the job or, for parts of a clip, in others of the pool."""

    def __init__(self, number: int, tally: Tally | None = None) -> None:
        self._number = number
        self._here = tally

    def __getstate__(self) -> int:
        return self._number

    def __setstate__(self, number: int) -> None:
        self.__init__(number)

    def __call__(self, clip: int, frames: int) -> None:
        """Notes which clip of the job is worked on, and how many more frames were looked at."""
        _count(_tally if self._here is None else self._here, self._number, clip, frames)


# In a process of the pool.

_tally: Tally  # shared with the process that began this one


def _begin(tally: Tally) -> None:
    global _tally
    _tally = tally
    begin_worker()


def _all_of(function: Callable[[Any], Iterable[Any]], item: Any) -> list:
    return list(function(item))


def begin_worker() -> None:
    """Prepares a process of a pool: Ctrl-C is left to the parent, and the process ends with it."""
    # Ctrl-C goes to all processes; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)

    # Nothing may go on writing into a data set whose preparation was killed, and perhaps begun again.
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


def _run(
    job: Job, output: Path, settings: Settings, number: int, hopeless: dict[str, str]
) -> Report:
    return jobs.run(job, output, settings, hopeless=hopeless, looked=_Looked(number))


def _count(tally: Tally, number: int, clip: int, frames: int) -> None:
    """Notes which clip of a job is worked on, and how many more frames were looked at."""
    tally[2 * number] = clip
    tally[2 * number + 1] += frames
