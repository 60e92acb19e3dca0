"""Part encoders: eyes, mouth, and what remains of the face, each with an encoder of its own (US 12,277,738).

A part is a window around its landmarks, of a fixed width, seen closer than the face is. What remains is the face with
grey in the place of these windows. The latents, in the order of the parts and then the remainder's, are one: decoders
are those of the comb network.

Small parts that move much, such as pupils, get weights and latents that nothing else needs: measured on puppets, an
encoder of the whole face at 64 px had learned nothing of where eyes look up or down.

Modules of the group "encoder" are named after the part, then as those of the comb's encoder: `left_eye_level_3`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from faceswap_jax.config import Demand, at_least, check
from faceswap_jax.errors import InputError
from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH, RIGHT_EYE
from faceswap_jax.models import comb
from faceswap_jax.models.autoencoder import Params
from faceswap_jax.models.comb import CombConfig
from faceswap_jax.ops.resample import downsample
from faceswap_jax.ops.windows import window, without

REMAINDER = "remainder"


class Part(NamedTuple):
    """A window of the face.

    Attributes:
        points: numbers of the landmarks that it is around.
        width: of the window, in image widths.
    """

    points: tuple[int, ...]
    width: float


PARTS = {
    "left_eye": Part((*LEFT_EYE,), 0.3),
    "right_eye": Part((*RIGHT_EYE,), 0.3),
    "eyes": Part((*RIGHT_EYE, *LEFT_EYE), 0.55),
    "mouth": Part((*MOUTH,), 0.45),
}
"""By their names in `config.model.parts`. In crops aligned by the eyes, windows of eyes hold the brows, too."""


@dataclass(frozen=True)
class Encoders:
    """Shape of the part encoders.

    Attributes:
        parts: names of the parts, in the order of their latents.
        part: shape of a part's encoder, which sees the part in half as many pixels as the face has.
        remainder: shape of the encoder of what remains.
    """

    parts: tuple[str, ...]
    part: CombConfig
    remainder: CombConfig

    @property
    def latents(self) -> dict[str, int]:
        """Length of the latents of each part, in their order."""
        return {name: config.latent for name, config in self.of_each().items()}

    def of_each(self) -> dict[str, CombConfig]:
        """Shape of every encoder, in the order of the latents."""
        return dict.fromkeys(self.parts, self.part) | {REMAINDER: self.remainder}


def init(encoders: Encoders, key: PRNGKeyArray) -> Params:
    """Fresh weights of all encoders."""
    modules = {}
    keys = jax.random.split(key, len(encoders.parts) + 1)
    for (name, config), key in zip(encoders.of_each().items(), keys, strict=True):
        weights = comb.init_encoder(config, key)
        modules |= {f"{name}_{module}": weight for module, weight in weights.items()}
    return modules


def encode(
    encoders: Encoders,
    modules: Params,
    x: Float[Array, "b h w 3"],
    landmarks: Float[Array, "b 68 2"],
    alpha: Float[Array, ""] | float = 1.0,
) -> Float[Array, "b latent"]:
    """Latents of aligned crops in [0, 1].

    Args:
        encoders: their shape.
        modules: their weights.
        x: crops.
        landmarks: (x, y) in pixels of the crops.
        alpha: fade-in gain of the newest level.
    """
    seen = views(encoders, x, landmarks)
    # What the level below saw before the network grew: the same of smaller crops
    below = views(encoders, downsample(x), (landmarks - 0.5) / 2, closer=0.5)

    latents = []
    for name, config in encoders.of_each().items():
        weights = _of_part(modules, name)
        latents.append(comb.encode(config, weights, seen[name], alpha, below[name]))
    return jnp.concatenate(latents, -1)


def views(
    encoders: Encoders,
    x: Float[Array, "b h w 3"],
    landmarks: Float[Array, "b 68 2"],
    closer: float = 1.0,
) -> dict[str, Float[Array, "b s s 3"]]:
    """What each encoder sees of crops.

    Args:
        encoders: their shape.
        x: crops.
        landmarks: (x, y) in pixels of the crops.
        closer: how much larger than the encoders' are the views.
    """
    side = int(closer * encoders.part.resolution)
    seen = {}
    remains = x
    for name in encoders.parts:
        part = PARTS[name]
        centre = landmarks[:, jnp.array(part.points)].mean(1)
        width = part.width * x.shape[1]
        seen[name] = window(x, centre, width, side)
        remains = without(remains, centre, width)
    return seen | {REMAINDER: remains}


def _of_part(modules: Params, name: str) -> Params:
    """The modules of one encoder, by their names there."""
    start = f"{name}_"
    return {
        module.removeprefix(start): weights
        for module, weights in modules.items()
        if module.startswith(start)
    }


# Compiled: the comb's encoder is run for its shapes and dropped.
@partial(jax.jit, static_argnums=(0, 1))
def _init_network(config: CombConfig, encoders: Encoders, key: PRNGKeyArray) -> Params:
    decoders_key, encoders_key = jax.random.split(key)
    params = comb.init(config, decoders_key)
    return params | {"encoder": init(encoders, encoders_key)}


@dataclass(frozen=True)
class Network(comb.Network):
    """Part encoders before the comb's decoders, as the autoencoder task takes them."""

    encoders: Encoders
    inputs: ClassVar[Sequence[str]] = ("image", "landmarks")

    @classmethod
    def build(cls, config, level, personas, dtype):
        """The network of `config.model`."""
        c = config.model
        demands = {
            "model.parts": Demand(_parts, f"choose of {', '.join(PARTS)}, each once"),
            "model.part_latent": at_least(1),
        }
        check(config, demands)
        if level == 0:
            raise InputError(
                "config.level_steps begins with level 0, whose faces of 4 px have no parts; begin with level 1, as in "
                '--config.level_steps="0,1000,1000".'
            )
        whole = comb.Network.build(config, level, personas, dtype).config
        part = replace(
            whole,
            level=level - 1,
            channels=comb.channels_of(config, "part_channels", level - 1),
            latent=c.part_latent,
        )
        encoders = Encoders(tuple(c.parts), part, remainder=whole)
        return cls(replace(whole, latent=sum(encoders.latents.values())), encoders)

    @property
    def parts(self):
        """Length of each part of the latents."""
        return self.encoders.latents

    @property
    def multiplications(self):
        """Multiplications of one image in the encoders."""
        return sum(map(comb.multiplications, self.encoders.of_each().values()))

    def init(self, key):
        """Fresh parameters."""
        return _init_network(self.config, self.encoders, key)

    def init_encoder(self, key):
        """Fresh modules of the group "encoder"."""
        return init(self.encoders, key)

    def encode(self, shared, inputs: Mapping[str, Array], alpha):
        """Latents of images."""
        return encode(self.encoders, shared["encoder"], inputs["image"], inputs["landmarks"], alpha)


def _parts(names: Sequence[str]) -> bool:
    return len(names) > 0 and set(names) <= PARTS.keys() and len(set(names)) == len(names)
