"""A small state with everything that a state may hold, its config, and damage to what is saved of it."""

import shutil

import jax
import jax.numpy as jnp
import optax

from faceswap_jax import config as configs
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State


def config(**run):
    c = configs.defaults()
    c.task, c.width = "comb", 0.5
    c.run.update(run)
    return c


def layout(step, make=None, persona=1):
    return rules.sharded(jax.eval_shape(make or make_state), make_mesh(persona))


def make_state(step=0) -> State:
    key = jax.random.key(7)
    params = {
        "shared": {"w": jax.random.normal(key, (5, 3))},
        "personas": {"b": jnp.arange(8.0).reshape(4, 2) + step},
    }
    opt = {name: optax.scale_by_adam().init(group) for name, group in params.items()}
    extras = {"half": jnp.ones(4, jnp.bfloat16), "count": jnp.int32(step)}
    return State(jnp.int32(step), key, params, opt, extras)


def names(folder) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


def largest(folder):
    """The file that holds most of the numbers."""
    return max((p for p in folder.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)


def empty(folder):
    shutil.rmtree(folder)
    folder.mkdir()


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
