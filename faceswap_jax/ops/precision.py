"""Types of the arithmetic. Parameters, optimizer moments and losses are float32 always."""

import jax.numpy as jnp

from faceswap_jax.errors import InputError

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16}


def dtype(name: str) -> jnp.dtype:
    """The type of activations for `config.precision`."""
    if name not in DTYPES:
        raise InputError(f"config.precision is '{name}'; choose one of {', '.join(DTYPES)}.")
    return DTYPES[name]
