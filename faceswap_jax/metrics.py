"""What a run reports: JSON lines, and the terminal. Only process 0 reports."""

import json
import math
import time
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from faceswap_jax.tasks.base import Metrics, Phase

QUIET_SECONDS = 5  # between two lines when the output is no terminal


class Reporter:
    """Writes `metrics.jsonl` and `goodput.jsonl` of a run's folder, and shows progress. A context manager.

    Values of a step are read when the next one has been dispatched, so that the device never waits for the host, and
    the host is never further ahead than that.
    """

    def __init__(self, workdir: Path, phases: list[Phase], step: int, log_every: int):
        self._path, self._phases, self._log_every = workdir / "metrics.jsonl", phases, log_every
        self._first_step, self._phase = step, None
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

    def __exit__(self, *_):
        try:
            self.flush()
        finally:
            self._progress.stop()
            if self._main:
                self._file.close()

    def train(self, step: int, phase: Phase, values: Metrics) -> None:
        """Takes the values of `step`, on the device still, and reads those of the step before."""
        self.flush()
        self._pending = (step, phase, values)

    def flush(self) -> None:
        """Reads what is pending, and reports it if its step is a logged one.

        Raises:
            FloatingPointError: the loss is not a number any more.
        """
        if self._pending is None:
            return
        (step, phase, values), self._pending = self._pending, None
        values = _read(values, step)
        if step % self._log_every == 0 or step == phase.stop:
            self._write({"step": step, "phase": phase.name} | values)
            self._show(step, phase, values)

    def evaluation(self, step: int, values: Metrics) -> None:
        """Reports scores of held-out data at once.

        Raises:
            FloatingPointError: a score is not a number any more.
        """
        values = _read({f"eval/{name}": value for name, value in values.items()}, step)
        self._write({"step": step} | values)
        self.message(f"step {step:,}  " + "  ".join(f"{name} {value:.4g}" for name, value in values.items()))

    def goodput(self, step: int, seconds: dict[str, float]) -> None:
        """Reports what the time of the steps up to `step` was spent on, if there were any.

        A line of `goodput.jsonl` says after which step they began, the last one, and the seconds by part. It is no line
        of `metrics.jsonl`, which is the same however often a run was interrupted.
        """
        if step == self._first_step:
            return
        total = sum(seconds.values())
        shares = ", ".join(f"{part} {100 * value / total:.1f} %" for part, value in seconds.items())
        self.message(f"{_duration(total)} for {step - self._first_step:,} steps: {shares}.")
        if self._main:
            with self._path.with_name("goodput.jsonl").open("a") as file:
                print(json.dumps({"after": self._first_step, "step": step, "seconds": seconds}), file=file)

    def message(self, text: str) -> None:
        """A line for people."""
        if self._main:
            self._console.print(text, highlight=False, soft_wrap=True)

    def _write(self, row: dict) -> None:
        if self._main:
            print(json.dumps(row), file=self._file, flush=True)

    def _cost(self, step: int) -> float:
        """Relative time from `step` to the end of the run."""
        return sum(p.cost * (p.stop - max(step, p.start)) for p in self._phases if p.stop > step)

    def _show(self, step: int, phase: Phase, values: dict[str, float]) -> None:
        now = time.monotonic()
        if phase is not self._phase:  # a new phase has another speed
            self._phase, self._window = phase, []
        self._window = [*self._window[-20:], (now, step)]
        first_time, first_step = self._window[0]
        text = f"step {step:,}/{self._phases[-1].stop:,}"
        text += "".join(f"  {n} {v:.4f}" for n, v in values.items() if n.startswith("loss") and "/" not in n)
        if step > first_step:
            seconds = (now - first_time) / (step - first_step)
            text += f"  {1 / seconds:.2f} steps/s  {_duration(seconds / phase.cost * self._cost(step))} left"
        if self._console.is_terminal:
            done = self._cost(0) - self._cost(step)
            self._progress.update(self._bar, description=phase.name, completed=done, values=text)
        elif now - self._line_time > QUIET_SECONDS:
            self._line_time = now
            self.message(f"{phase.name}  {text}")


def _read(values: Metrics, step: int) -> dict[str, float]:
    """The values on the host; raises FloatingPointError unless they are finite."""
    values = {name: float(value) for name, value in jax.device_get(values).items()}
    for name, value in values.items():
        if not math.isfinite(value):
            raise FloatingPointError(f"{name} is {value} at step {step}; lower config.learning_rate.")
    return values


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h {minutes:02}m" if hours else f"{minutes}m {seconds:02}s"


def _drop_after(path: Path, step: int) -> None:
    """Removes rows of steps that a resumed run will do again, and a last row that was cut off."""
    if path.exists():
        rows = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]
        path.write_text("".join(row for row in rows if json.loads(row)["step"] <= step))
