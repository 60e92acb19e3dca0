"""Several processes train as one does: the same losses, together saved, together stopped."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest
from jax.sharding import Mesh

from faceswap_jax.errors import InputError
from faceswap_jax.files import locked
from faceswap_jax.parallel import distributed
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.training import runs
from tests.support.states import flip, largest
from tests.support.tiny_run import all_rows

ROOT = Path(__file__).parents[2]
LAST = 16
FILE = f"""
from tests.support import tiny_run

def get_config():
    c = tiny_run.experiment()
    c.update(level_steps=(0, {LAST // 2}, {LAST // 2}), learning_rate=1e-4)
    c.run.update(log=1, preview=4, checkpoint=2, keep_every={LAST // 2})
    return c
"""


class Job:
    """A training by `launch/local.sh`, or without it where there is one process."""

    def __init__(self, folder, data, name, processes, devices, persona=1):
        self.workdir, self.log, self.processes = folder / name, folder / f"{name}.log", processes
        launcher = (
            ["bash", ROOT / "launch" / "local.sh", processes, devices] if processes > 1 else []
        )
        command = [
            *launcher,
            sys.executable,
            "-m",
            "faceswap_jax.cli",
            "train",
            f"--config={folder / 'tiny.py'}",
            f"--workdir={self.workdir}",
            f"--config.data.path={data}",
            f"--config.mesh.persona={persona}",
            f"--config.mesh.cpu_devices={devices}",
        ]
        environment = os.environ | {
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(folder / "xla"),
        }
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                list(map(str, command)), env=environment, cwd=ROOT, stdout=log, stderr=log
            )

    def await_step(self, step):
        """Returns when a checkpoint of this step, or a later one, is there."""
        deadline = time.monotonic() + 600
        while self.saved() < step and self.process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        assert self.saved() >= step, self.log.read_text()

    def saved(self) -> int:
        folder = self.workdir / "checkpoints"
        return max((int(p.name) for p in folder.glob("*") if p.name.isdecimal()), default=0)

    def children(self) -> list[int]:
        """Process numbers in the order of JAX_PROCESS_ID."""
        path = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return sorted(map(int, path.read_text().split()))

    def end(self, timeout=600) -> tuple[int, str]:
        """The exit code and all output so far."""
        return self.process.wait(timeout), self.log.read_text()

    def rows(self) -> list[dict]:
        return all_rows(self.workdir)


@pytest.fixture(scope="module")
def job(data, tmp_path_factory):
    """Starts a job, in a folder where all share what they compile."""
    folder, jobs = tmp_path_factory.mktemp("jobs"), []
    (folder / "tiny.py").write_text(FILE)

    def start(*arguments):
        jobs.append(Job(folder, data, *arguments))
        return jobs[-1]

    start.folder = folder
    yield start
    for each in jobs:
        each.process.kill()


@pytest.fixture(scope="module")
def alone(job):
    """A finished training of one process with four devices."""
    one = job("alone", 1, 4)
    assert one.end()[0] == 0
    return one


def assert_same(job, alone):
    """Losses, scores and final state."""
    for row, expected in zip(job.rows(), alone.rows(), strict=True):
        assert row.keys() == expected.keys()
        for name, value in expected.items():
            if isinstance(value, float):
                value = pytest.approx(value, 1e-5, 1e-5)
            assert row[name] == value
    a, b = (runs.load(j.workdir, make_mesh(), LAST).state.params for j in (job, alone))
    # Sums over processes come in another order each time, and Adam divides small gradients by their size.
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=0, atol=3e-5), a, b)


@pytest.mark.slow
def test_two_processes_train_as_one_though_killed_and_interrupted(job, alone):
    first = job("two", 2, 2)
    first.await_step(4)
    os.kill(first.children()[1], signal.SIGKILL)
    code, text = first.end()
    assert code == 137 and "Process 1 of 2 has ended with code 137" in text

    damaged = largest(first.workdir / "checkpoints" / str(first.saved()))
    flip(damaged)
    code, text = job("two", 2, 2).end()
    assert code == 3 and "is damaged (" in text and "it is kept as" in text
    assert not damaged.exists()

    second = job("two", 2, 2)
    second.await_step(LAST // 2 + 2)  # of the second level
    second.process.send_signal(signal.SIGTERM)
    code, text = second.end()
    assert code == 0 and text.count(f"Interrupted and saved at step {second.saved()}") == 1

    third = job("two", 2, 2)
    code, text = third.end()
    # One process tells.
    assert code == 0 and text.count(f"Finished: '{third.workdir}' is at step {LAST}.") == 1
    assert text.count("Continuing") == 2 and "Gloo" not in text
    assert_same(third, alone)


@pytest.mark.slow
def test_a_failure_of_one_process_ends_the_job(job):
    """The first cannot have the folder; the second would wait for it."""
    (folder := job.folder / "taken").mkdir()
    with locked(folder):
        code, text = job("taken", 2, 1).end()
    assert code == 2, text
    assert "Another process is writing" in text and "so the others were stopped" in text


@pytest.mark.slow
def test_personas_of_two_processes(job, alone):
    """Each process has the decoders of one persona, and loads the whole batch.

    They enter the second level, the first that has such decoders, and go on to its end.
    """
    workdir = shutil.copytree(alone.workdir, job.folder / "personas")
    for checkpoint in (workdir / "checkpoints").iterdir():
        if int(checkpoint.name) > LAST // 2:
            shutil.rmtree(checkpoint)
    two = job("personas", 2, 1, 2)
    code, text = two.end()
    assert code == 0, text
    assert_same(two, alone)


def mesh_of(owners) -> Mesh:
    """A mesh of devices that say they are of these processes."""

    class Device:
        def __init__(self, owner):
            self.process_index = owner

    devices = np.empty(np.shape(owners), object)
    for place, owner in np.ndenumerate(owners):
        devices[place] = Device(owner)
    return type("FakeMesh", (), {"devices": devices, "__hash__": object.__hash__})()


@pytest.mark.parametrize(
    ("owners", "shares"),
    [
        ([[0], [0]], {0: (0, 1)}),
        ([[0], [0], [1], [1]], {0: (0, 2), 1: (1, 2)}),
        ([[0, 0], [1, 1]], {0: (0, 2), 1: (1, 2)}),
        ([[0, 1]], {0: (0, 1), 1: (0, 1)}),
        ([[2, 0], [1, 3]], {0: (0, 2), 1: (1, 2), 2: (0, 2), 3: (1, 2)}),
        ([[0], [1], [0], [1]], {0: (0, 2), 1: (1, 2)}),
    ],
)
def test_shares_of_a_batch(monkeypatch, owners, shares):
    for process, share in shares.items():
        monkeypatch.setattr(jax, "process_index", lambda process=process: process)
        assert distributed.host_slice(mesh_of(owners)) == share


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (
            {},
            "found no job to join .*; start it by a file of launch/, or set JAX_COORDINATOR_ADDRESS",
        ),
        (
            {"JAX_NUM_PROCESSES": "2"},
            "needs an address and two numbers, not JAX_COORDINATOR_ADDRESS=None",
        ),
        ({"JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": "one"}, "JAX_PROCESS_ID=one; set all three"),
        (
            {
                "JAX_COORDINATOR_ADDRESS": "localhost:1",
                "JAX_NUM_PROCESSES": "2",
                "JAX_PROCESS_ID": "2",
            },
            "process_id and num_processes must be nonnegative",
        ),
    ],
)
def test_no_job_to_join(monkeypatch, environment, message):
    for name in (*distributed.ENVIRONMENT, "SLURM_JOB_ID", "OMPI_MCA_orte_hnp_uri"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(jax._src.xla_bridge, "backends_are_initialized", lambda: False)
    with pytest.raises(InputError, match=message):
        distributed.start()
