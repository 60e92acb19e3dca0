"""The mesh, the sharding table and loops over personas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

from faceswap_jax.errors import InputError
from faceswap_jax.parallel import persona, rules
from faceswap_jax.parallel.mesh import make_mesh, split_cpu


@pytest.mark.parametrize("size", [1, 2, 8])
def test_mesh(size):
    mesh = make_mesh(size)
    assert dict(mesh.shape) == {"data": 8 // size, "persona": size}
    assert set(mesh.axis_types) == {AxisType.Auto}


@pytest.mark.parametrize("size", [3, 0, -1, 16])
def test_wrong_meshes(size):
    with pytest.raises(InputError, match=rf"config.mesh.persona is {size}; .* 8 devices"):
        make_mesh(size)


def test_no_devices_are_refused():
    with pytest.raises(InputError, match=r"config.mesh.cpu_devices is 0; give 1 or more"):
        split_cpu(0)


@pytest.mark.parametrize(
    ("path", "shape", "expected"),
    [
        ("step", (), P()),
        ("params/personas/level_2/conv_0/conv/kernel", (4, 3, 3, 8, 8), P("persona")),
        ("opt/personas/mu/level_2/conv_0/conv/bias", (4, 8), P("persona")),
        ("opt/personas/count", (), P()),
        ("params/encoder/level_0/conv_0/conv/kernel", (3, 3, 8, 8), P()),  # small
        ("params/encoder/level_0/conv_0/conv/kernel", (3, 3, 512, 512), P(None, None, "data")),
        (
            "params/encoder/level_0/conv_1/conv/kernel",
            (4, 4, 512, 1024),
            P(None, None, None, "data"),
        ),
        ("params/encoder/odd", (1021, 1031), P()),  # divides nowhere
        # Every decoder of every device needs it.
        ("params/tied/level_0/conv_0/conv/kernel", (4, 4, 512, 512), P()),
    ],
)
def test_rules(path, shape, expected):
    leaf = jax.ShapeDtypeStruct(shape, jnp.float32)
    assert rules.spec(path, leaf, make_mesh(2)) == expected


def test_every_leaf_of_a_state_has_a_layout():
    tree = {
        "step": jnp.int32(0),
        "key": jax.random.key(0),
        "params": {"personas": {"w": jnp.zeros((4, 2))}},
    }
    mesh = make_mesh(4)
    layout = rules.shardings(jax.eval_shape(lambda: tree), mesh)
    assert layout["params"]["personas"]["w"].spec == P("persona")
    placed = jax.device_put(tree, layout)
    assert placed["params"]["personas"]["w"].addressable_shards[0].data.shape == (1, 2)


def test_merge_lets_the_batch_lead():
    x = np.arange(24).reshape(2, 3, 4)
    merged = persona.merge(x)
    np.testing.assert_array_equal(merged[:4], [x[0, 0], x[1, 0], x[0, 1], x[1, 1]])
    np.testing.assert_array_equal(persona.unmerge(merged, 2), x)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_sharded_loops_see_their_own_personas(size):
    shared, own, batch = jnp.float32(2), jnp.arange(4.0), jnp.arange(12.0).reshape(4, 3)

    def loss(shared, own, batch):
        assert own.shape == (4 // size,)
        return jnp.stack([shared * w * x.sum() for w, x in zip(own, batch, strict=True)])

    mesh = make_mesh(size)
    with jax.set_mesh(mesh):
        result = jax.jit(persona.sharded(loss))(shared, own, batch)
        gradient = jax.jit(jax.grad(lambda *a: persona.sharded(loss)(*a).sum()))(shared, own, batch)
    np.testing.assert_allclose(result, 2 * own * batch.sum(1))
    np.testing.assert_allclose(gradient, (own * batch.sum(1)).sum())


@pytest.mark.parametrize("size", [1, 2, 4])
def test_exchange_lends_what_the_persona_further_on_has(size):
    x = jnp.arange(8.0).reshape(4, 2)
    with jax.set_mesh(make_mesh(size)):
        lend = jax.jit(persona.sharded(lambda shift, _, x: persona.exchange(x, shift)))
        for shift in (1, 3, -1):
            np.testing.assert_array_equal(lend(jnp.int32(shift), x, x), np.roll(x, -shift, 0))
