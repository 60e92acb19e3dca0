"""Types of the arithmetic. Parameters, optimizer moments and losses are float32 always."""

import jax.numpy as jnp
from jaxtyping import Array, Float, UInt8

from faceswap_jax.errors import InputError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def dtype(name: str) -> jnp.dtype:
    """The type of activations for `config.precision`.

    Raises:
        InputError: there is no such type.
    """
    if name not in DTYPES:
        raise InputError(f"config.precision is '{name}'; choose one of {', '.join(DTYPES)}.")
    return DTYPES[name]


def from_bytes(x: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """0..255 as 0..1, float32."""
    return x.astype(jnp.float32) / 255


def to_bytes(x: Float[Array, "..."]) -> UInt8[Array, "..."]:
    """0..1 as 0..255, rounded."""
    return jnp.round(x * 255).astype(jnp.uint8)
