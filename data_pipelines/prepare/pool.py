"""Many jobs on one machine: a pool of processes that survives what a decoder does to them, with progress."""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, wait
from functools import partial
from multiprocessing.sharedctypes import RawArray
from pathlib import Path

import cv2
import numpy as np
from pebble import ProcessExpired, ProcessPool
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_pipelines.prepare import jobs
from data_pipelines.prepare.jobs import Job, Report
from data_pipelines.prepare.settings import Settings

TRIES = 2
"""Times that a clip may end the process that reads it before it is left out."""


Tally = Sequence[int]
"""Shared by all processes; of each job: the number of the clip that is worked on, and the frames looked at."""


def run_all(
    todo: Sequence[Job], output: Path, settings: Settings, processes: int, console: Console
) -> Iterator[tuple[int, Report]]:
    """Does jobs and shows how far they are; yields the number and the report of each as it is done.

    Args:
        todo: the jobs.
        output: folder of the data set.
        settings: of the data set.
        processes: how many work at once; 1 works in this process. With more, a clip that makes a process crash is left
            out.
        console: shows the progress if it is a terminal.

    Raises:
        InputError: a shard cannot be written, or there is nothing to find faces with.
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

        def tell() -> None:
            frames = int(np.frombuffer(tally, np.int64)[1::2].sum())
            progress.update(
                task, frames=frames, rate=frames / max(progress.tasks[task].elapsed or 0, 1e-3)
            )

        do = _in_this_process if processes == 1 else partial(_in_processes, processes=processes)
        for number, report in do(todo, output, settings, tally, tell):
            progress.advance(task)
            yield number, report


def _in_this_process(
    todo: Sequence[Job], output: Path, settings: Settings, tally: Tally, tell: Callable[[], None]
) -> Iterator[tuple[int, Report]]:
    for number, job in enumerate(todo):

        def looked(clip: int, frames: int, number: int = number) -> None:
            _count(tally, number, clip, frames)
            tell()

        yield number, jobs.run(job, output, settings, hopeless={}, looked=looked)


def _in_processes(
    todo: Sequence[Job],
    output: Path,
    settings: Settings,
    tally: Tally,
    tell: Callable[[], None],
    processes: int,
) -> Iterator[tuple[int, Report]]:
    """Does jobs in a pool. A job whose process dies is begun again, at last without the clip that it died of."""
    waiting, running = deque(range(len(todo))), {}
    deaths, hopeless = Counter(), {number: {} for number in waiting}
    # Spawned: a fork would share the threads and locks of the libraries loaded here.
    pool = ProcessPool(
        processes,
        initializer=_share,
        initargs=(tally,),
        context=multiprocessing.get_context("spawn"),
    )
    try:
        while waiting or running:
            while waiting and len(running) < 2 * processes:
                number = waiting.popleft()
                job = todo[number], output, settings, number, hopeless[number]
                running[pool.schedule(_do, args=job)] = number
            for future in wait(running, timeout=0.5, return_when=FIRST_COMPLETED).done:
                number = running.pop(future)
                try:
                    yield number, future.result()
                except ProcessExpired as error:
                    clip = todo[number].clips[tally[2 * number]]
                    deaths[number, clip.name] += 1
                    if deaths[number, clip.name] == TRIES:
                        hopeless[number][clip.name] = (
                            f"{clip.path} ends the process that reads it (exit code {error.exitcode}); export it again."
                        )
                    waiting.appendleft(number)
            tell()
    finally:
        pool.stop()
        pool.join()


_tally: Tally  # in a worker process: shared with the process that began it


def _share(tally: Tally) -> None:
    global _tally
    _tally = tally
    begin_worker()


def begin_worker() -> None:
    """What a process of a pool does first."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to all; the parent decides
    cv2.setNumThreads(1)

    def end_with_parent() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    # Nothing must go on writing into a data set whose preparation was killed, and perhaps begun again.
    threading.Thread(target=end_with_parent, daemon=True).start()


def _do(
    job: Job, output: Path, settings: Settings, number: int, hopeless: dict[str, str]
) -> Report:
    return jobs.run(
        job, output, settings, hopeless=hopeless, looked=partial(_count, _tally, number)
    )


def _count(tally: Tally, number: int, clip: int, frames: int) -> None:
    tally[2 * number] = clip
    tally[2 * number + 1] += frames
