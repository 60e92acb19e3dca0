"""The folder of a run, while the run is at work there."""

import errno
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path

import jax
import ml_collections

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.files import locked, make_folder
from faceswap_jax.parallel.distributed import wait_for_all

CONFIG = "config.json"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def claimed(
    workdir: Path, config: ml_collections.ConfigDict, may_grow: Sequence[str] = ()
) -> Iterator[None]:
    """Makes `workdir` the folder of this config, and of this job alone in a `with` block.

    Args:
        workdir: a new folder, or that of a run to continue.
        config: of the run.
        may_grow: fields that may be larger than they were; see `Task.may_grow`.

    Raises:
        InputError: it holds the run of another config, or something else, or another job trains there; or, in the
            block, there is no more room.
        JobError: another process of the job has ended.
    """
    stored = _stored_config(workdir, config, may_grow)
    # Others would find the folder that the first process makes.
    main = jax.process_index() == 0
    wait_for_all("all have looked at the folder")
    if main:
        make_folder(workdir)
    with locked(workdir) if main else nullcontext():
        try:
            if main and (stored is None or configs.fields(stored) != configs.fields(config)):
                configs.save(config, workdir / CONFIG)
            wait_for_all("the folder is there")
            yield
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            raise InputError(
                f"'{workdir}' has no more room ({error.strerror}); make some and run the same command again, which "
                "continues from the newest checkpoint."
            ) from error


def _stored_config(
    workdir: Path, config: ml_collections.ConfigDict, may_grow: Sequence[str]
) -> ml_collections.ConfigDict | None:
    """The config of the run in the folder, which is the same run; None if the folder is new."""
    path = workdir / CONFIG
    if path.exists():
        stored = configs.load(path)
        changed = configs.differences(stored, config, may_grow)
        if changed:
            raise InputError(
                f"'{workdir}' holds a run of another config ({'; '.join(changed)}); undo it or choose a new --workdir"
                f"{_way_on(stored, changed, may_grow)}."
            )
        return stored
    # Nothing of anybody's is overwritten.
    if workdir.exists() and not _is_new(workdir):
        raise InputError(
            f"'{workdir}' exists and is not the folder of a run; choose a new --workdir."
        )
    return None


def _way_on(
    stored: ml_collections.ConfigDict, changed: Sequence[str], may_grow: Sequence[str]
) -> str:
    """How the run in the folder can be trained on nevertheless, as the end of a sentence."""
    if len(changed) == 1 and changed[0].startswith("data.manifest:"):
        return f", or accept the other data with --config.data.manifest={stored.data.manifest}"
    longer = " or ".join(f"config.{name}" for name in may_grow)
    return f", or train on by raising {longer}" if longer else ""


def _is_new(workdir: Path) -> bool:
    """Whether a folder is empty but for a config that was being written when a run was killed."""
    return workdir.is_dir() and all(
        entry.name.startswith(f".{Path(CONFIG).stem}.") for entry in workdir.iterdir()
    )
