"""Compiled programs outlive the process: JAX's persistent compilation cache, in the user's cache folder."""

import os
import sys
import tempfile
from pathlib import Path

FOLDER, LEAST_SECONDS = "JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"


def use_cache() -> None:
    """Sets the environment that JAX reads when it is imported, so call it before; what the user has set stays.

    The folder is faceswap_jax/xla in $XDG_CACHE_HOME or ~/.cache, or JAX_COMPILATION_CACHE_DIR; an empty one means no
    cache. JAX never removes anything from it; deleting it costs nothing but the next start's time. A folder that cannot
    be written is told on stderr, and there is no cache.
    """
    os.environ.setdefault(
        LEAST_SECONDS, "0"
    )  # the many small programs of a start take seconds together
    folder = os.environ.get(FOLDER)
    if folder == "" or "://" in (
        folder or ""
    ):  # switched off, or in the cloud, where JAX itself will look
        return
    try:
        caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(folder or Path(caches, "faceswap_jax", "xla")).absolute()
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except (OSError, RuntimeError) as error:  # RuntimeError: there is no home
        print(
            f"Compiled programs cannot be kept ({error}); set {FOLDER} to a folder that can be written.",
            file=sys.stderr,
        )
        folder = ""
    os.environ[FOLDER] = str(folder)
