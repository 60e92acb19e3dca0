"""What a step costs: the numbers are those of the program that the loop compiles, and behave as costs do."""

import math
import re
from dataclasses import replace
from functools import partial

import jax
import pytest
from jax.sharding import AxisType

from faceswap_jax.cost import stored
from faceswap_jax.cost.program import Cost, TooLarge, batch_of, cost, lower
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.mesh import AXES
from faceswap_jax.tasks.base import abstract_state
from faceswap_jax.training.cache import FOLDER
from faceswap_jax.training.programs import Compiler, programs_of
from tests.support.minimal import get_config
from tests.support.minimal_task import Task as Minimal


def test_every_phase_has_its_cost_and_is_told_of(spread):
    ((low,), (high,)), told = spread
    rows = [low, high]
    assert [row.phase for row in rows] == ["level 1, 8 px", "level 2, 16 px"]
    assert told[0] == "level 1, 8 px (1 of 2) ..."
    assert re.fullmatch(r"level 2, 16 px \(2 of 2, about .* left\) \.\.\.", told[1])
    assert all(row.seconds > 0 and row.temporaries > 0 for row in rows)
    assert all(
        row.arguments + row.temporaries < row.peak < 1.1 * (row.arguments + row.temporaries)
        for row in rows
    )


def test_work_grows_with_the_level_and_is_divided_among_the_devices(task, spread):
    ((low,), (high,)), phase = spread[0], task.phases[-1]
    assert high.flops > 2 * low.flops > 0
    one = jax.make_mesh((1, 1), AXES, axis_types=(AxisType.Auto,) * 2, devices=jax.devices()[:1])
    (name,) = task.steps(phase)
    alone = cost(task, phase, one, batch_of(task, phase, one), name)
    assert alone.flops / 8 <= high.flops < 1.1 * alone.flops / 8
    assert alone.collectives == () and alone.temporaries > 2 * high.temporaries
    assert alone.traffic > 2 * high.traffic > 2 * low.traffic


def test_arguments_are_the_parts_of_state_and_batch_that_a_device_holds(task, mesh, spread):
    def part(leaf, sharding):
        return math.prod(sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize

    for phase, (row,) in zip(task.phases, spread[0], strict=True):
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
    for (row,) in spread[0]:
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


def test_what_was_found_is_kept_by_the_programs_digest(task, mesh, spread, tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    phase = task.phases[0]
    (name,) = task.steps(phase)
    ask = partial(cost, task, phase, mesh, batch_of(task, phase, mesh), name)

    found = ask()
    assert replace(found, seconds=0) == replace(spread[0][0][0], seconds=0)
    (file,) = (tmp_path / "costs").iterdir()
    assert ask() == found

    # What is damaged is found anew, another program by itself.
    file.write_text("[")
    assert replace(ask(), seconds=0) == replace(found, seconds=0)
    other = task.phases[1]
    cost(task, other, mesh, batch_of(task, other, mesh), name)
    assert len(list((tmp_path / "costs").iterdir())) == 2


def test_what_does_not_fit_is_kept_too(tmp_path, monkeypatch):
    monkeypatch.setenv(FOLDER, str(tmp_path))
    large = TooLarge("level 8, 1024 px", "train", 3.0, "needs more")
    stored.write("abc", large)
    assert stored.read("abc", (Cost, TooLarge)) == large


def test_batches_that_do_not_divide_are_refused(task, mesh):
    task.config.batch = 3
    try:
        with pytest.raises(InputError, match=r"\(4, 3, .*does not divide.*change config.batch"):
            batch_of(task, task.phases[0], mesh)
    finally:
        task.config.batch = 2


def test_a_task_that_does_not_tell_its_shapes_is_named(mesh):
    class Mapped(Minimal):
        def train_data(self, phase, host, hosts):
            return super().train_data(phase, host, hosts).map(lambda batch: batch)

    known = Minimal(get_config())
    (image,) = batch_of(known, known.phases[0], mesh).values()
    assert (image.shape, image.dtype) == ((8, 32, 32, 3), "uint8")
    unknown = Mapped(get_config())
    with pytest.raises(InputError, match=r"does not tell the shapes of its batches.*Described"):
        batch_of(unknown, unknown.phases[0], mesh)
