"""What a run reports: JSON lines, the terminal, W&B. Only process 0 reports."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import jax
import numpy as np
from jaxtyping import Float
from rich.progress import BarColumn, Progress, TextColumn

from faceswap_jax.errors import DivergedError, InputError
from faceswap_jax.faces import picture
from faceswap_jax.files import read_rows
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.board import Board
from faceswap_jax.reporting.health import warnings_of
from faceswap_jax.reporting.terminal import Terminal
from faceswap_jax.tasks.base import Metrics, Phase, Preview

METRICS = "metrics.jsonl"
TIMES = ("seconds", "steps_per_second")
"""Fields of the rows that differ from one run to the next: time at work since the run began, and speed."""
QUIET_SECONDS = 5
"""Between two lines when the output is no terminal, and between two notes of progress."""
WINDOW = 20
"""Logged rows over which the speed is measured."""


class Reporter:
    """Writes the metrics, previews and progress of a run, and shows them. A context manager.

    Values of a step are read when the next one has been dispatched, so that the device never waits for the host, and
    the host is never further ahead than that.
    """

    def __init__(
        self,
        workdir: Path,
        phases: Sequence[Phase],
        step: int,
        log_every: int,
        terminal: Terminal | None = None,
        board: Board | None = None,
    ):
        """Begins to report.

        Args:
            workdir: folder of the run.
            phases: of the run.
            step: number of steps done.
            log_every: steps between the rows of `metrics.jsonl`; those after `step` are dropped from it.
            terminal: where people follow the run.
            board: where else to show it.
        """
        self._workdir, self._phases, self._log_every = workdir, phases, log_every
        self._first_step = self._step = step
        self._terminal = terminal or Terminal()
        self._board = board
        self._pending: tuple | None = None
        self._main = jax.process_index() == 0

        # Time and speed
        self._began = time.monotonic()
        self._window: list[tuple[float, int]] = []
        self._window_phase: Phase | None = None
        self._line_time = 0.0
        self._estimated = False

        # What an interrupted start has reported
        if self._main:
            path = workdir / METRICS
            self._began -= _drop_after(path, step)
            self._file = path.open("a")

        # The bar counts relative time, in which steps of a large phase are longer.
        self._progress = _progress_bar(self._terminal)
        self._bar = self._progress.add_task(
            "", total=self._cost(0), completed=self._cost(0) - self._cost(step), values=""
        )

    def __enter__(self) -> "Reporter":
        self._progress.start()
        return self

    def __exit__(self, kind, error, _):
        try:
            if kind is None:
                self.flush()
        finally:
            self._progress.stop()
            if kind is not None:
                with contextlib.suppress(InputError):  # there may be no room for it
                    self._note("stopped", reason=str(error) or kind.__name__)
            if self._main:
                self._file.close()

    def begin(self) -> None:
        """Reports that the run is at work, unless nothing is left to do."""
        if self._step < self._phases[-1].stop:
            self._note("running")
        if self._step:
            self.message(f"Continuing '{self._workdir}' after step {self._step:,}.")

    def end(self, step: int, seconds: Mapping[str, float], corrupt: int) -> bool:
        """Reports the end of the run, or of a part of it.

        Args:
            step: number of steps done; all that was measured has been reported.
            seconds: that this part took, by what they were spent on.
            corrupt: records that were skipped.

        Returns:
            Whether it is the end of the run.
        """
        finished = step == self._phases[-1].stop
        state = "finished" if finished else "interrupted"
        if corrupt:
            self.message(f"{corrupt} corrupt records were skipped; `faceswap verify` tells more.")
        if step > self._first_step or progress.read(self._workdir).get("state") != state:
            self._note(state)
        if finished:
            self.message(f"Finished: '{self._workdir}' is at step {step:,}.")
        elif step > 0:
            self.message(f"Interrupted and saved at step {step:,}; the same command continues.")
        else:
            self.message("Interrupted before the first step; the same command begins again.")
        self._goodput(step, seconds)
        return finished

    def train(
        self, step: int, phase: Phase, values: Metrics, check: Callable[[], None] = lambda: None
    ) -> None:
        """Takes the values of `step`, on the device still, and reads those of the step before.

        Args:
            step: number of steps done.
            phase: of the step.
            values: what it measured.
            check: raises an exception if the step went wrong; called before the values are reported.
        """
        self.flush()
        self._pending = (step, phase, values, check)

    def flush(self) -> None:
        """Reads what is pending, and reports it if its step is a logged one; raises what its check raises."""
        if self._pending is None:
            return
        step, phase, values, check = self._pending
        self._pending = None
        check()
        self._step = step
        if step % self._log_every == 0 or step == phase.stop:
            read = _read(values)
            speed = self._speed(step, phase)
            self._write({"step": step, "phase": phase.name} | self._times(speed) | read)
            self._show(step, phase, read, speed)

    def evaluation(
        self,
        step: int,
        scores: Mapping[str, float],
        preview: Preview | None = None,
        images: Float[np.ndarray, "rows columns h w 3"] | None = None,
    ) -> dict[str, float]:
        """Reports scores of held-out data at once, with a picture and with what seems to go wrong; returns the scores.

        Args:
            step: number of steps done.
            scores: by name.
            preview: whose labels the picture has; None if there is none.
            images: of the preview.

        Raises:
            DivergedError: a score is not a number any more.
        """
        scores = _read(scores)
        for name, value in scores.items():
            if not math.isfinite(value):
                raise DivergedError(
                    f"The score {name} of held-out data is {value} at step {step:,}; look at the data, or lower "
                    "config.learning_rate."
                )
        row = {f"eval/{name}": value for name, value in scores.items()}
        text = "  ".join(f"{name} {value:.4g}" for name, value in row.items())
        self._write({"step": step} | self._times(None) | row)
        self.message(f"step {step:,}  {text}")
        if self._main:
            warnings = warnings_of(read_rows(self._workdir / METRICS))
            for warning in warnings:
                self.message(f"Warning: {warning}")
            if preview:
                self._draw(step, preview, images, [f"step {step:,}  {text}", *warnings])
        return scores

    def _draw(
        self,
        step: int,
        preview: Preview,
        images: Float[np.ndarray, "rows columns h w 3"],
        below: Sequence[str],
    ) -> None:
        """Saves the images of a preview with its labels, and lines below them."""
        path = self._workdir / "previews" / f"step_{step:07d}.png"
        picture.save_grid(path, images, preview.rows, preview.columns, below)
        if self._board:
            self._board.log({"step": step}, path)

    def message(self, text: str) -> None:
        """A line for people."""
        self._terminal.say(text)

    def _note(self, state: str, **more: object) -> None:
        """Notes what has become of the run, see `progress.note`."""
        if self._main:
            progress.note(self._workdir, state, self._step, self._phases[-1].stop, **more)

    def _goodput(self, step: int, seconds: Mapping[str, float]) -> None:
        """Reports what the time of the steps up to `step` was spent on, if there were any.

        A line of `goodput.jsonl` says after which step they began, the last one, and the seconds by part.
        """
        if step == self._first_step:
            return
        total = sum(seconds.values())
        parts = ", ".join(f"{part} {100 * value / total:.1f} %" for part, value in seconds.items())
        self.message(f"{progress.duration(total)} for {step - self._first_step:,} steps: {parts}.")
        if self._main:
            row = {"after": self._first_step, "step": step, "seconds": dict(seconds)}
            with (self._workdir / "goodput.jsonl").open("a") as file:
                print(json.dumps(row), file=file)

    def _write(self, row: dict) -> None:
        if self._main:
            print(json.dumps(row), file=self._file, flush=True)
        if self._board:
            self._board.log(row)

    def _times(self, speed: float | None) -> dict[str, float]:
        """The fields `TIMES` of a row, as far as they are known."""
        seconds = {"seconds": round(time.monotonic() - self._began, 3)}
        return seconds | ({"steps_per_second": float(f"{speed:.4g}")} if speed else {})

    def _speed(self, step: int, phase: Phase) -> float | None:
        """Steps per second over the last logged rows; None if this is the first row of a phase."""
        now = time.monotonic()
        # A new phase has another speed, and begins with a compilation.
        if phase is not self._window_phase:
            self._window_phase, self._window = phase, []
        self._window = [*self._window[-WINDOW:], (now, step)]
        first_time, first_step = self._window[0]
        if step == first_step or now == first_time:
            return None
        return (step - first_step) / (now - first_time)

    def _cost(self, step: int) -> float:
        """Relative time from `step` to the end of the run."""
        return sum(p.cost * (p.stop - max(step, p.start)) for p in self._phases if p.stop > step)

    def _show(
        self, step: int, phase: Phase, values: Mapping[str, float], speed: float | None
    ) -> None:
        last = self._phases[-1].stop
        text, known = f"step {step:,}/{last:,}", {}
        for name, value in values.items():
            if name.startswith("loss") and "/" not in name:
                text += f"  {name} {value:.4f}"
        # The time left, as far as it is known
        if speed:
            left = self._cost(step) / phase.cost / speed
            known = {"steps_per_second": speed, "seconds_left": left}
            text += f"  {speed:.2f} steps/s  {progress.duration(left)} left"
            if not self._estimated:
                self._estimated = True
                self.message(f"About {progress.duration(left)} to step {last:,} at this speed.")
        if self._terminal.console.is_terminal:
            done = self._cost(0) - self._cost(step)
            self._progress.update(self._bar, description=phase.name, completed=done, values=text)
        # Not more often than people and `faceswap status` look
        now = time.monotonic()
        if now - self._line_time > QUIET_SECONDS:
            self._line_time = now
            self._note("running", phase=phase.name, **known)
            if not self._terminal.console.is_terminal:
                self.message(f"{phase.name}  {text}")


def _progress_bar(terminal: Terminal) -> Progress:
    """A bar for people who watch; none in a file, and none of other processes."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[values]}"),
        console=terminal.console,
        disable=terminal.console.quiet or not terminal.console.is_terminal,
    )


def _read(values: Mapping[str, object]) -> dict[str, float]:
    """Numbers as people wrote them: 0.0007, which float32 makes 0.000699999975."""
    values = jax.device_get(values)
    return {name: float(str(np.float32(value))) for name, value in values.items()}


def _drop_after(path: Path, step: int) -> float:
    """Cuts off the rows of steps that a resumed run will do again, and a last row that is not complete.

    Returns:
        Seconds at which the last row that stays was written.
    """
    if not path.exists():
        return 0.0
    seconds, kept = 0.0, 0
    with path.open("rb+") as file:
        for line in file:
            if not line.endswith(b"\n"):
                break
            row = json.loads(line)
            if row["step"] > step:
                break
            seconds = row["seconds"]
            kept += len(line)
        file.truncate(kept)
    return seconds
