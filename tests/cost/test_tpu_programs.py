"""What TPU's own compiler makes of two small experiments: what is sharded, what chips exchange, and along which axes.

Needs libtpu, which `make tpu-check` brings. Another version of it may exchange otherwise. What is meant is accepted by

    python -m tests.cost.test_tpu_programs
"""

import difflib
from collections import Counter
from dataclasses import replace
from importlib import metadata
from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
import pytest
from jax.sharding import Mesh

from experiments import comb, x2face
from faceswap_jax.cost.collectives import collectives
from faceswap_jax.cost.hlo import computations
from faceswap_jax.cost.program import TooLarge, batch_of, cost, lower
from faceswap_jax.cost.report import without_data
from faceswap_jax.cost.topologies import devices_of
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.registry import load_task, task_class
from tests.support.minimal import get_config
from tests.support.minimal_task import Task as Minimal

GOLDEN = Path(__file__).with_name("golden")
RENEW = "If this is meant: python -m tests.cost.test_tpu_programs"


def small_comb() -> ml_collections.ConfigDict:
    """The comb network, narrow but for 4 px: its encoder's kernels there are large enough to be sharded."""
    c = comb.get_config()
    c.model.update(channels=(512, 8, 8), latent=8)
    c.update(level_steps=(0, 0, 2), batch=4, precision="bfloat16")
    c.mesh.persona = 4
    return c


def small_x2face() -> ml_collections.ConfigDict:
    """X2Face, narrow."""
    c = x2face.get_config()
    c.model.update(resolution=16, width=1 / 64, inner=8, vector=8)
    c.data.sources = 1
    c.update(steps=2, batch=4, precision="bfloat16")
    return c


CASES = {"comb": ("v5e:2x4", small_comb), "x2face": ("v5p:2x2x1", small_x2face)}


def described(name: str) -> str:
    """The program of the only step of a case, in lines."""
    topology, make_config = CASES[name]
    config = without_data(make_config(), 4)
    task = load_task(task_class(config).resolve(config))
    mesh = make_mesh(config.mesh.persona, devices_of(topology))
    (phase,) = task.phases
    (step,) = task.steps(phase)
    compiled = lower(task, phase, mesh, batch_of(task, phase, mesh), step).compile()
    lines = [f"libtpu {version()}", f"{topology}, mesh {dict(mesh.shape)}"]
    lines += ["", "sharded state:", "", *sharded(compiled)]
    lines += ["", "exchanged arrays:", "", *exchanged(compiled, mesh)]
    return "\n".join(lines) + "\n"


def version() -> str:
    """Of the compiler; "" if there is none."""
    try:
        return metadata.version("libtpu")
    except metadata.PackageNotFoundError:
        return ""


def sharded(compiled: jax.stages.Compiled) -> list[str]:
    """The leaves of the new state that no device holds whole."""
    state, _, _ = compiled.output_shardings
    lines = []
    for path, sharding in jax.tree_util.tree_leaves_with_path(state):
        if not sharding.is_fully_replicated:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            lines.append(f"{name}: {sharding.spec}")
    return lines


def exchanged(compiled: jax.stages.Compiled, mesh: Mesh) -> list[str]:
    """How many arrays of each shape are exchanged how and along which axes; which of them go together says little."""
    counts = Counter()
    for one in collectives(computations(compiled.as_text()), mesh):
        for shape in one.shapes:
            counts[f"{one.kind} along {', '.join(one.axes)}: {shape}"] += 1
    return [f"{line} x {count}" for line, count in sorted(counts.items())]


@pytest.fixture
def uncached():
    """Programs for TPUs cannot be loaded here, so they cannot be kept."""
    jax.config.update("jax_enable_compilation_cache", False)
    yield
    jax.config.update("jax_enable_compilation_cache", True)


needs_compiler = pytest.mark.skipif(not version(), reason="libtpu is not installed; make tpu-check")


@pytest.mark.slow
@needs_compiler
@pytest.mark.parametrize("name", CASES)
def test_the_program_is_the_stored_one(name, uncached):
    path = GOLDEN / f"{name}.txt"
    stored = path.read_text()
    if stored.splitlines()[0] != f"libtpu {version()}":
        pytest.skip(f"stored of {stored.splitlines()[0]}, not {version()}")
    now = described(name)
    lines = (text.splitlines() for text in (stored, now))
    changes = "\n".join(difflib.unified_diff(*lines, str(path.name), "now", lineterm=""))
    if changes:
        pytest.fail(f"{changes}\n\n{RENEW}", pytrace=False)


class Large(Minimal):
    """A task whose step has matrices of 40 GB."""

    def steps(self, phase):
        """There is one step."""

        def step(state, batch):
            x = jax.random.normal(state.key, (100_000, 100_000))
            metrics = {"loss": (jnp.sin(x @ x) @ x.T).mean()}
            return replace(state, step=state.step + 1), metrics

        return {"train": step}


@needs_compiler
def test_a_step_that_does_not_fit_is_told(uncached):
    task = Large(get_config())
    (phase,) = task.phases
    mesh = make_mesh(1, devices_of("v5e:2x2"))
    found = cost(task, phase, mesh, batch_of(task, phase, mesh), "train")
    assert isinstance(found, TooLarge) and "available HBM (15.75G)" in found.reason


def renew() -> None:
    """Stores what the programs are now."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_compilation_cache", False)
    GOLDEN.mkdir(exist_ok=True)
    for name in CASES:
        (GOLDEN / f"{name}.txt").write_text(described(name))


if __name__ == "__main__":
    renew()
