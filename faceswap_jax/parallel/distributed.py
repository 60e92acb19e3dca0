"""Several processes that work on one job."""

import functools
import os

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from faceswap_jax.errors import InputError, JobError

ENVIRONMENT = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def start() -> None:
    """Joins the other processes of this job. Call it before JAX has started.

    The environment says where the processes are, and which one this is: by `ENVIRONMENT`, or by what SLURM, Cloud TPU
    or Open MPI set.

    Redirects stdout to /dev/null.

    Raises:
        InputError: the environment does not say it, or says it wrongly.
    """
    given = {name: os.environ.get(name) for name in ENVIRONMENT}
    arguments = {}
    # Without them a cluster's own variables are looked for.
    if given["JAX_NUM_PROCESSES"] or given["JAX_PROCESS_ID"]:
        try:
            arguments = {
                "coordinator_address": given["JAX_COORDINATOR_ADDRESS"],
                "num_processes": int(given["JAX_NUM_PROCESSES"]),
                "process_id": int(given["JAX_PROCESS_ID"]),
            }
            # Look for nothing in a cluster that the environment has said.
            arguments["cluster_detection_method"] = "deactivate"
        except (TypeError, ValueError) as error:
            text = ", ".join(f"{name}={value}" for name, value in given.items())
            raise InputError(
                f"--distributed needs an address and two numbers, not {text}; set all three."
            ) from error
    try:
        jax.distributed.initialize(**arguments)
    except (ValueError, TypeError) as error:
        raise InputError(
            f"--distributed found no job to join ({error}); start it by a file of launch/, or set "
            f"{', '.join(ENVIRONMENT)}."
        ) from error
    # Gloo, which CPUs talk by, logs every connection there.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


@functools.cache
def host_slice(mesh: Mesh) -> tuple[int, int]:
    """Tells which slice of every global batch this process loads, and how many slices there are.

    Processes whose devices differ in their place along the persona axis alone load the same slice; each uses what its
    own personas need of it.
    """
    # [data, persona] -> process
    owners = np.vectorize(lambda device: device.process_index)(mesh.devices)
    rows = {}
    for owner in np.unique(owners):
        along_data = np.argwhere(owners == owner)[:, 0]
        rows[owner] = tuple(np.unique(along_data))
    slices = sorted(set(rows.values()))
    return slices.index(rows[jax.process_index()]), len(slices)


def wait_for_all(what: str) -> None:
    """Waits until every process has come to the same point, which `what` names.

    Raises:
        JobError: one has ended meanwhile.
    """
    if jax.process_count() == 1:
        return
    try:
        multihost_utils.sync_global_devices(what)
    except jax.errors.JaxRuntimeError as error:
        raise_if_lost(error)
        raise


def raise_if_lost(error: Exception) -> None:
    """Raises JobError if what went wrong is that another process of the job has ended."""
    # What the runtimes of CPU, GPU and TPU say then
    signs = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "onnection", "arrier")
    if jax.process_count() > 1 and any(sign in str(error) for sign in signs):
        raise JobError(
            f"Process {jax.process_index()} has lost another process of this job, whose own output says why; the same "
            "command continues from the newest checkpoint."
        ) from error
