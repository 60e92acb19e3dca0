"""The folder of a sweep: what is searched, what was drawn, and what became of it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from faceswap_jax.errors import InputError
from faceswap_jax.files import locked
from faceswap_jax.sweeps.files import Trial

FILE = "trials.jsonl"
SEARCH = ("method", "parameters", "command")
"""What of a sweep file may not change while a sweep has outcomes."""
PATIENCE = 5.0  # seconds; a large process takes some to be gone


class Journal:
    """trials.jsonl: a line that says what is searched, then one for each draw and for each outcome.

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
        # A kill may have cut the last line off.
        whole = file.read().rpartition("\n")[0]
        old = None
        self.trials: dict[int, Trial] = {}
        try:
            rows = [json.loads(line) for line in whole.splitlines()]
            # The first line says what is searched. Later lines of a trial replace earlier ones.
            if rows:
                old, *rows = rows
            for row in rows:
                self.trials[row["number"]] = Trial(**row)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(
                f"'{file.name}' is damaged ({error}); choose a new --output."
            ) from error
        size = len(f"{whole}\n".encode()) if whole else 0
        file.truncate(size)

        search = {name: config.get(name) for name in SEARCH}
        if old != search:
            self._begin(old, search)

    @property
    def outcomes(self) -> list[Trial]:
        """The trials that have one, by number."""
        trials = [self.trials[number] for number in sorted(self.trials)]
        return [trial for trial in trials if trial.state != "running"]

    def add(self, trial: Trial) -> None:
        """Stores a trial, or what has become of it."""
        self.trials[trial.number] = trial
        self._write(vars(trial))

    def _begin(self, old: dict | None, search: dict) -> None:
        """Starts anew, unless outcomes would be lost."""
        if self.outcomes:
            changed = ", ".join(name for name in search if old[name] != search[name])
            raise InputError(
                f"'{self._file.name}' has trials of another search ({changed}); choose a new --output."
            )
        self._file.truncate(0)
        self.trials = {}
        self._write(search)

    def _write(self, row: dict) -> None:
        print(json.dumps(row), file=self._file, flush=True)


@contextmanager
def opened(output: Path, config: dict) -> Iterator[tuple[Journal, int]]:
    """The journal in the folder `output`, which is made if need be.

    Yields:
        The journal, and the file descriptor of the folder's lock. Trials inherit it, so that no two sweeps write to a
        folder, not even when one was killed and left its trials.

    Raises:
        InputError: the folder is another's, in use, or cannot be written.
    """
    path = output / FILE
    is_new = not output.exists() or (output.is_dir() and not any(output.iterdir()))
    if not is_new and not path.exists():
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
    with file, locked(output, PATIENCE) as lock:
        yield Journal(file, config), lock


def has_outcomes(output: Path) -> bool:
    """Whether a trial of the sweep in a folder has ended."""
    path = output / FILE
    return path.exists() and '"state": "finished"' in path.read_text()
