"""Going back after NaN: the batches with which it arose are left out."""

import json
import logging
from pathlib import Path

import jax

from data_pipelines.batches import addresses
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import DivergedError
from faceswap_jax.files import write_json
from faceswap_jax.training import finite

logger = logging.getLogger(__name__)
FILE = "skipped.json"
"""In the folder of a run: which batches are left out, and to the checkpoints of which steps the run went back."""
MOST = 3
"""From one checkpoint; when there are more, the batches are hardly to blame."""


class Rollbacks:
    """The batches that a run leaves out."""

    def __init__(self, workdir: Path, checkpoints: Checkpoints, policy: str):
        """Reads which batches earlier starts have left out.

        Args:
            workdir: folder of the run.
            checkpoints: of the run.
            policy: `config.run.not_finite`.
        """
        self._workdir, self._checkpoints, self._policy = workdir, checkpoints, policy
        path = workdir / FILE
        self._entries: list[dict[str, int]] = json.loads(path.read_text()) if path.exists() else []

    @property
    def skipped(self) -> list[int]:
        """Numbers of the batches that are left out, ascending."""
        return sorted(entry["batch"] for entry in self._entries)

    def skip(self, error: finite.NotFiniteError) -> None:
        """Leaves out the batch with which NaN arose, from now on.

        Raises:
            DivergedError: that is not wanted, or does not help.
        """
        about = finite.write_aside(error, self._workdir)
        self._checkpoints.wait()
        last = max(self._checkpoints.steps, default=0)
        # Look at it, or give up
        if self._policy == "stop":
            raise DivergedError(
                f"{about} The run stands at the checkpoint of step {last:,}; look at the batch and skip it with "
                "--config.run.not_finite=rollback, or lower config.learning_rate in a new --workdir."
            ) from error
        if sum(entry["checkpoint"] == last for entry in self._entries) == MOST:
            raise DivergedError(
                f"{about} {MOST} batches after the checkpoint of step {last:,} have been skipped, and it did not "
                "help; lower config.learning_rate in a new --workdir."
            ) from error

        # All processes come to the same; one writes it down, for later starts.
        batch = addresses.batch_number(error.step - 1, self.skipped)
        self._entries.append({"batch": batch, "checkpoint": last})
        if jax.process_index() == 0:
            write_json(self._workdir / FILE, self._entries)
            logger.warning("%s Going back to step %d; this batch is skipped.", about, last)
