"""What a run reports: JSON lines, the terminal, W&B. Only process 0 reports."""

import contextlib
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from faceswap_jax.errors import DivergedError, InputError
from faceswap_jax.reporting import progress
from faceswap_jax.reporting.board import Board
from faceswap_jax.tasks.base import Metrics, Phase

QUIET_SECONDS = (
    5  # between two lines when the output is no terminal, and between two notes of progress
)


class Reporter:
    """Writes `metrics.jsonl`, `goodput.jsonl` and `progress.json` of a run's folder, and shows them. A context manager.

    Values of a step are read when the next one has been dispatched, so that the device never waits for the host, and
    the host is never further ahead than that.
    """

    def __init__(
        self,
        workdir: Path,
        phases: list[Phase],
        step: int,
        log_every: int,
        board: Board | None = None,
    ):
        """Begins to report.

        Args:
            workdir: folder of the run.
            phases: of the run.
            step: number of steps done.
            log_every: steps between the rows of `metrics.jsonl`; those after `step` are dropped from it.
            board: where else to show them.
        """
        self._path, self._phases, self._log_every = workdir / "metrics.jsonl", phases, log_every
        self._board, self._first_step, self._step, self._phase = board, step, step, None
        self._pending = None
        self._window: list[tuple[float, int]] = []
        self._line_time = 0.0
        self._main = jax.process_index() == 0
        if self._main:
            _drop_after(self._path, step)
            self._file = self._path.open("a")
        self._console = Console(stderr=True)
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[values]}"),
            console=self._console,
            disable=not (self._main and self._console.is_terminal),
        )
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
                    self.state("stopped", reason=str(error) or kind.__name__)
            if self._main:
                self._file.close()

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
        (step, phase, values, check), self._pending = self._pending, None
        check()
        self._step = step
        if step % self._log_every == 0 or step == phase.stop:
            values = _read(values)
            self._write({"step": step, "phase": phase.name} | values)
            self._show(step, phase, values)

    def evaluation(
        self, step: int, scores: dict[str, float], preview: Path | None = None
    ) -> dict[str, float]:
        """Reports scores of held-out data, and their picture, at once; returns the scores.

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
        self._write(
            {"step": step} | {f"eval/{name}": value for name, value in scores.items()}, preview
        )
        self.message(
            f"step {step:,}  "
            + "  ".join(f"eval/{name} {value:.4g}" for name, value in scores.items())
        )
        return scores

    def state(self, state: str, **more: object) -> None:
        """Notes what has become of the run, see `progress.note`."""
        if self._main:
            progress.note(self._path.parent, state, self._step, self._phases[-1].stop, **more)

    def goodput(self, step: int, seconds: dict[str, float]) -> None:
        """Reports what the time of the steps up to `step` was spent on, if there were any.

        A line of `goodput.jsonl` says after which step they began, the last one, and the seconds by part. It is no line
        of `metrics.jsonl`, whose rows of training are the same however often a run was interrupted.
        """
        if step == self._first_step:
            return
        total = sum(seconds.values())
        shares = ", ".join(f"{part} {100 * value / total:.1f} %" for part, value in seconds.items())
        self.message(f"{progress.duration(total)} for {step - self._first_step:,} steps: {shares}.")
        if self._main:
            with self._path.with_name("goodput.jsonl").open("a") as file:
                print(
                    json.dumps({"after": self._first_step, "step": step, "seconds": seconds}),
                    file=file,
                )

    def message(self, text: str) -> None:
        """A line for people."""
        if self._main:
            self._console.print(text, highlight=False, soft_wrap=True)

    def _write(self, row: dict, picture: Path | None = None) -> None:
        if self._main:
            print(json.dumps(row), file=self._file, flush=True)
        if self._board:
            self._board.log(row, picture)

    def _cost(self, step: int) -> float:
        """Relative time from `step` to the end of the run."""
        return sum(p.cost * (p.stop - max(step, p.start)) for p in self._phases if p.stop > step)

    def _show(self, step: int, phase: Phase, values: dict[str, float]) -> None:
        now = time.monotonic()
        if phase is not self._phase:  # a new phase has another speed
            self._phase, self._window = phase, []
        self._window = [*self._window[-20:], (now, step)]
        first_time, first_step = self._window[0]
        text, speed = f"step {step:,}/{self._phases[-1].stop:,}", {}
        text += "".join(
            f"  {n} {v:.4f}" for n, v in values.items() if n.startswith("loss") and "/" not in n
        )
        if step > first_step:
            seconds = (now - first_time) / (step - first_step)
            speed = {
                "steps_per_second": 1 / seconds,
                "seconds_left": seconds / phase.cost * self._cost(step),
            }
            text += f"  {1 / seconds:.2f} steps/s  {progress.duration(speed['seconds_left'])} left"
        if self._console.is_terminal:
            done = self._cost(0) - self._cost(step)
            self._progress.update(self._bar, description=phase.name, completed=done, values=text)
        if now - self._line_time > QUIET_SECONDS:
            self._line_time = now
            self.state("running", phase=phase.name, **speed)
            if not self._console.is_terminal:
                self.message(f"{phase.name}  {text}")


def _read(values: Metrics | dict[str, float]) -> dict[str, float]:
    """Numbers as people wrote them: 0.0007, of which float32 makes 0.000699999975."""
    values = jax.device_get(values)
    return {name: float(str(np.float32(value))) for name, value in values.items()}


def _drop_after(path: Path, step: int) -> None:
    """Cuts off the rows of steps that a resumed run will do again, and a last row that is not complete."""
    if path.exists():
        with path.open("rb+") as file:
            kept = 0
            for line in file:
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                kept += len(line)
            file.truncate(kept)
