"""What a step costs: the numbers are those of the program that the loop compiles, and behave as costs do."""

import math
import os
import re
import subprocess
import sys
from functools import partial

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax.parallel import rules
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.mesh import AXES, make_mesh
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.training.cost import Collective, batch_of, collectives, cost, costs, lower, table
from faceswap_jax.training.programs import Compiler, programs_of
from tests.support.tiny_run import experiment


@pytest.fixture(scope="module")
def task():
    """Four rendered puppets, two pictures each at a time, at 8 and at 16 px."""
    c = experiment()
    c.data.update(
        {"kind": "puppets", "world_seed": 0, "personas": 4, "frames": 2, "resolution": 16}
    )
    c.batch = 2
    return Task(Task.resolve(c))


@pytest.fixture(scope="module")
def mesh():
    """Eight devices, two of which share every persona."""
    return make_mesh(4)


@pytest.fixture(scope="module")
def spread(task, mesh):
    """What every phase costs there, and what was told meanwhile."""
    told = []
    return costs(task, mesh, told.append), told


def test_every_phase_has_a_row_and_is_told_of(task, mesh, spread):
    rows, told = spread
    assert [row.phase for row in rows] == ["level 1, 8 px", "level 2, 16 px"]
    assert told == ["level 1, 8 px ...", "level 2, 16 px ..."]
    assert len(table(rows, mesh).rows) == 2
    assert all(row.seconds > 0 and row.temporaries > 0 for row in rows)
    assert all(
        row.arguments + row.temporaries < row.peak < 1.1 * (row.arguments + row.temporaries)
        for row in rows
    )


def test_work_grows_with_the_level_and_is_divided_among_the_devices(task, spread):
    (low, high), phase = spread[0], task.phases[-1]
    assert high.flops > 2 * low.flops > 0
    one = jax.make_mesh((1, 1), AXES, axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:1])
    (name,) = task.steps(phase)
    alone = cost(task, phase, one, batch_of(task, phase, one), name)
    assert alone.flops / 8 <= high.flops < 1.1 * alone.flops / 8
    assert alone.collectives == () and alone.temporaries > 2 * high.temporaries


def test_arguments_are_the_parts_of_state_and_batch_that_a_device_holds(task, mesh, spread):
    def part(leaf, sharding):
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    for phase, row in zip(task.phases, spread[0], strict=True):
        state, batch = abstract_state(task, phase), batch_of(task, phase, mesh)
        of_state = sum(jax.tree.leaves(jax.tree.map(part, state, rules.shardings(state, mesh))))
        of_batch = {
            name: part(leaf, leaf.sharding) for name, leaf in batch.items() if leaf is not None
        }
        used = (
            of_batch["encoder_input"] + of_batch["image"] + of_batch["mask"]
        )  # at least; what is not used is no argument
        assert used <= row.arguments - of_state <= sum(of_batch.values())


def test_no_device_gathers_the_weights_of_decoders(spread):
    """As ARCHITECTURE.md says; their gradients are summed over the data axis alone."""
    for row in spread[0]:
        assert {found.kind for found in row.collectives} <= {"all-reduce", "collective-permute"}
        moved = [
            shape
            for found in row.collectives
            if found.kind == "collective-permute"
            for shape in found.shapes
        ]
        assert all(math.prod(map(int, re.findall(r"\d+", s.split("[")[1]))) <= 4 for s in moved)


def test_it_is_the_program_of_the_loop(task, mesh):
    phase = task.phases[0]
    (name,) = task.steps(phase)
    with jax.set_mesh(mesh):
        layout = rules.shardings(abstract_state(task, phase), mesh)
        init = jax.jit(partial(task.init_state, phase), out_shardings=layout)
        batch = put(task.train_data(phase, 0, 1)[0], task.batch_spec, mesh)
        step = programs_of(task, phase, mesh, Compiler()).steps[name]
        text = step.lower(init(jax.random.key(0)), batch).as_text()
    assert lower(task, phase, mesh, batch_of(task, phase, mesh), name).as_text() == text


def test_collectives_of_a_known_program_are_counted(mesh):
    def exchanged(x):  # [2, 8] on each of the two devices along data
        total = jax.lax.psum(x, "persona")
        whole = jax.lax.all_gather(total.astype(jnp.int16), "data", tiled=True)
        return jax.lax.ppermute(
            whole.astype(jnp.int8), "persona", [(p, (p + 1) % 4) for p in range(4)]
        )

    specs = {"in_specs": P("data"), "out_specs": P("persona")}
    step = jax.jit(jax.shard_map(exchanged, mesh=mesh, **specs, check_vma=False))
    x = jax.ShapeDtypeStruct((4, 8), jnp.float32, sharding=NamedSharding(mesh, P("data")))
    found = {c.kind: c for c in collectives(step.lower(x).compile().as_text())}
    assert found == {
        "all-reduce": Collective("all-reduce", ("f32[2,8]",), 64),
        "all-gather": Collective("all-gather", ("s16[4,8]",), 64),
        "collective-permute": Collective("collective-permute", ("s8[4,8]",), 32),
    }


def test_what_is_started_and_awaited_counts_once():
    """As GPUs and TPUs have it: the start's type has the operands too. What goes nowhere does not count."""
    text = """
      %all-gather-start.1 = (f32[2,8]{1,0}, f32[4,8]{1,0}) all-gather-start(%p), dimensions={0}
      ROOT %all-gather-done.1 = f32[4,8]{1,0:T(8,128)} all-gather-done(%all-gather-start.1)
      %all-reduce.7 = (f32[]{:T(128)}, pred[3]{0}, /*index=2*/s4[6]{0}) all-reduce(%a, %b, %c), to_apply=%add
      %get-tuple-element.2 = f32[] get-tuple-element(%all-reduce.7), index=0
      %alone.1 = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups={{0},{1}}, to_apply=%add
      %alone.2 = f32[4]{0} all-reduce(%p), channel_id=1, replica_groups=[2,1]<=[2], to_apply=%add
    """
    assert collectives(text) == [
        Collective("all-gather", ("f32[4,8]",), 128),
        Collective("all-reduce", ("f32[]", "pred[3]", "s4[6]"), 4 + 3 + 3),
    ]


@pytest.mark.slow
def test_the_command(data, tmp_path):
    """In a process of its own, for JAX must not have started; the experiment's own number of devices is not heeded."""
    file = tmp_path / "tiny.py"
    file.write_text(
        "from tests.support import tiny_run\n\n\ndef get_config():\n    return tiny_run.experiment()\n"
    )

    def run(*arguments):
        return subprocess.run(
            [
                sys.executable,
                "-m",
                "faceswap_jax.cli",
                "compile",
                f"--config={file}",
                f"--config.data.path={data}",
                *arguments,
            ],
            env=os.environ | {"COLUMNS": "200"},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    result = run("--devices=4", "--config.mesh.persona=2", "--config.batch=2")
    assert (result.returncode, result.stderr) == (0, "level 1, 8 px ...\nlevel 2, 16 px ...\n")
    assert "mesh of data 2 x persona 2" in result.stdout
    rows = [line for line in result.stdout.splitlines() if "│ level " in line]
    assert len(rows) == 2 and all("all-reduce (" in row for row in rows)
    for devices, message in (
        (3, "config.mesh.persona is 2; choose a divisor of the 3 devices."),
        (0, "--devices=0"),
    ):
        result = run(f"--devices={devices}", "--config.mesh.persona=2")
        assert (result.returncode, result.stdout) == (2, "") and message in result.stderr
        assert result.stderr.count("\n") == 1
