"""Time from the start of a process to the first images: of a run, and of each format of its artifact.

    python -m experiments.benchmarks.export --workdir RUN [--repeats 3]

Exports the run, then starts every way in a process of its own. The run and the formats that are compiled
start with an empty cache of compiled programs (cold), and with the one that a start has left (warm).
The fastest of the repeats counts. CPU seconds say more than wall time where other work runs.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from absl import app, flags

from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax.artifacts.export import export
from faceswap_jax.artifacts.manifest import FORMATS, ONNX

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of a trained run.", required=True)
REPEATS = flags.DEFINE_integer("repeats", 3, "Starts of each kind.", 1)

RUN = "run"
# What a process does: the imports of `swap`, the generator, and one batch.
CHILD = (
    "import sys; from experiments.benchmarks import first_images; first_images.show(*sys.argv[1:])"
)


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    silence_orbax()
    rows = []
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        export(Path(WORKDIR.value), scratch / "model")
        for kind in (RUN, *FORMATS):
            folder = Path(WORKDIR.value) if kind == RUN else scratch / "model"
            cold = start(folder, kind, scratch / f"cache_{kind}")
            warm = [start(folder, kind, scratch / f"cache_{kind}") for _ in range(REPEATS.value)]
            least = np.min(warm, 0)
            shown = ["", ""] if kind == ONNX else [f"{value:.2f}" for value in cold]
            rows.append([kind, *shown, *(f"{value:.2f}" for value in least)])
    print_table(
        ("", "cold, wall s", "cold, CPU s", "warm, wall s", "warm, CPU s"),
        rows,
        title="from the start of a process to the first images",
    )


def start(folder: Path, kind: str, cache: Path) -> tuple[float, float]:
    """Wall and CPU seconds of one start."""
    environment = os.environ | {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
    }
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", CHILD, str(folder), kind], env=environment, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, used


if __name__ == "__main__":
    app.run(main)
