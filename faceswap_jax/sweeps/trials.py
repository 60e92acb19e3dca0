"""The trials of a sweep, run on this machine; no account is needed.

A trial is a process of its own, so that one that crashes ends no other.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from rich.console import Console

from faceswap_jax.errors import InputError
from faceswap_jax.sweeps import report
from faceswap_jax.sweeps.files import Search, Trial, draw, expand, ranking
from faceswap_jax.sweeps.journal import Journal, opened

POLL = 0.1  # seconds
# Exit codes: faceswap's own; of a command that cannot be started, or is not there.
WRONG_INPUT = (2, 126, 127)


def sweep(search: Search, count: int, output: Path, devices: Sequence[str | None]) -> bool:
    """Runs trials in `output` until there are `count`, or the grid is exhausted.

    Writes trials.jsonl, a folder and a log of each trial, and ranking.csv; prints the ranking. Trials that have an
    outcome stay as they are and others are continued, so that the same call goes on after an interruption or a kill.

    Args:
        search: what to draw from.
        count: of all trials.
        output: the sweep's folder, made or continued.
        devices: values of CUDA_VISIBLE_DEVICES, None for what it is; one trial at a time runs on each.

    Returns:
        Whether a trial has finished, or Ctrl-C or SIGTERM has stopped the sweep.

    Raises:
        InputError: the folder is another's, or the first trial says that its input is wrong.
    """
    with opened(output, search.config) as (journal, lock), gathered_signals() as signals:
        check_metric(search, journal.outcomes)
        trials = Trials(search, count, output, devices, journal, lock, signals)
        try:
            trials.run()
        finally:
            trials.end()
        outcomes = journal.outcomes
    if signals:
        trials.tell(
            f"Stopped; {len(outcomes)} of {count} trials are done. The same command continues."
        )
        return True
    ranked = ranking(search.config, outcomes)
    report.show(ranked, search.metric, output / "ranking.csv")
    return any(trial.state == "finished" for trial in ranked)


@dataclass(frozen=True)
class Process:
    """A trial at work, and the device that it has."""

    popen: subprocess.Popen
    device: str | None


class Trials:
    """The processes of a sweep's trials."""

    def __init__(
        self,
        search: Search,
        count: int,
        output: Path,
        devices: Sequence[str | None],
        journal: Journal,
        lock: int,
        signals: list[int],
    ):
        """Takes what `sweep` takes; the signals grow while trials run."""
        self._search, self._count, self._output = search, count, output
        self._journal, self._lock, self._signals = journal, lock, signals
        self._free = list(devices)
        self._running: dict[int, Process] = {}
        self._signals_told = 0
        self._console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)

    def run(self) -> None:
        """Starts trials as devices get free, until none is left to start or a signal has come.

        Raises:
            InputError: a command cannot be started, trains nothing, or has wrong input from the beginning.
        """
        while True:
            self._start_on_free_devices()
            if not self._running:
                return
            time.sleep(POLL)

            # Pass each signal on once.
            if self._signals_told < len(self._signals):
                self._signals_told = len(self._signals)
                self._terminate()

            # Collect what has ended.
            for number, process in list(self._running.items()):
                if process.popen.poll() is not None:
                    del self._running[number]
                    self._free.append(process.device)
                    self._settle(number, process.popen.returncode)

    def end(self) -> None:
        """Stops what still runs, and waits for it."""
        self._terminate()
        for process in self._running.values():
            process.popen.wait()

    def tell(self, text: str) -> None:
        """A line for people."""
        self._console.print(text)

    def _start_on_free_devices(self) -> None:
        while self._free and not self._signals:
            trial = self._next()
            if trial is None:
                return
            values = " ".join(f"{name}={value}" for name, value in trial.parameters.items())
            self.tell(f"trial {trial.number} of {self._count}: {values}")
            # The device is taken once the process runs.
            device = self._free[0]
            self._running[trial.number] = Process(self._start(trial, device), device)
            del self._free[0]

    def _next(self) -> Trial | None:
        """The first trial that has neither an outcome nor a process, drawn and stored if it is new."""
        trials = self._journal.trials
        for number in range(1, self._count + 1):
            if number not in trials:
                before = [trials[n] for n in sorted(trials)]
                parameters = draw(self._search.config, before, number)
                if parameters is None:
                    return None
                self._journal.add(Trial(number, parameters))
            if trials[number].state == "running" and number not in self._running:
                return trials[number]
        return None

    def _start(self, trial: Trial, device: str | None) -> subprocess.Popen:
        # The last --workdir counts.
        command = expand(self._search.config, trial.parameters)
        command.append(f"--workdir={self._output / trial.name}")
        # A terminal's Ctrl-C goes to all processes; trials are to have one signal, the sweep's, for a second one means
        # to stop at once.
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
        try:
            with self._log(trial.number).open("ab") as log:
                return subprocess.Popen(
                    command,
                    env=self._environment(trial, device),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=[self._lock],
                )
        except OSError as error:
            raise InputError(
                f"The command of a trial, '{command[0]}', cannot be started ({error.strerror})."
            ) from error
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])

    def _environment(self, trial: Trial, device: str | None) -> dict[str, str]:
        # Without an account, unless the user says otherwise.
        environment = {"WANDB_MODE": "disabled"} | os.environ
        # The `faceswap` of this environment, activated or not.
        own = str(Path(sys.executable).parent)
        environment["PATH"] = os.pathsep.join([own, os.environ.get("PATH", os.defpath)])
        environment["WANDB_RUN_ID"] = f"{self._output.name}_{trial.name}"
        if device is not None:
            environment["CUDA_VISIBLE_DEVICES"] = device
        return environment

    def _settle(self, number: int, code: int) -> None:
        """Stores what a process that has ended leaves of its trial, and tells of it."""
        trial = outcome(self._journal.trials[number], self._output, code)
        # Who stops a trial means the sweep.
        if trial.state == "running" and not self._signals:
            self._signals.append(signal.SIGTERM)
        # A signal fails a trial that has hardly begun; it is continued like one that was stopped.
        if trial.state == "running" or (self._signals and trial.state == "failed"):
            return
        # Wrong input would fail every trial.
        last_words = report.last_line(self._log(number))
        if trial.code in WRONG_INPUT and not self._journal.outcomes:
            raise InputError(f"The first trial of '{self._search.path}' failed: {last_words}")
        self._journal.add(trial)
        check_metric(self._search, [trial])

        text = last_words
        if trial.state == "finished":
            text = f"{self._search.metric} {trial.metrics[self._search.metric]:.5g}"
        state = report.state_of(trial)
        self.tell(f"trial {number} of {self._count}: {state} after {trial.step:,} steps: {text}")

    def _terminate(self) -> None:
        for process in self._running.values():
            process.popen.terminate()

    def _log(self, number: int) -> Path:
        return self._output / f"{Trial(number, {}).name}.log"


@contextmanager
def gathered_signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM, gathered in a list instead of obeyed."""
    caught = []

    def gather(number, _frame):
        caught.append(number)

    previous = {s: signal.signal(s, gather) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def outcome(trial: Trial, output: Path, code: int) -> Trial:
    """The trial after its process has exited; still "running" if that was before its end.

    Raises:
        InputError: the command has trained nothing.
    """
    workdir = output / trial.name
    progress = workdir / "progress.json"
    if code == 0 and not progress.exists():
        raise InputError(
            f"The command of the sweep file has trained nothing in '{workdir}'; correct it."
        )
    values = _last_values(workdir / "metrics.jsonl")
    state = "running"
    if code:
        state = "failed"
    elif json.loads(progress.read_text())["state"] == "finished":
        state = "finished"
    return replace(trial, state=state, code=code, step=values.pop("step", 0), metrics=values)


def check_metric(search: Search, trials: Sequence[Trial]) -> None:
    """Checks that trials can be ranked.

    Raises:
        InputError: one that has finished lacks the metric.
    """
    for trial in trials:
        if trial.state == "finished" and search.metric not in trial.metrics:
            names = ", ".join(sorted(trial.metrics))
            raise InputError(
                f"Trials of '{search.path}' report no '{search.metric}'; let metric.name be one of {names}."
            )


def _last_values(path: Path) -> dict[str, float]:
    """The last value of everything in a metrics.jsonl."""
    values = {}
    text = path.read_text() if path.exists() else ""
    for line in text.splitlines(keepends=True):
        if line.endswith("\n"):  # a kill may have cut the last one off
            values |= json.loads(line)
    values.pop("phase", None)
    return values
