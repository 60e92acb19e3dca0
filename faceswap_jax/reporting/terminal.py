"""The lines that a run writes for people, on stderr. Of several processes only the first writes."""

import jax
from rich.console import Console


class Terminal:
    """Where people follow a run.

    Attributes:
        console: also of progress bars, so that lines go above them.
    """

    def __init__(self):
        self.console = Console(stderr=True, quiet=jax.process_index() > 0)

    def say(self, text: str) -> None:
        """Writes a line, however long."""
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
