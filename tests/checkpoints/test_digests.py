"""Digests tell states apart."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding
from jax.sharding import PartitionSpec as P

from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from tests.support.states import make_state


def test_digests_tell_every_bit_and_no_layout():
    state, mesh = make_state(), make_mesh(4)
    same = digests(state)
    assert digests(jax.device_put(state, rules.shardings(jax.eval_shape(make_state), mesh))) == same
    assert digests(jax.device_put(state, NamedSharding(mesh, P()))) == same
    w = np.asarray(state.params["shared"]["w"])
    flipped = w.copy()
    flipped.view(np.uint32)[3, 2] ^= 1
    swapped = w.copy()
    swapped[[0, 1]] = swapped[[1, 0]]
    assert (w != swapped).any()
    for other in (flipped, swapped, -w):
        changed = replace(state, params=state.params | {"shared": {"w": jnp.asarray(other)}})
        assert digests(changed) != same
    assert digests(replace(state, extras=state.extras | {"half": -state.extras["half"]})) != same
    assert digests(replace(state, key=jax.random.key(8))) != same
