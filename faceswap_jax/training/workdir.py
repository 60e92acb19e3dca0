"""The folder of a run, while the run is at work there."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import jax
import ml_collections

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.files import locked
from faceswap_jax.parallel.distributed import wait_for_all


@contextmanager
def claimed(workdir: Path, config: ml_collections.ConfigDict) -> Iterator[None]:
    """Makes `workdir` the folder of this config, and of this job alone in a `with` block.

    Raises:
        InputError: it holds the run of another config, or something else, or another job trains there; or, in the
            block, there is no more room.
    """
    path, old = workdir / "config.json", None
    if path.exists():
        old = configs.load(path)
        changed = configs.differences(old, config)
        if changed:
            raise InputError(
                f"'{workdir}' holds a run of another config ({'; '.join(changed)}); undo it or choose a new --workdir."
            )
    elif workdir.exists() and (
        not workdir.is_dir()
        or any(not entry.name.startswith(f".{path.name}.") for entry in workdir.iterdir())
    ):  # a kill may have left a config that was being written
        raise InputError(
            f"'{workdir}' exists and is not the folder of a run; choose a new --workdir."
        )
    main = jax.process_index() == 0
    wait_for_all("all have looked at the folder")
    try:
        if main:
            workdir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"'{workdir}' cannot be written ({error.strerror}); choose another --workdir."
        ) from error
    with locked(workdir) if main else nullcontext():
        try:
            if main and (old is None or configs.fields(old) != configs.fields(config)):
                configs.save(config, path)
            wait_for_all("the folder is there")
            yield
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                raise
            raise InputError(
                f"'{workdir}' has no more room ({error.strerror}); make some and run the same command again, which "
                "continues from the newest checkpoint."
            ) from error
