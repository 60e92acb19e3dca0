"""A network of the autoencoder family, little like the comb: it reads landmarks, and personas are codes that mix."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from faceswap_jax.models.autoencoder import Autoencoder

LATENT = 6


@dataclass(frozen=True)
class Network(Autoencoder):
    """One matrix to encode images and landmarks, one to decode latents and codes."""

    level: int
    personas: int
    inputs = ("image", "landmarks")
    mixes = True
    last_levels = range(9)
    multiplications = 1.0
    latent = LATENT

    @classmethod
    def build(cls, config, level, personas, dtype):
        return cls(level, personas)

    @property
    def resolution(self):
        return 4 * 2**self.level

    def init(self, key):
        values = self.resolution**2 * 3
        encoder_key, decoder_key, codes_key = jax.random.split(key, 3)
        draw = jax.nn.initializers.lecun_normal()
        return {
            "encoder": {f"matrix_{self.level}": draw(encoder_key, (values + 136, LATENT))},
            "decoder": {f"matrix_{self.level}": draw(decoder_key, (2 * LATENT, values))},
            "personas": {"code": jax.random.normal(codes_key, (self.personas, LATENT))},
        }

    def encode(self, shared, inputs, alpha):
        flat = [inputs[name].reshape(inputs[name].shape[0], -1) for name in self.inputs]
        return jnp.concatenate(flat, 1) @ shared["encoder"][f"matrix_{self.level}"]

    def decode(self, shared, own, z, alpha):
        codes = jnp.broadcast_to(own["code"], z.shape)
        y = jnp.concatenate([z, codes], 1) @ shared["decoder"][f"matrix_{self.level}"]
        return jax.nn.sigmoid(y).reshape(-1, self.resolution, self.resolution, 3)
