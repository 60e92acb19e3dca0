"""What the benchmarks share: taking times in turns, and tables."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from absl import logging
from rich.console import Console
from rich.table import Column, Table


def seconds_of(act: Callable[[], object]) -> float:
    """Does something and returns how long it took on the wall."""
    begin = time.perf_counter()
    act()
    return time.perf_counter() - begin


def in_turns(acts: Mapping[str, Callable[[], object]], turns: int) -> dict[str, list[float]]:
    """Returns the seconds that each act took in each of its turns.

    The acts take turns because other work on the machine slows whoever happens to run.
    """
    seconds: dict[str, list[float]] = {name: [] for name in acts}
    for _ in range(turns):
        for name, act in acts.items():
            seconds[name].append(seconds_of(act))
    return seconds


def print_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[str]],
    title: str | None = None,
    width: int | None = None,
) -> None:
    """Prints a table whose columns, but for the first, are numbers.

    Args:
        columns: their names.
        rows: cells.
        title: of the table.
        width: of the table in characters; by default that of the terminal.
    """
    first, *numbers = columns
    table = Table(first, *(Column(name, justify="right") for name in numbers), title=title)
    for row in rows:
        table.add_row(*row)
    Console(width=width).print(table)


def silence_orbax() -> None:
    """Leaves only errors in the log: Orbax logs every save and restore."""
    logging.set_verbosity(logging.ERROR)
