"""The best checkpoint stays."""

from collections.abc import Sequence


class Best:
    """A policy of preservation: the checkpoint of the greatest merit stays."""

    def __init__(self):
        self._step, self._merit = None, ()

    def see(self, step: int, merit: Sequence[float] | None) -> None:
        """Takes note of a checkpoint."""
        if merit and tuple(merit) > self._merit:
            self._step, self._merit = step, tuple(merit)

    def should_preserve(self, checkpoints, *, context) -> list[bool]:
        """What Orbax asks before it removes checkpoints."""
        return [checkpoint.step == self._step for checkpoint in checkpoints]
