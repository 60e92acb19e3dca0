"""What a network of the autoencoder family is: one encoder, and P personas that its latents are decoded as.

`tasks/autoencoder.py` trains any of them and names none. A network is a module with a class `Network`, which
`config.model.network` names: one of this package, such as "comb", or one of yours, such as "my_package.module".
"""

import abc
from collections.abc import Mapping, Sequence
from typing import Self

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

Params = Mapping[str, PyTree]
"""Weights by group and module, {"encoder": {"level_0": ...}, ..., "personas": {...}}."""

WHOLE = "face"
"""Name of the latents' only part, where one encoder sees all."""


class Autoencoder(abc.ABC):
    """The shape of a network at one level of its growth, and its pure functions. It holds no weights.

    Parameters are {group: {module: weights}}. In the group "personas" every leaf has a leading persona axis; all other
    groups belong to all personas. A module that stays when the network grows keeps its name.

    Attributes:
        memory_advice: how to make it need less memory.
        mixes: whether mixed own weights of personas show mixed personas.
        last_levels: at which of the growth levels a training may end.
        inputs: what `encode` reads of a face: "image", and perhaps "landmarks", in pixels of the image.
        resolution: side of the images in pixels.
        latent: length of the latents.
        multiplications: of one image's way through the encoder, for the estimate of the time.
    """

    memory_advice: str = "lower config.model.width"
    mixes: bool = False
    last_levels: range
    inputs: Sequence[str] = ("image",)
    resolution: int
    latent: int
    multiplications: float

    @property
    def parts(self) -> Mapping[str, int]:
        """Length of each part of the latents, by its name, in their order."""
        return {WHOLE: self.latent}

    @classmethod
    @abc.abstractmethod
    def build(
        cls, config: ml_collections.ConfigDict, level: int, personas: int, dtype: jnp.dtype
    ) -> Self:
        """The network at a growth level.

        Args:
            config: of an experiment, of which the network reads `config.model`.
            level: growth level; images are 4 * 2**level pixels wide.
            personas: how many there are.
            dtype: type of the arithmetic; parameters are float32 always.

        Raises:
            InputError: a value makes no network; the sentence names its field.
        """

    @abc.abstractmethod
    def init(self, key: PRNGKeyArray) -> Params:
        """Fresh parameters."""

    @abc.abstractmethod
    def encode(
        self, shared: Params, inputs: Mapping[str, Array], alpha: Float[Array, ""]
    ) -> Float[Array, "b latent"]:
        """Latents of faces.

        Args:
            shared: the weights that `split` gives first.
            inputs: what `inputs` names, [b, ...]; images in [0, 1].
            alpha: fade-in gain of the newest level, 0 to 1.
        """

    @abc.abstractmethod
    def decode(
        self, shared: Params, own: Params, z: Float[Array, "b latent"], alpha: Float[Array, ""]
    ) -> Float[Array, "b h w 3"]:
        """Images in [0, 1] of one persona, whose own weights carry no persona axis."""

    def decode_each(
        self, shared: Params, own: Params, z: Float[Array, "p b latent"], alpha: Float[Array, ""]
    ) -> Float[Array, "p b h w 3"]:
        """Images in [0, 1] of several personas, whose own weights are stacked as their latents are.

        Unrolled: a vmap over decoders would be one grouped convolution, for which XLA gathers all weights on every
        device.
        """
        images = []
        for p in range(len(z)):
            images.append(self.decode(shared, persona(own, p), z[p], alpha))
        return jnp.stack(images)

    def split(self, params: Params) -> tuple[Params, Params]:
        """The weights that all personas share, and the stacked ones of their own."""
        shared = {group: modules for group, modules in params.items() if group != "personas"}
        return shared, params["personas"]

    def mix(self, own: Params, weights: Float[Array, "p"]) -> Params:
        """Own weights, without the persona axis, that `decode` shows a persona with, or a mix of some.

        Args:
            own: the stacked weights that `split` gives second.
            weights: of each persona in the mix; if the network shows no mixes, 1 of one of them and 0 of the others.
        """
        if not self.mixes:
            return persona(own, jnp.argmax(weights))

        def mixed(leaf):
            # Not a product of matrices, which some devices round: a persona alone is to stay so to the bit.
            return (weights.reshape(-1, *[1] * (leaf.ndim - 1)) * leaf).sum(0)

        return jax.tree.map(mixed, own)

    def adopted(self, given: Params, numbers: Sequence[int | None]) -> Params:
        """Weights of this network out of a trained one's, which may have other personas; NumPy arrays.

        Args:
            given: of the trained network.
            numbers: of each of this network's personas in the other; None for a new one, which begins as the mean.
        """

        def own(leaf):
            mean = leaf.mean(0)
            return np.stack([mean if n is None else leaf[n] for n in numbers])

        return {**given, "personas": jax.tree.map(own, given["personas"])}


def persona(own: Params, number: int | Array) -> Params:
    """One persona's own weights out of the stacked ones."""
    return jax.tree.map(lambda leaf: leaf[number], own)


def grow(old: Params, fresh: Params) -> Params:
    """Modules of a grown network: what `old`, of the level below, has learned, and `fresh` where it has nothing.

    Serves whatever is kept by group and module: weights, and states of their optimizers.
    """
    grown = {}
    for group, modules in fresh.items():
        grown[group] = {name: old[group].get(name, new) for name, new in modules.items()}
    return grown
