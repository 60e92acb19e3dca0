"""Compiled programs outlive the process: JAX's persistent compilation cache, in the user's cache folder."""

import os
import sys
import tempfile
from pathlib import Path

FOLDER = "JAX_COMPILATION_CACHE_DIR"
LEAST_SECONDS = "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"
COMPILING = "compiling"
"""How the names of threads begin in which a program is compiled."""


def use_cache() -> None:
    """Sets the environment that JAX reads when it is imported, so call it before. What the user has set stays.

    The folder is faceswap_jax/xla in $XDG_CACHE_HOME or ~/.cache, or JAX_COMPILATION_CACHE_DIR; an empty one means no
    cache. JAX never removes anything from it; deleting it costs nothing but the next start's time. If the folder cannot
    be written, stderr says so, and there is no cache.
    """
    # The many small programs of a start take seconds together.
    os.environ.setdefault(LEAST_SECONDS, "0")
    folder = os.environ.get(FOLDER)
    switched_off = folder == ""
    in_the_cloud = "://" in (folder or "")  # where JAX itself will look
    if switched_off or in_the_cloud:
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
