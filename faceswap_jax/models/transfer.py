"""Transfer of pose and expression in a generator's latent space W+ (thesis, 2023): g = G(M(E_m(s), E_i(t))).

E_m, the motion encoder, reads a driving picture; E_i, a frozen inversion, tells the styles of the picture that shows
who; M, the mapping, is one linear layer from both to the styles of the result. Its layout is not stated: a layer for
each style, 1024 to 512 at full size, is a choice, and one layer for all an option.

Parameters are {"motion": of models/psp.py, "mapping": {"kernel", "bias"}}.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models import psp
from faceswap_jax.models.psp import EncoderConfig
from faceswap_jax.models.restyle import ReStyleConfig

Styles = Float[Array, "b styles latent"]
Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class TransferConfig:
    """Shapes of all networks.

    Attributes:
        motion: of the motion encoder.
        inversion: of the frozen inversion, and of the generator.
        joined: whether one layer maps all styles together, not each by its own.
    """

    motion: EncoderConfig
    inversion: ReStyleConfig
    joined: bool = False


def init(config: TransferConfig, key: PRNGKeyArray) -> tuple[Params, psp.Statistics]:
    """Fresh parameters, and the statistics of the motion encoder.

    The mapping begins with the styles of who is shown as they are (choice): the first images show their inversions.
    """
    motion_key, mapping_key = jax.random.split(key)
    motion, statistics = psp.init(config.motion, motion_key)
    styles, latent = config.motion.styles, config.motion.latent
    # Layers, and the length of what each maps
    count, length = (1, styles * latent) if config.joined else (styles, latent)
    of_motion = jax.random.normal(mapping_key, (count, length, length)) / math.sqrt(length)
    as_it_is = jnp.broadcast_to(jnp.eye(length), (count, length, length))
    mapping = {
        "kernel": jnp.concatenate([of_motion, as_it_is], 1),
        "bias": jnp.zeros((count, length)),
    }
    return {"motion": motion, "mapping": mapping}, statistics


def styles_of(config: TransferConfig, params: Params, motion: Styles, shown: Styles) -> Styles:
    """The styles of somebody with a motion.

    Args:
        config: shapes.
        params: of the mapping.
        motion: what the motion encoder says of driving pictures.
        shown: styles of the people to show.
    """
    kernel, bias = params["mapping"]["kernel"], params["mapping"]["bias"]
    # [batch, layer, length]
    both = [styles.reshape(styles.shape[0], len(kernel), -1) for styles in (motion, shown)]
    mapped = jnp.einsum("bnk,nkl->bnl", jnp.concatenate(both, -1), kernel) + bias
    return mapped.reshape(motion.shape)
