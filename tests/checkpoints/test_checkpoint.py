"""Checkpoints: what is kept, what comes back, and that reading disturbs no writer."""

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.checkpoint import Checkpoints, digest
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State


def config(**run):
    c = configs.defaults()
    c.task, c.width = "comb", 0.5
    c.run.update(run)
    return c


def layout(step, make=None, persona=1):
    abstract = jax.eval_shape(make or make_state)
    return abstract, rules.shardings(abstract, make_mesh(persona))


def make_state(step=0) -> State:
    key = jax.random.key(7)
    params = {
        "shared": {"w": jax.random.normal(key, (5, 3))},
        "personas": {"b": jnp.arange(8.0).reshape(4, 2) + step},
    }
    opt = {name: optax.scale_by_adam().init(group) for name, group in params.items()}
    extras = {"half": jnp.ones(4, jnp.bfloat16), "count": jnp.int32(step)}
    return State(jnp.int32(step), key, params, opt, extras)


@pytest.mark.parametrize("persona", [1, 4])
def test_the_whole_state_comes_back_on_any_mesh(tmp_path, persona):
    state = make_state(6)
    abstract = jax.eval_shape(make_state)
    written = jax.device_put(state, rules.shardings(abstract, make_mesh(2)))
    with Checkpoints(tmp_path / "checkpoints", config(), writing=True) as checkpoints:
        checkpoints.save(written)
        checkpoints.wait()
        restored = checkpoints.restore(partial(layout, persona=persona))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b, sharding in zip(
        *map(jax.tree.leaves, (restored, state, layout(6, persona=persona)[1])), strict=True
    ):
        assert a.dtype == b.dtype and a.sharding == sharding
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    assert restored.params["personas"]["b"].sharding == NamedSharding(
        make_mesh(persona), P("persona")
    )


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def test_the_newest_stay(tmp_path):
    with Checkpoints(tmp_path, config(keep=2), writing=True) as checkpoints:
        assert checkpoints.steps == [] and checkpoints.restore(layout) is None
        for step in (1, 3, 4, 4):
            checkpoints.save(make_state(step))
            checkpoints.wait()
    assert names(tmp_path) == ["3", "4"]
    with Checkpoints(tmp_path, config()) as checkpoints:
        assert checkpoints.steps == [3, 4]


@pytest.mark.parametrize(
    ("run", "kept"),
    [
        ({"keep": 1}, ["4", "8"]),
        ({"keep": 2, "checkpoint": 1, "keep_every": 3}, ["3", "4", "6", "7", "8"]),
    ],
)
def test_what_stays(tmp_path, run, kept):
    """The newest, some, and the best, also when the run is continued."""
    scores = {
        2: 7.0,
        3: 9.0,
        4: 12.5,
        5: 8.0,
        6: 11.0,
        8: 10.0,
    }  # no evaluation after steps 1 and 7
    for steps in (range(1, 6), range(6, 9)):
        with Checkpoints(tmp_path, config(best="psnr", **run), writing=True) as checkpoints:
            for step in steps:
                checkpoints.save(make_state(step), (0, scores[step]) if step in scores else None)
    assert names(tmp_path) == kept


def test_a_later_level_is_better(tmp_path):
    with Checkpoints(tmp_path, config(best="psnr", keep=1), writing=True) as checkpoints:
        for step, merit in enumerate(((0, 9.0), (0, 8.0), (3, 2.0), (3, 1.0)), 1):
            checkpoints.save(make_state(step), merit)
    assert names(tmp_path) == ["3", "4"]


def test_what_is_saved_is_what_the_state_was(tmp_path):
    """Though the next step has taken over its memory while it was being written."""
    update = jax.jit(
        lambda state: jax.tree.map(
            lambda a: a,
            replace(
                state,
                step=state.step + 1,
                params=jax.tree.map(lambda a: a * 1.01 + 1, state.params),
            ),
        ),
        donate_argnums=0,
    )
    state = make_state()
    state = replace(state, params=state.params | {"large": jnp.ones((64, 2**15))})
    digests = {}
    with Checkpoints(tmp_path, config(keep=99), writing=True) as checkpoints:
        for step in range(1, 9):
            state = update(state)
            digests[step] = digest(state)
            checkpoints.save(state)
    abstract = jax.eval_shape(lambda: state)
    with Checkpoints(tmp_path, config()) as checkpoints:
        for step, expected in digests.items():
            restored = checkpoints.restore(
                lambda _: (abstract, rules.shardings(abstract, make_mesh())), step
            )
            assert int(restored.step) == step and digest(restored) == expected
    assert len(set(digests.values())) == 8


def test_digests_tell_every_bit_and_no_layout():
    state, mesh = make_state(), make_mesh(4)
    same = digest(state)
    assert digest(jax.device_put(state, rules.shardings(jax.eval_shape(make_state), mesh))) == same
    assert digest(jax.device_put(state, NamedSharding(mesh, P()))) == same
    w = np.asarray(state.params["shared"]["w"])
    flipped = w.copy()
    flipped.view(np.uint32)[3, 2] ^= 1
    swapped = w.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert (w != swapped).any()
    for other in (flipped, swapped, -w):
        changed = replace(state, params=state.params | {"shared": {"w": jnp.asarray(other)}})
        assert digest(changed) != same
    assert digest(replace(state, extras=state.extras | {"half": -state.extras["half"]})) != same
    assert digest(replace(state, key=jax.random.key(8))) != same


def other_state():
    return State(jnp.int32(0), jax.random.key(0), {"shared": {"v": jnp.zeros(3)}}, {})


def test_a_checkpoint_of_another_version_of_the_model_is_told(tmp_path):
    with Checkpoints(tmp_path / "c", config(), writing=True) as checkpoints:
        for step in (5, 6):
            checkpoints.save(make_state(step))
        checkpoints.wait()
        with pytest.raises(
            InputError,
            match=r"step 6 in .* is damaged or of another version .* so are all before it",
        ):
            checkpoints.restore(partial(layout, make=other_state))
    assert names(tmp_path / "c") == ["5", "6"]


def test_a_checkpoint_of_another_config_is_refused_with_the_difference(tmp_path):
    with Checkpoints(tmp_path, config(), writing=True) as checkpoints:
        checkpoints.save(make_state(6))
    changed = config(log=3)
    changed.width = 0.25
    with (
        Checkpoints(tmp_path, changed, writing=True) as checkpoints,
        pytest.raises(
            InputError, match=r"step 6 in .* is of another config \(width: 0.5 -> 0.25\); undo that"
        ),
    ):
        checkpoints.restore(layout)


def test_a_step_without_a_checkpoint(tmp_path):
    with Checkpoints(tmp_path, config(), writing=True) as checkpoints:
        checkpoints.save(make_state(6))
        checkpoints.wait()
        assert int(checkpoints.restore(layout, 6).step) == 6
        with pytest.raises(InputError, match=r"has no checkpoint of step 5; there are 6\."):
            checkpoints.restore(layout, 5)


def largest(folder):
    """The file that holds most of the numbers."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGES = {
    "a bit": lambda folder: flip(largest(folder)),
    "half a file": lambda folder: os.truncate(largest(folder), largest(folder).stat().st_size // 2),
    "a file": lambda folder: largest(folder).unlink(),
    "its metadata": lambda folder: [p.unlink() for p in folder.rglob("_CHECKPOINT_METADATA")],
    "its structure": lambda folder: [p.write_text("{") for p in folder.rglob("_METADATA")],
    "all": empty,
}


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, caplog, damage):
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, config(keep=9), writing=True) as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(make_state(step))
    DAMAGES[damage](folder / "6")
    damaged = sorted(p.relative_to(folder / "6") for p in (folder / "6").rglob("*"))
    with Checkpoints(folder, config()) as checkpoints:  # a reader tells, and changes nothing
        assert int(checkpoints.restore(layout).step) == 4
    assert (
        names(tmp_path) == ["checkpoints"]
        and "step 6" in caplog.text
        and "that of step 4 is used" in caplog.text
    )
    with Checkpoints(folder, config(keep=9), writing=True) as checkpoints:
        assert digest(checkpoints.restore(layout)) == digest(make_state(4))
        assert f"it is kept as '{tmp_path / 'damaged' / '6'}'" in caplog.text
        assert checkpoints.steps == [2, 4]
        checkpoints.save(make_state(6))
        checkpoints.wait()
        empty(folder / "6")
        assert int(checkpoints.restore(layout).step) == 4  # and once more
    assert names(tmp_path / "damaged") == ["6", "6.1"]
    aside = tmp_path / "damaged" / "6"
    assert sorted(p.relative_to(aside) for p in aside.rglob("*")) == damaged


def test_a_reader_starts_over_when_the_run_has_removed_what_it_reads(tmp_path, caplog):
    with (
        Checkpoints(tmp_path, config(keep=1), writing=True) as writer,
        Checkpoints(tmp_path, config()) as reader,
    ):
        writer.save(make_state(1))
        writer.wait()
        reader._checkpointer.reload()
        assert reader.steps == [1]
        writer.save(make_state(2))
        writer.wait()
        assert int(reader.restore(layout).step) == 2
    assert not caplog.messages


def test_when_all_are_damaged_none_is_moved(tmp_path):
    folder = tmp_path / "checkpoints"
    with Checkpoints(folder, config(keep=9), writing=True) as checkpoints:
        for step in (2, 4):
            checkpoints.save(make_state(step))
    for step in "24":
        flip(largest(folder / step))
    with (
        Checkpoints(folder, config(), writing=True) as checkpoints,
        pytest.raises(
            InputError, match=r"step 4 in .* is damaged .*, and so are all before it; use"
        ),
    ):
        checkpoints.restore(layout)
    assert names(folder) == ["2", "4"]


def test_a_reader_leaves_alone_what_is_being_written(tmp_path):
    with Checkpoints(tmp_path, config(keep=9), writing=True) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(make_state(step))
    unfinished = tmp_path / "4.orbax-checkpoint-tmp"
    unfinished.mkdir()
    before = sorted(tmp_path.rglob("*"))
    with Checkpoints(tmp_path, config()) as checkpoints:
        assert checkpoints.steps == [1, 2, 3]  # not the unfinished one
        checkpoints.restore(layout)
    assert sorted(tmp_path.rglob("*")) == before


LIMITED = """
import logging, resource, sys
from pathlib import Path
import jax.numpy as jnp
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.checkpoint import Checkpoints, digest
from faceswap_jax.errors import InputError
from tests.checkpoints.test_checkpoint import config, make_state

with Checkpoints(Path(sys.argv[1]), config(keep=9), writing=True) as checkpoints:
    checkpoints.save(make_state(2))
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))  # files cannot grow, as on a full disk
    try:
        checkpoints.save(make_state(4))
        checkpoints.wait()
    except InputError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_last_good_one(tmp_path):
    folder = tmp_path / "checkpoints"
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, folder], capture_output=True, text=True, check=True
    )
    assert f"A checkpoint could not be written to '{folder}'" in result.stdout, result.stderr
    assert "it continues after step 2." in result.stdout and result.stdout.count("\n") == 1
    with Checkpoints(folder, config(), writing=True) as checkpoints:
        assert digest(checkpoints.restore(layout)) == digest(make_state(2))
    assert names(folder) == ["2"]
