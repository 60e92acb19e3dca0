"""All figures of one GPU: steps beside PyTorch's, memory by level, whether the reader keeps up, swaps.

    python -m experiments.benchmarks.gpu --output gpu_figures

Ends with a table in Markdown. Each part is a process of its own with a limit of time, and what has been measured is
not measured again: when it was stopped, the same command goes on. launch/gpu_figures.sh installs what it needs.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from absl import app, flags

from faceswap_jax.files import write_json

OUTPUT = flags.DEFINE_string("output", "gpu_figures", "Folder of the figures, made or continued.")
WIDTH = flags.DEFINE_float("width", 1.0, "Multiplies all channel counts.")
LEVELS = flags.DEFINE_list(
    "levels", ["4", "6", "8"], "Growth levels; the reader is measured at the middle one."
)
BATCH = flags.DEFINE_integer("batch", 8, "Images of each of two personas; one above 256 px.")
STEPS = flags.DEFINE_integer("steps", 60, "Steps of the training that the reader feeds.")
FRAMES = flags.DEFINE_integer("frames", 48, "Frames of the clip that is swapped.")
LIMIT = 150
"""Seconds of a part; together they take less than ten minutes."""

Figures = dict[str, str]
"""Numbers of a part, for people, by what they are."""


def main(_: Sequence[str]) -> None:
    """Measures what has not been measured, and prints the table."""
    folder = Path(OUTPUT.value).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    levels = [int(level) for level in LEVELS.value]
    parts = {f"step at {side(level)} px": (step_figures, level) for level in levels}
    parts["reader"] = (reader_figures, levels[len(levels) // 2])
    parts["swap"] = (swap_figures, levels[-1])

    figures = {}
    for name, (measure, level) in parts.items():
        file = folder / f"{name.replace(' ', '_')}.json"
        if not file.exists():
            print(f"{name} ...", file=sys.stderr, flush=True)
            try:
                write_json(file, measure(folder, level))
            except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
                print(f"{name}: {why(error)}", file=sys.stderr)
                continue
        figures[name] = json.loads(file.read_text())
    print(f"\n{device()}, width {WIDTH.value:g}, bfloat16\n")
    print("| part | what | figure |\n|---|---|---:|")
    for name, found in figures.items():
        for what, value in found.items():
            print(f"| {name} | {what} | {value} |")


def step_figures(folder: Path, level: int) -> Figures:
    """A training step, ours and PyTorch's, and the memory of the GPU."""
    text = run(
        *("-m", "experiments.benchmarks.comb_step", f"--levels={level}", f"--width={WIDTH.value}"),
        *(f"--batch={BATCH.value}", "--precision=bfloat16", "--turns=3"),
    )
    figures = {}
    for _, batch, name, images, ratio, teraflops, *rest in rows(text):
        memory = f", {rest[-1]} GiB" if rest[-1] else ""
        figures[f"{name}, {batch} images"] = (
            f"{images} images/s ({ratio} times PyTorch's best, {teraflops} TFLOP/s{memory})"
        )
    return figures


def reader_figures(folder: Path, level: int) -> Figures:
    """How much of a training's time waits for data."""
    workdir = train(folder, level, STEPS.value, BATCH.value)
    seconds = {"data": 0.0, "step": 0.0}
    for line in (workdir / "goodput.jsonl").read_text().splitlines():
        parts = json.loads(line)
        seconds = {name: seconds[name] + parts.get(name, 0.0) for name in seconds}
    waiting = seconds["data"] / max(sum(seconds.values()), 1e-9)
    return {
        f"waiting for data at {side(level)} px, {os.cpu_count()} cores": f"at most {waiting:.0%}"
    }


def swap_figures(folder: Path, level: int) -> Figures:
    """Frames per second of a swap, start and video included; the second one, with compiled programs kept."""
    workdir = train(folder, level, 2, 1)
    clips = folder / "clips"
    faceswap(
        *("puppets", f"--output={clips}", "--personas=1", "--tracks=1", "--rate=24"),
        *(f"--frames={FRAMES.value}", f"--size={max(160, side(level))}"),
    )
    clip = min(clips.rglob("*.mp4"))
    swapped = folder / "swapped.mp4"
    for _ in range(2):
        swapped.unlink(missing_ok=True)
        began = time.perf_counter()
        faceswap(
            *("swap", str(clip), f"--workdir={workdir}", "--persona=puppet001"),
            f"--output={swapped}",
        )
        rate = FRAMES.value / (time.perf_counter() - began)
    return {f"{FRAMES.value} frames, {side(level)} px faces": f"{rate:.1f} frames/s"}


def train(folder: Path, level: int, steps: int, batch: int) -> Path:
    """A training of one level on rendered people; returns its folder."""
    data, workdir = folder / f"data_{level}", folder / f"run_{level}"
    faceswap(
        *("puppets", f"--output={data}", "--format=records", "--personas=2", "--tracks=1"),
        *("--frames=16", "--rate=3", f"--resolution={side(level)}"),
    )
    level_steps = (0,) * level + (steps,)
    faceswap(
        *("train", "--config=experiments/comb.py", f"--workdir={workdir}"),
        *(f"--config.data.path={data}", f"--config.level_steps={level_steps}"),
        *("--config.final_steps=0", f"--config.batch={batch}", "--config.precision=bfloat16"),
        *(f"--config.model.width={WIDTH.value}", "--config.run.log=10"),
    )
    return workdir


def faceswap(*arguments: str) -> str:
    """Runs the command; returns what it printed."""
    return run("-m", "faceswap_jax.cli", *arguments)


def run(*arguments: str) -> str:
    """Runs Python in a process of its own; returns what it printed.

    Raises:
        subprocess.CalledProcessError: it failed.
        subprocess.TimeoutExpired: it took too long.
    """
    # JAX would take three quarters of the memory from PyTorch.
    environment = os.environ | {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "COLUMNS": "200"}
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=True,
    ).stdout


def rows(text: str) -> Iterator[list[str]]:
    """The cells of a printed table's rows."""
    for line in text.splitlines():
        if line.startswith("│"):
            yield [cell.strip() for cell in line.strip("│").split("│")]


def why(error: subprocess.CalledProcessError | subprocess.TimeoutExpired) -> str:
    """Why a part has no figures, in a line."""
    if isinstance(error, subprocess.TimeoutExpired):
        return f"took more than {LIMIT} s"
    lines = (error.stderr or "").strip().splitlines()
    return lines[-1] if lines else f"ended with code {error.returncode}"


def device() -> str:
    """What JAX runs on, asked in a process that ends, for it would keep the memory."""
    return run("-c", "import jax; print(jax.devices()[0].device_kind)").strip()


def side(level: int) -> int:
    """Side in pixels of a level's images."""
    return 4 * 2**level


if __name__ == "__main__":
    app.run(main)
