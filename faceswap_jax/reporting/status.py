"""What runs have come to, for people at a terminal; it disturbs nothing and starts no JAX."""

import socket
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.files import is_locked, read_rows
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.curves import curves_of, marks_of, plain, plot
from faceswap_jax.reporting.health import warnings_of
from faceswap_jax.reporting.progress import duration

CURVES = 4  # losses come first, then scores
SCORES = 3  # in the line of one run among several
CONFIG = "config.json"
TRIALS = "trials.jsonl"
ARTIFACT = "artifact.json"
AGAIN = "the command that started it continues"


def status(folders: Sequence[Path]) -> str:
    """One run in some detail; of several, or of a folder that has some, a line each.

    Raises:
        InputError: no folder holds a run.
    """
    lines = []
    if len(folders) > 1:
        lines = _lines(folders)
    elif _is_run(folders[0]):
        return _detailed(folders[0])
    elif _is_sweep(folders[0]):
        lines = _lines_of_sweep(folders[0])
    else:
        lines = _lines(sorted(folders[0].glob("*/")))
    if not lines:
        names = ", ".join(f"'{folder}'" for folder in folders)
        if any((folder / ARTIFACT).exists() for folder in folders):
            names += ", an artifact,"
        raise InputError(
            f"{names} holds no run; give a folder that was --workdir of 'faceswap train', or one with such folders."
        )
    return "\n".join(lines)


def _detailed(workdir: Path) -> str:
    """State, place and checkpoints of a run, and its curves."""
    config = configs.load(workdir / CONFIG)
    note = progress.read(workdir)
    rows = read_rows(workdir / "metrics.jsonl")
    lines = [
        f"{workdir}: {config.task}, {_state(workdir, note)}",
        _place(rows, note),
        _checkpoints(workdir / "checkpoints"),
        *(f"warning: {warning}" for warning in warnings_of(rows)),
    ]
    # Where levels begin
    marks = marks_of(rows)
    if len(marks) > 1:
        began = [f"{name} after step {step:,}" for name, step in marks.items() if step]
        lines.append(f"vertical lines: {'; '.join(began)}")
    # Curves
    curves = curves_of(rows)
    for name in list(curves)[:CURVES]:
        lines.append(plot(name, curves[name], list(marks.values())))
    return "\n".join(lines)


def _lines(folders: Sequence[Path]) -> list[str]:
    """A line of every folder that has a run or a sweep."""
    lines = []
    for folder in folders:
        if _is_run(folder):
            lines.append(_line_of_run(folder))
        elif _is_sweep(folder):
            lines.append(_line_of_sweep(folder))
    return lines


def _line_of_run(workdir: Path) -> str:
    try:
        config = configs.load(workdir / CONFIG)
    except InputError as error:
        return f"{workdir}: {error}"
    note = progress.read(workdir)
    rows = read_rows(workdir / "metrics.jsonl")
    parts = [f"{workdir}: {config.task}, {_state(workdir, note)}", _place(rows, note)]
    scores = [(name, points) for name, points in curves_of(rows).items() if "/" in name]
    for name, points in scores[:SCORES]:
        parts.append(f"{name} {plain(points[-1][1])}")
    return "; ".join(parts)


def _lines_of_sweep(folder: Path) -> list[str]:
    """A sweep's own line, and one of every trial with its parameters."""
    lines = [_line_of_sweep(folder)]
    for number, trial in _trials(folder).items():
        # A trial that failed at once has left no run.
        workdir = folder / f"trial_{number:03d}"
        line = f"{workdir}: {trial['state']}"
        if _is_run(workdir):
            line = _line_of_run(workdir)
        values = [f"{name}={value}" for name, value in trial["parameters"].items()]
        lines.append("; ".join([line, *values]))
    return lines


def _line_of_sweep(folder: Path) -> str:
    """How many trials of a sweep are in which state."""
    states = Counter(trial["state"] for trial in _trials(folder).values())
    texts = [f"{count} {state}" for state, count in sorted(states.items())]
    text = ", ".join(texts) or "no trial yet"
    return f"{folder}: sweep, {'running' if is_locked(folder) else 'not running'}; {text}"


def _trials(folder: Path) -> dict[int, dict]:
    """What is known of the trials of a sweep, by number."""
    return {row["number"]: row for row in read_rows(folder / TRIALS) if "number" in row}


def _is_run(folder: Path) -> bool:
    # An artifact has the config of its run, and trains no more.
    return (folder / CONFIG).exists() and not (folder / ARTIFACT).exists()


def _is_sweep(folder: Path) -> bool:
    return (folder / TRIALS).exists()


def _state(workdir: Path, note: dict) -> str:
    # A lock is seen on this machine only.
    if is_locked(workdir):
        return "running"
    state, host = note.get("state", "running"), note.get("host")
    if state == "running" and host not in (None, socket.gethostname()):
        silent = max(time.time() - note["time"], 0)
        return f"running on {host}, as it said {duration(silent)} ago"
    if state == "running":
        return f"not running, and it has not said why; {AGAIN}"
    if state == "interrupted":
        return f"interrupted; {AGAIN}"
    # More follows on the line.
    return f"{state}: {note['reason'].rstrip('.')}" if "reason" in note else state


def _place(rows: Sequence[dict], note: dict) -> str:
    """Step, phase, speed and the time left."""
    step = note.get("step", 0)
    last = note.get("of")
    # The note may be some seconds older than the last row.
    if rows:
        step = max(step, rows[-1]["step"])
    text = f"step {step:,}"
    if last:
        text += f" of {last:,} ({100 * step / last:.0f} %)"
    if "phase" in note:
        text += f", {note['phase']}"
    if "seconds_left" in note:
        # The note was written some time ago.
        left = max(note["seconds_left"] - (time.time() - note["time"]), 0)
        text += f", {plain(note['steps_per_second'], 3)} steps/s, {duration(left)} left"
    elif rows and "seconds" in rows[-1]:
        text += f", {duration(rows[-1]['seconds'])} at work"
    return text


def _checkpoints(folder: Path) -> str:
    steps = sorted(int(path.name) for path in folder.glob("*") if path.name.isdecimal())
    if not steps:
        return "no checkpoint yet"
    age = max(time.time() - (folder / str(steps[-1])).stat().st_mtime, 0)
    names = ", ".join(f"{step:,}" for step in steps)
    return f"checkpoints of steps {names}; the newest {duration(age)} old"
