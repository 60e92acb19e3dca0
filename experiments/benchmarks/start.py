"""Time from the start of `faceswap train` to the values of its first step, cold and warm.

    python -m experiments.benchmarks.start [--config FILE] [--width 0.125] [--level 4] [--repeats 3]

Every start is a process of its own, on rendered puppets that are prepared before. Cold is with an
empty cache of compiled programs, warm with the one that the cold start has left. The fastest of the
repeats counts.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

from absl import app, flags
from rich.progress import track

from experiments.benchmarks.measuring import print_table

CONFIG = flags.DEFINE_string(
    "config", "experiments/demo.py", "Experiment file of the comb network."
)
WIDTH = flags.DEFINE_float(
    "width", None, "Multiplies all channel counts; as in the experiment if not given."
)
LEVEL = flags.DEFINE_integer(
    "level", None, "Level to begin with; as in the experiment if not given.", 2, 8
)
REPEATS = flags.DEFINE_integer("repeats", 3, "Cold and warm starts each.", 1)
PERSONAS = 3
FRAMES = 25
PARTS = ("Python and imports", "tracing and lowering", "compiling or loading", "all else")
TRACING = (
    "/jax/core/compile/jaxpr_trace_duration",
    "/jax/core/compile/jaxpr_to_mlir_module_duration",
)
COMPILING = "/jax/core/compile/backend_compile_duration"  # loading from the cache included

# What a process runs: the command, cut short at the first values.
CHILD = "import sys; from experiments.benchmarks import start; start.child(float(sys.argv[1]), sys.argv[2:])"


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    seconds = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        write_data(scratch / "data")
        for repeat in track(range(REPEATS.value), "starting", transient=True):
            for kind, times in seconds.items():
                cache = scratch / f"cache{repeat}"
                times.append(start(scratch / "data", cache, scratch / f"{kind}{repeat}"))

    cold = min(seconds["cold"], key=total)
    warm = min(seconds["warm"], key=total)
    rows = [[part, f"{cold[part]:.2f}", f"{warm[part]:.2f}"] for part in PARTS]
    rows.append(["together", f"{total(cold):.2f}", f"{total(warm):.2f}"])
    rows.append(["ratio", "", f"{total(warm) / total(cold):.2f}"])
    print_table(
        ("seconds", "cold", "warm"), rows, title="from the start to the first step's values"
    )


def total(parts: Mapping[str, float]) -> float:
    """Returns the seconds of all parts together."""
    return sum(parts.values())


def write_data(folder: Path) -> None:
    """Writes a few puppets, as `faceswap puppets --format records` makes them."""
    from data_pipelines.puppets.dataset import write_records

    resolution = 64 if LEVEL.value is None else max(64, 4 * 2**LEVEL.value)
    with contextlib.redirect_stderr(io.StringIO()):
        write_records(
            folder,
            world_seed=0,
            personas=range(PERSONAS),
            tracks=range(1),
            frames=FRAMES,
            rate=3.0,
            resolution=resolution,
            processes=os.cpu_count(),
        )


def start(data: Path, cache: Path, workdir: Path) -> dict[str, float]:
    """Returns the seconds of every part of one start."""
    arguments = [
        "train",
        f"--config={CONFIG.value}",
        f"--workdir={workdir}",
        f"--config.data.path={data}",
    ]
    if WIDTH.value is not None:
        arguments.append(f"--config.model.width={WIDTH.value}")
    if LEVEL.value is not None:
        arguments.append(f"--config.level_steps={(0,) * LEVEL.value + (100,)}")
    command = [sys.executable, "-c", CHILD, str(time.time()), *arguments, "--config.run.log=1"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if result.returncode or result.stderr:
        raise SystemExit(f"The start failed, or was not quiet:\n{result.stderr}")
    return json.loads(result.stdout)


def child(began: float, arguments: Sequence[str]) -> None:
    """Runs the command until the first step's values are there, then prints the seconds of every part.

    Args:
        began: when the process was started, seconds since the epoch.
        arguments: of `faceswap`.
    """
    from faceswap_jax import cli
    from faceswap_jax.training import cache as compilation

    compilation.use_cache()
    import jax

    # The loop would import the task later, and its seconds would count as all else.
    from faceswap_jax.reporting.reporter import Reporter
    from faceswap_jax.tasks import autoencoder  # noqa: F401

    imported = time.time()
    spent = defaultdict(float)

    def note(event, seconds, **_):
        spent[event] += seconds

    def stop(self, row):
        tracing = sum(spent[event] for event in TRACING)
        compiling = spent[COMPILING]
        rest = time.time() - imported - tracing - compiling
        seconds = (imported - began, tracing, compiling, rest)
        print(json.dumps(dict(zip(PARTS, seconds, strict=True))), flush=True)
        os._exit(0)

    # Ends in the place where the first row of metrics would be written.
    jax.monitoring.register_event_duration_secs_listener(note)
    Reporter._write = stop
    sys.exit(cli.main(arguments))


if __name__ == "__main__":
    app.run(main)
