"""What people see of a sweep's trials: the ranking, and a log's last words."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from faceswap_jax.files import replacing
from faceswap_jax.sweeps.files import Trial

WIDEST = 1_000  # characters


def show(ranked: Sequence[Trial], metric: str, path: Path) -> None:
    """Prints the table of trials, the best first, and writes it to `path` with all digits."""
    names = list(ranked[0].parameters) if ranked else []
    head = ["rank", "trial", metric, *names, "steps", "state"]
    rows = []
    for rank, trial in enumerate(ranked, 1):
        score = ["", trial.name, ""]
        if trial.state == "finished":
            score = [rank, trial.name, trial.metrics[metric]]
        rows.append([*score, *trial.parameters.values(), trial.step, state_of(trial)])
    with replacing(path) as aside, aside.open("w", newline="") as file:
        csv.writer(file).writerows([head, *rows])

    # The same for people, five digits.
    table = Table(*head, box=SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(_short, row))
    console = Console(markup=False)
    # A pipe and a narrow terminal get whole words, too.
    needed = console.measure(table, options=console.options.update(max_width=WIDEST)).maximum
    console.width = max(console.width, needed)
    console.print(table)


def state_of(trial: Trial) -> str:
    """How a trial has ended."""
    return trial.state if trial.state == "finished" else f"failed ({trial.code})"


def last_line(log: Path) -> str:
    """What a trial has said last."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        return f"it said nothing in '{log}'."
    return lines[-1].removeprefix("faceswap: ")


def _short(value: object) -> str:
    return f"{value:.5g}" if isinstance(value, float) else str(value)
