"""Checkpoints: what is kept, what comes back, and that reading disturbs no writer."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax import config as configs
from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.checkpoints.store import FOLDER, Checkpoints, read_parts
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State
from tests.support.states import config, flip, largest, layout, make_state, names


@pytest.mark.parametrize("persona", [1, 4])
def test_the_whole_state_comes_back_on_any_mesh(tmp_path, persona):
    state = make_state(6)
    abstract = jax.eval_shape(make_state)
    written = jax.device_put(state, rules.shardings(abstract, make_mesh(2)))
    with Checkpoints(tmp_path, config(), writing=True) as checkpoints:
        checkpoints.save(written)
        checkpoints.wait()
        restored = checkpoints.restore(partial(layout, persona=persona))
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    trees = restored, state, layout(6, persona=persona)
    for a, b, target in zip(*map(jax.tree.leaves, trees), strict=True):
        assert a.dtype == b.dtype and a.sharding == target.sharding
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    expected = NamedSharding(make_mesh(persona), P("persona"))
    assert restored.params["personas"]["b"].sharding == expected


def test_the_newest_stay(tmp_path):
    with Checkpoints(tmp_path, config(keep=2), writing=True) as checkpoints:
        assert checkpoints.steps == [] and checkpoints.restore(layout) is None
        for step in (1, 3, 4, 4):
            checkpoints.save(make_state(step))
            checkpoints.wait()
    assert names(tmp_path / FOLDER) == ["3", "4"]
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
    # No evaluation after steps 1 and 7
    scores = {2: 7.0, 3: 9.0, 4: 12.5, 5: 8.0, 6: 11.0, 8: 10.0}
    for steps in (range(1, 6), range(6, 9)):
        with Checkpoints(tmp_path, config(best="psnr", **run), writing=True) as checkpoints:
            for step in steps:
                checkpoints.save(make_state(step), (0, scores[step]) if step in scores else None)
    assert names(tmp_path / FOLDER) == kept


def test_a_later_level_is_better(tmp_path):
    with Checkpoints(tmp_path, config(best="psnr", keep=1), writing=True) as checkpoints:
        for step, merit in enumerate(((0, 9.0), (0, 8.0), (3, 2.0), (3, 1.0)), 1):
            checkpoints.save(make_state(step), merit)
    assert names(tmp_path / FOLDER) == ["3", "4"]


def test_what_is_saved_is_what_the_state_was(tmp_path):
    """Though the next step has taken over its memory while it was being written."""

    @partial(jax.jit, donate_argnums=0)
    def update(state):
        params = jax.tree.map(lambda a: a * 1.01 + 1, state.params)
        return replace(state, step=state.step + 1, params=params)

    state = make_state()
    state = replace(state, params=state.params | {"large": jnp.ones((64, 2**15))})
    saved = {}
    with Checkpoints(tmp_path, config(keep=99), writing=True) as checkpoints:
        for step in range(1, 9):
            state = update(state)
            saved[step] = digests(state)
            checkpoints.save(state)
    abstract = jax.eval_shape(lambda: state)
    with Checkpoints(tmp_path, config()) as checkpoints:
        for step, expected in saved.items():
            restored = checkpoints.restore(lambda _: rules.sharded(abstract, make_mesh()), step)
            assert int(restored.step) == step and digests(restored) == expected
    assert len(set(map(str, saved.values()))) == 8


def other_state():
    return State(jnp.int32(0), jax.random.key(0), {"shared": {"v": jnp.zeros(3)}}, {})


def test_a_checkpoint_of_another_version_of_the_model_is_told(tmp_path):
    with Checkpoints(tmp_path, config(), writing=True) as checkpoints:
        for step in (5, 6):
            checkpoints.save(make_state(step))
        checkpoints.wait()
        with pytest.raises(
            InputError,
            match=r"step 6 in .* is damaged or of another version .* so are all before it",
        ):
            checkpoints.restore(partial(layout, make=other_state))
    assert names(tmp_path / FOLDER) == ["5", "6"]


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


def test_parts_of_a_state_are_read_alone(tmp_path):
    """And damage to them is told as well."""
    configuration, mesh = config(), make_mesh(2)
    configs.save(configuration, tmp_path / "config.json")
    with Checkpoints(tmp_path, configuration, writing=True) as checkpoints:
        checkpoints.save(make_state(6))
    state = make_state(6)
    wanted = {"params": {"personas": state.params["personas"]}, "extras": state.extras}
    found = read_parts(tmp_path, lambda _: wanted, mesh)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    jax.tree.map(np.testing.assert_array_equal, found, wanted)
    assert all(leaf.sharding.is_fully_replicated for leaf in jax.tree.leaves(found))
    with pytest.raises(InputError, match="it has no params/critic"):
        read_parts(tmp_path, lambda _: {"params": {"critic": jnp.zeros(3)}}, mesh)
    flip(largest(tmp_path / FOLDER / "6"))
    with pytest.raises(InputError, match=r"step 6 in .* is damaged"):
        read_parts(tmp_path, lambda _: wanted, mesh)
