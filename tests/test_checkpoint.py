"""Checkpoints: what is kept, what comes back, and that reading disturbs no writer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax.checkpoint import Checkpoints
from faceswap_jax.errors import InputError
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State


def make_state(step=0) -> State:
    key = jax.random.key(7)
    params = {"shared": {"w": jax.random.normal(key, (5, 3))}, "personas": {"b": jnp.arange(8.0).reshape(4, 2) + step}}
    opt = {name: optax.scale_by_adam().init(group) for name, group in params.items()}
    extras = {"half": jnp.ones(4, jnp.bfloat16), "count": jnp.int32(step)}
    return State(jnp.int32(step), key, params, opt, extras)


@pytest.mark.parametrize("persona", [1, 4])
def test_the_whole_state_comes_back_on_any_mesh(tmp_path, persona):
    state = make_state(6)
    abstract = jax.eval_shape(make_state)
    written = jax.device_put(state, rules.shardings(abstract, make_mesh(2)))
    layout = rules.shardings(abstract, make_mesh(persona))
    with Checkpoints(tmp_path / "checkpoints", keep=1) as checkpoints:
        checkpoints.save(written)
        restored = checkpoints.restore(6, abstract, layout)
    assert jax.tree.structure(restored) == jax.tree.structure(state)
    for a, b, sharding in zip(*map(jax.tree.leaves, (restored, state, layout)), strict=True):
        assert a.dtype == b.dtype and a.sharding == sharding
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_array_equal(a, b)
    assert restored.params["personas"]["b"].sharding == NamedSharding(make_mesh(persona), P("persona"))


def test_the_newest_stay(tmp_path):
    with Checkpoints(tmp_path, keep=2) as checkpoints:
        assert checkpoints.latest is None
        for step in (1, 3, 4, 4):
            checkpoints.save(make_state(step))
            assert checkpoints.latest == step
    assert sorted(p.name for p in tmp_path.iterdir()) == ["3", "4"]
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 4


def test_a_checkpoint_of_another_network_is_told(tmp_path):
    def other():
        return State(jnp.int32(0), jax.random.key(0), {"shared": {"v": jnp.zeros(3)}}, {})

    abstract = jax.eval_shape(other)
    with Checkpoints(tmp_path, keep=1) as checkpoints:
        checkpoints.save(make_state(6))
        with pytest.raises(InputError, match=r"step 6 in .* is damaged or of another version of the model"):
            checkpoints.restore(6, abstract, rules.shardings(abstract, make_mesh()))


def test_a_reader_leaves_alone_what_is_being_written(tmp_path):
    with Checkpoints(tmp_path, keep=9) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(make_state(step))
    unfinished = tmp_path / "4.orbax-checkpoint-tmp"
    unfinished.mkdir()
    before = sorted(tmp_path.rglob("*"))
    abstract = jax.eval_shape(make_state)
    with Checkpoints(tmp_path) as checkpoints:
        assert checkpoints.latest == 3  # not the unfinished one
        checkpoints.restore(3, abstract, rules.shardings(abstract, make_mesh()))
    assert sorted(tmp_path.rglob("*")) == before
