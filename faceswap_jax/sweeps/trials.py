"""The trials of a sweep file, run and ranked on this machine; no account is needed.

A trial is a process of its own, so that one that crashes ends no other.
"""

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from faceswap_jax.errors import InputError
from faceswap_jax.sweeps.files import Trial, draw, expand, load, ranking

PATIENCE = 5  # seconds; a large process takes some to be gone
WRONG_INPUT = (
    2,
    126,
    127,
)  # exit codes: faceswap's own; of a command that cannot be started, or is not there


def sweep(
    path: Path, count: int, output: Path, devices: Sequence[str | None], parse: Callable
) -> bool:
    """Runs trials of the sweep file `path` in `output` until there are `count`, or its run_cap or grid is exhausted.

    Writes trials.jsonl, a folder and a log of each trial, and ranking.csv; prints the ranking. Trials that have an
    outcome stay as they are and others are continued, so that the same call goes on after an interruption or a kill.

    Args:
        path: in W&B's format.
        count: of all trials.
        output: the sweep's folder, made or continued.
        devices: values of CUDA_VISIBLE_DEVICES, None for what it is; one trial at a time runs on each.
        parse: reads the flags of `faceswap train`, or raises InputError or flags.Error.

    Returns:
        Whether a trial has finished, or Ctrl-C or SIGTERM has stopped the sweep.

    Raises:
        InputError: the file is wrong, the folder is another's, or the first trial says that its input is wrong.
    """
    config = load(path, parse)
    count = min(count, config.get("run_cap", count))
    metric = config["metric"]["name"]
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    free, running, told = list(devices), {}, 0
    with opened(output, config) as journal, _signals() as signals:
        _check_metric(path, metric, journal.outcomes)
        try:
            while True:
                while free and not signals and (trial := _next(config, journal, running, count)):
                    values = " ".join(f"{name}={value}" for name, value in trial.parameters.items())
                    console.print(f"trial {trial.number} of {count}: {values}")
                    running[trial.number] = (
                        _start(config, trial, output, free[0], journal),
                        free.pop(0),
                    )
                if not running:
                    break
                time.sleep(0.1)
                if told < len(signals):
                    told = len(signals)
                    _terminate(running)
                for number in [
                    n for n, (process, _) in running.items() if process.poll() is not None
                ]:
                    process, device = running.pop(number)
                    free.append(device)
                    trial, log = (
                        _ended(journal.trials[number], output, process.returncode),
                        _log(output, number),
                    )
                    if (
                        trial.state == "running"
                    ):  # who stops a trial, and not the sweep, means the sweep
                        signals += [] if signals else [signal.SIGTERM]
                    if trial.state == "running" or (signals and trial.state == "failed"):
                        continue  # a signal fails a trial that has hardly begun
                    if trial.code in WRONG_INPUT and not journal.outcomes:
                        raise InputError(f"The first trial of '{path}' failed: {_last_line(log)}")
                    journal.add(trial)
                    _check_metric(path, metric, [trial])
                    text = (
                        f"{metric} {trial.metrics[metric]:.5g}"
                        if trial.state == "finished"
                        else _last_line(log)
                    )
                    console.print(
                        f"trial {number} of {count}: {_state(trial)} after {trial.step:,} steps: {text}"
                    )
        finally:
            _terminate(running)
            for process, _ in running.values():
                process.wait()
        if signals:
            console.print(
                f"Stopped; {len(journal.outcomes)} of {count} trials are done. The same command continues."
            )
            return True
        ranked = ranking(config, journal.outcomes)
        _report(ranked, metric, output / "ranking.csv")
        return any(trial.state == "finished" for trial in ranked)


class Journal:
    """trials.jsonl of a sweep's folder: what is searched, then line by line what was drawn and what became of it.

    Attributes:
        trials: by number.
    """

    def __init__(self, file: TextIO, config: dict):
        """Reads an open file and makes it the journal of this sweep.

        Raises:
            InputError: it has outcomes of another search, or is no journal.
        """
        self._file = file
        file.seek(0)
        whole = file.read().rpartition("\n")[0]  # a kill may have cut the last line off
        try:
            old, *rows = [json.loads(line) for line in whole.splitlines()] or [None]
            self.trials = {row["number"]: Trial(**row) for row in rows}
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"'{file.name}' is damaged ({error}); choose a new --output."
            ) from error
        file.truncate(len(f"{whole}\n".encode()) if whole else 0)
        search = {name: config.get(name) for name in ("method", "parameters", "command")}
        if old != search:
            if self.outcomes:
                changed = ", ".join(name for name in search if old[name] != search[name])
                raise InputError(
                    f"'{file.name}' has trials of another search ({changed}); choose a new --output."
                )
            file.truncate(0)
            self.trials = {}
            self._write(search)

    def fileno(self) -> int:
        """The lock, for trials to inherit."""
        return self._file.fileno()

    @property
    def outcomes(self) -> list[Trial]:
        """The trials that have one, by number."""
        return [
            self.trials[number]
            for number in sorted(self.trials)
            if self.trials[number].state != "running"
        ]

    def add(self, trial: Trial) -> None:
        """Stores a trial, or what has become of it."""
        self.trials[trial.number] = trial
        self._write(vars(trial))

    def _write(self, row: dict) -> None:
        print(json.dumps(row), file=self._file, flush=True)


@contextmanager
def opened(output: Path, config: dict) -> Iterator[Journal]:
    """The journal in the folder `output`, which is made if need be.

    Locked as long as it is open here or in a trial, so that no two write to a folder.

    Raises:
        InputError: the folder is another's, in use, or cannot be written.
    """
    path = output / "trials.jsonl"
    if output.exists() and not path.exists() and (not output.is_dir() or any(output.iterdir())):
        raise InputError(
            f"'{output}' exists and is not the folder of a sweep; choose a new --output."
        )
    try:
        output.mkdir(parents=True, exist_ok=True)
        file = path.open("a+")
    except OSError as error:
        raise InputError(
            f"'{output}' cannot be written ({error.strerror}); choose another --output."
        ) from error
    with file:
        for last in [False] * (PATIENCE * 10) + [True]:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if last:
                    who = "another sweep is at work, or a trial that outlived its own"
                    raise InputError(f"In '{output}' {who}; wait for it, or end it.") from error
                time.sleep(0.1)
        yield Journal(file, config)


def _next(config: dict, journal: Journal, running: dict, count: int) -> Trial | None:
    """The first trial up to `count` that has neither an outcome nor a process, drawn and stored if it is new."""
    for number in range(1, count + 1):
        trial = journal.trials.get(number)
        if trial is None:
            parameters = draw(config, [journal.trials[n] for n in sorted(journal.trials)], number)
            if parameters is None:
                return None
            journal.add(trial := Trial(number, parameters))
        if trial.state == "running" and number not in running:
            return trial
    return None


def _start(
    config: dict, trial: Trial, output: Path, device: str | None, journal: Journal
) -> subprocess.Popen:
    paths = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    environment = {"WANDB_MODE": "disabled"} | os.environ | {"PATH": paths}
    environment["WANDB_RUN_ID"] = f"{output.name}_{trial.name}"
    if device is not None:
        environment["CUDA_VISIBLE_DEVICES"] = device
    command = [
        *expand(config, trial.parameters),
        f"--workdir={output / trial.name}",
    ]  # the last one counts
    # A terminal's Ctrl-C goes to all processes; trials are to have one signal, the sweep's, for a second one means
    # to stop at once.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        with _log(output, trial.number).open("ab") as log:
            return subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[journal.fileno()],
            )
    except OSError as error:
        raise InputError(
            f"The command of a trial, '{command[0]}', cannot be started ({error.strerror})."
        ) from error
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Ctrl-C and SIGTERM, gathered in a list instead of obeyed."""
    caught = []
    previous = {
        s: signal.signal(s, lambda *got: caught.append(got[0]))
        for s in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield caught
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


def _terminate(running: dict) -> None:
    for process, _ in running.values():
        process.terminate()


def _ended(trial: Trial, output: Path, code: int) -> Trial:
    """The trial after its process has exited; still "running" if that was before its end."""
    workdir = output / trial.name
    metrics, progress = workdir / "metrics.jsonl", workdir / "progress.json"
    if not (code or progress.exists()):
        raise InputError(
            f"The command of the sweep file has trained nothing in '{workdir}'; correct it."
        )
    values = {}
    for line in metrics.read_text().splitlines(keepends=True) if metrics.exists() else ():
        values |= (
            json.loads(line) if line.endswith("\n") else {}
        )  # a kill may have cut the last one off
    values.pop("phase", None)
    finished = not code and json.loads(progress.read_text())["state"] == "finished"
    state = "failed" if code else "finished" if finished else "running"
    return replace(trial, state=state, code=code, step=values.pop("step", 0), metrics=values)


def _check_metric(path: Path, metric: str, trials: Sequence[Trial]) -> None:
    for trial in trials:
        if trial.state == "finished" and metric not in trial.metrics:
            names = ", ".join(sorted(trial.metrics))
            raise InputError(
                f"Trials of '{path}' report no '{metric}'; let metric.name be one of {names}."
            )


def _report(ranked: Sequence[Trial], metric: str, path: Path) -> None:
    """Prints the table of trials, and writes it to `path` with all digits."""
    names = list(ranked[0].parameters) if ranked else []
    head = ["rank", "trial", metric, *names, "steps", "state"]
    rows = []
    for rank, trial in enumerate(ranked, 1):
        score = (
            [rank, trial.name, trial.metrics[metric]]
            if trial.state == "finished"
            else ["", trial.name, ""]
        )
        rows.append([*score, *trial.parameters.values(), trial.step, _state(trial)])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])
    table = Table(*head, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(
            *(f"{value:.5g}" if isinstance(value, float) else str(value) for value in row)
        )
    console = Console(markup=False)
    needed = console.measure(table, options=console.options.update(max_width=1_000)).maximum
    console.width = max(console.width, needed)  # a pipe and a narrow terminal get whole words too
    console.print(table)


def _state(trial: Trial) -> str:
    return trial.state if trial.state == "finished" else f"failed ({trial.code})"


def _log(output: Path, number: int) -> Path:
    return output / f"{Trial(number, {}).name}.log"


def _last_line(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1].removeprefix("faceswap: ") if lines else f"it said nothing in '{log}'."
