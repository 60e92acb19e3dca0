"""The command as people type it, each time in a process of its own, which begins with all that is imported.

Importing takes longer than most small jobs.
"""

import multiprocessing
import os
import shlex
import sys
from pathlib import Path

from faceswap_jax import cli

IMPORTED = (
    "data_pipelines.prepare.prepare",
    "data_pipelines.puppets.dataset",
    "faceswap_jax.artifacts.export",
    "faceswap_jax.cost.report",
    "faceswap_jax.evaluation.without_truth",
    "faceswap_jax.evaluation.with_truth",
    "faceswap_jax.sweeps.trials",
    "faceswap_jax.swap",
    "faceswap_jax.tasks.autoencoder",
    "faceswap_jax.tasks.identity",
    "faceswap_jax.train",
)
"""What more than one of README's commands needs; the others import what they lack."""


def run(command: str, folder: Path, seconds: float = 300) -> tuple[int | None, str, str]:
    """The exit code of a command that is given in a folder, None if it takes longer; its stdout and stderr."""
    name, *arguments = shlex.split(command)
    assert name == "faceswap"
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(list(IMPORTED))
    said = [folder / ".stdout", folder / ".stderr"]
    process = processes.Process(target=_call, args=(arguments, folder, said))
    process.start()
    process.join(seconds)
    if process.exitcode is None:
        process.terminate()
    texts = [path.read_text() for path in said]
    for path in said:
        path.unlink()
    return process.exitcode, *texts


def _call(arguments: list[str], folder: Path, said: list[Path]) -> None:
    os.chdir(folder)
    for descriptor, path in enumerate(said, 1):
        with path.open("w") as file:
            os.dup2(file.fileno(), descriptor)
    sys.exit(cli.main(arguments))
