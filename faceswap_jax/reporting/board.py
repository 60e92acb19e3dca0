"""Weights & Biases: the only file that imports wandb."""

import logging
import netrc
import os
import secrets
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import ml_collections

from faceswap_jax import config as configs
from faceswap_jax.files import replacing

logger = logging.getLogger(__name__)
PATIENCE = 30  # seconds, for W&B to answer
ID = "wandb_id"
"""In the folder of a run: the name of its W&B run."""


class Board:
    """One run in W&B, the same however often it is continued. A context manager.

    The run stays in its folder, from where `wandb sync` takes it, if there is no API key, W&B does not answer, or
    WANDB_MODE is offline. W&B ignores steps that it has had: those that are done again after a crash or a rollback.
    """

    def __init__(self, workdir: Path, config: ml_collections.ConfigDict):
        """Begins or continues a run in the project `config.run.wandb`."""
        # Importing it takes a second.
        import wandb

        self._wandb = wandb
        settings = wandb.Settings(silent=True, console="off", init_timeout=PATIENCE)
        begin = partial(
            wandb.init,
            project=config.run.wandb,
            id=run_id(workdir),
            resume="allow",
            dir=workdir,
            name=workdir.name,
            config=configs.fields(config),
            settings=settings,
        )
        mode = os.environ.get("WANDB_MODE")
        if not mode:
            mode = "online" if _has_key(settings.base_url) else "offline"
        try:
            self._run = begin(mode=mode)
        except wandb.errors.Error as error:
            logger.warning(
                "W&B cannot be reached (%s); the run is kept in '%s' for `wandb sync`.",
                str(error).splitlines()[0],
                workdir / "wandb",
            )
            # The failed service has taken the name of the run.
            wandb.teardown()
            self._run = begin(mode="offline")

    def __enter__(self) -> "Board":
        return self

    def __exit__(self, kind, *_):
        failed = kind is not None
        self._run.finish(exit_code=int(failed))

    def log(self, row: Mapping[str, object], preview: Path | None = None) -> None:
        """Shows the values of the step row["step"], and a preview."""
        values = {name: value for name, value in row.items() if name != "step"}
        if preview:
            values["preview"] = self._wandb.Image(str(preview))
        self._run.log(values, step=row["step"])

    def table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Shows a table."""
        cells = [list(row) for row in rows]
        self._run.log({name: self._wandb.Table(columns=list(columns), data=cells)})


def run_id(workdir: Path) -> str:
    """The name of the run in W&B, chosen when it is first asked for."""
    path = workdir / ID
    if not path.exists():
        # Agents of a sweep give their runs a name.
        given = os.environ.get("WANDB_RUN_ID")
        with replacing(path) as aside:
            aside.write_text(given or secrets.token_hex(4))
    return path.read_text().strip()


def _has_key(server: str) -> bool:
    """Whether there is an API key where W&B looks for it. Without one it would ask, and wait."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    try:
        hosts = netrc.netrc(os.environ.get("NETRC")).hosts
    except (OSError, netrc.NetrcParseError):
        return False
    return bool({urlsplit(server).hostname, "api.wandb.ai"} & hosts.keys())
