"""Two networks for one space: a sound and the mouth that makes it point into near directions.

After SyncNet (Chung and Zisserman, Out of Time, 2016), small: the mouth is one frame, not five; the sound is told by
the 80 numbers of `faces.mel`, which a perceptron of two hidden layers reads. Parameters are {network: weights}: sound,
mouth.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.oracle import Tower

Params = Mapping[str, PyTree]

# Of logarithms of energies, about: from silence, -14, to a loud voice, 3
MIDDLE, SPREAD = -6.0, 4.0


@dataclass(frozen=True)
class SyncConfig:
    """Shape of both networks.

    Attributes:
        heard: numbers that tell a sound.
        hidden: features of each hidden layer of the network that hears.
        side: of the images of mouths in pixels; a multiple of 2 * 2**(number of levels).
        stem: channels at half of the side.
        levels: channels of each further level.
        squeeze: channels of the last level when it is laid flat.
        embedding: length of the embeddings.
    """

    heard: int
    hidden: int = 256
    side: int = 32
    stem: int = 24
    levels: tuple[int, ...] = (48, 64)
    squeeze: int = 16
    embedding: int = 256


class Sound(nn.Module):
    """Sounds to embeddings."""

    config: SyncConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b heard"]) -> Float[Array, "b embedding"]:
        x = (x - MIDDLE) / SPREAD
        for i in range(2):
            layer = nn.Dense(
                self.config.hidden, kernel_init=nn.initializers.he_normal(), name=f"hidden_{i}"
            )
            x = nn.relu(layer(x))
        return nn.Dense(self.config.embedding, name="embed")(x)


class Mouth(nn.Module):
    """Images of mouths to embeddings."""

    config: SyncConfig

    @nn.compact
    def __call__(self, x: Float[Array, "b s s 3"]) -> Float[Array, "b embedding"]:
        c = self.config
        x = Tower(c.stem, c.levels, c.squeeze, jnp.float32, name="tower")(2 * x - 1)
        return nn.Dense(c.embedding, name="embed")(x)


def init(config: SyncConfig, key: PRNGKeyArray) -> Params:
    """Fresh parameters of both."""
    sound_key, mouth_key = jax.random.split(key)
    sounds = jnp.zeros((1, config.heard))
    mouths = jnp.zeros((1, config.side, config.side, 3))
    return {
        "sound": Sound(config).init(sound_key, sounds)["params"],
        "mouth": Mouth(config).init(mouth_key, mouths)["params"],
    }


def hear(
    config: SyncConfig, params: PyTree, x: Float[Array, "b heard"]
) -> Float[Array, "b embedding"]:
    """Embeddings of sounds, of any length.

    Args:
        config: shape of the network.
        params: its weights, `sound`.
        x: logarithms of energies, as `mel.log_mel` gives them.
    """
    return Sound(config).apply({"params": params}, x)


def look(
    config: SyncConfig, params: PyTree, x: Float[Array, "b s s 3"]
) -> Float[Array, "b embedding"]:
    """Embeddings of mouths in [0, 1], of any length; `params` are the weights `mouth`."""
    return Mouth(config).apply({"params": params}, x)
