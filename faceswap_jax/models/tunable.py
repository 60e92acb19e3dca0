"""The tunable decoder: one decoder for all personas, tuned to each by a few numbers (US 12,277,738).

It is the comb's decoder, and grows as that does, but its convolutions belong to all. After each of them follows AdaIN:
every channel of an image is brought to mean 0 and deviation 1 over its pixels, then gets a scale and a shift. These
coefficients say who is shown. They depend on nothing else: what the face does comes through the latent alone, so that
personas can be mixed by mixing their coefficients.

Where the coefficients come from, by `config.model.tuning`:

    persona    a set of dense layers for each persona. Their input would be constant, so that the coefficients
               themselves are the weights.
    code       one dense layer for each convolution, shared by all, fed with a learned code of the persona
    weights    likewise, but at the smallest levels the layers make kernels and biases, in place of AdaIN

The dense layers are affine: to mix codes is to mix coefficients, with weights that sum to 1.

Parameters are of these groups:

    encoder    as of the comb, or of part encoders
    decoder    level_0 .. level_L, kernels alone, and to_rgb_{L-1}, to_rgb_L; levels whose kernels are made are missing
    personas   level_0 .. level_L, coefficients with a leading persona axis; or code
    tuning     level_0 .. level_L, the dense layers that codes are fed to
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.config import at_least, between, check, one_of
from faceswap_jax.models import comb, parts
from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.models.comb import LEAK, MAX_LEVEL, initial_kernels
from faceswap_jax.ops.resample import upsample

EPSILON = 1e-5
"""Added to variances: a channel that is the same everywhere keeps its shift alone, and finite gradients."""

MOST_MADE = 3
"""Levels whose kernels dense layers may make. One more, at 32 px, would copy nine times what is no longer small."""

VARIATION = 0.03
"""Deviation of fresh coefficients, and of fresh kernels relative to their own, from persona to persona (choice)."""

Images = Float[Array, "b*p h w c"]
PerPersona = Float[Array, "p c"]


@dataclass(frozen=True)
class Tuning:
    """How a decoder is tuned to personas.

    Attributes:
        kind: "persona", "code" or "weights", see the head of this file.
        code: length of a persona's code.
        made: from level 0 on, how many levels' kernels the dense layers make; 0 if the kind is not "weights".
    """

    kind: str
    code: int
    made: int

    @property
    def shared(self) -> bool:
        """Whether dense layers belong to all personas."""
        return self.kind != "persona"


def of_images(values: PerPersona, x: Images) -> Float[Array, "b*p 1 1 c"]:
    """Each image's values, from those of the personas, who take turns in a batch."""
    personas, channels = values.shape
    repeated = jnp.broadcast_to(values, (x.shape[0] // personas, personas, channels))
    return repeated.reshape(x.shape[0], 1, 1, channels)


def normalised(x: Images) -> Images:
    """Every channel of every image with mean 0 and deviation 1 over its pixels, in float32."""
    x = x.astype(jnp.float32)
    away = x - x.mean((1, 2), keepdims=True)
    variance = jnp.square(away).mean((1, 2), keepdims=True)
    return away * jax.lax.rsqrt(variance + EPSILON)


def convolve_each(x: Images, kernels: Float[Array, "p k k c f"], padding: str | int) -> Images:
    """Convolves each image with its persona's kernel.

    One product of all pixels' windows, for small images: grouped convolutions are slow on CPUs.
    """
    personas, side, _, channels, features = kernels.shape
    batch = x.shape[0] // personas
    # One pixel spreads over as many as the kernel has: position (i, j) sees the kernel from its other end.
    if x.shape[1] == 1 and padding == side - 1:
        pixel = x.reshape(batch, personas, channels)
        y = jnp.einsum("bpc,phwcf->bphwf", pixel, kernels[:, ::-1, ::-1])
        return y.reshape(x.shape[0], side, side, features)

    h, w = x.shape[1:3]
    before, after = (side - 1) // 2, side // 2
    padded = _padded(_padded(x, before, after, 1), before, after, 2)
    shifted = [padded[:, i : i + h, j : j + w] for i in range(side) for j in range(side)]
    windows = jnp.concatenate(shifted, -1).reshape(batch, personas, h, w, -1)
    matrices = kernels.reshape(personas, -1, features)
    y = jnp.einsum("bphwk,pkf->bphwf", windows, matrices)
    return y.reshape(x.shape[0], h, w, features)


def _padded(x, before, after, axis):
    """Zeros before and behind along an axis, by a form that ONNX has for batches of any size."""
    start = jnp.zeros_like(lax.slice_in_dim(x, 0, before, axis=axis))
    end = jnp.zeros_like(lax.slice_in_dim(x, 0, after, axis=axis))
    return jnp.concatenate([start, x, end], axis)


class TunedConv(comb.ConvLeaky):
    """A convolution with AdaIN (Huang and Belongie 2017) and LeakyReLU.

    The coefficients are variables of the collection "tuning", [p, c].

    A bias would vanish: normalisation takes it away again, or the shift adds to it.
    """

    normalised: bool = True

    @nn.compact
    def __call__(self, x):
        x = self.convolution(bias=False)(x)
        shape = (1, self.features)
        scale = self.variable("tuning", "scale", jnp.ones, shape).value
        shift = self.variable("tuning", "shift", jnp.zeros, shape).value
        if self.normalised:
            x = normalised(x)
        y = of_images(scale, x) * x + of_images(shift, x)
        return nn.leaky_relu(y.astype(self.dtype), LEAK)


class MadeConv(comb.ConvLeaky):
    """A convolution with LeakyReLU. Kernels and biases are variables of the collection "tuning", [p, ...]."""

    @nn.compact
    def __call__(self, x):
        def initial(shape):
            return initial_kernels(self.make_rng("params"), shape)[None]

        shape = (self.kernel, self.kernel, x.shape[-1], self.features)
        kernels = self.variable("tuning", "kernel", initial, shape).value
        bias = self.variable("tuning", "bias", jnp.zeros, (1, self.features)).value

        x = upsample(x) if self.upsampled else x
        x = convolve_each(x, kernels.astype(self.dtype), self.padding)
        y = x + of_images(bias, x).astype(self.dtype)
        return nn.leaky_relu(y, LEAK)


class Decoder(comb.Decoder):
    """Latents [b*p, latent] of personas who take turns, to images.

    Level 0 is scaled and shifted, not normalised. Its 4 x 4 pixels come from one latent, which is often nearly the same
    on all of them. To divide by their deviation would magnify what is nothing, and forget how large the latent is, and
    with it how strong an edit is.
    """

    made: int = 0

    def conv_of(self, level: int) -> Callable[..., nn.Module]:
        """What makes the convolutions of a level."""
        if level < self.made:
            return MadeConv
        return partial(TunedConv, normalised=level > 0)

    def folds(self, level: int) -> bool:
        """Never: what tunes a convolution knows its channels."""
        return False


def init_dense(key: PRNGKeyArray, code: int, results: PyTree) -> Params:
    """A dense layer that makes `results`, a tree of arrays, of a code of zeros, and something near them of others."""
    leaves, structure = jax.tree.flatten(results)
    keys = jax.random.split(key, len(leaves))
    kernels = []
    for leaf_key, leaf in zip(keys, leaves, strict=True):
        # Scales and shifts are about 1 in size, kernels far smaller.
        size = jnp.std(leaf) if leaf.ndim > 1 else 1.0
        draws = jax.random.normal(leaf_key, (code, *leaf.shape))
        kernels.append(VARIATION * size / math.sqrt(code) * draws)
    return {"kernel": jax.tree.unflatten(structure, kernels), "bias": results}


def apply_dense(weights: Params, codes: Float[Array, "p k"]) -> PyTree:
    """What a dense layer makes of codes: a tree of [p, ...]."""

    def make(kernel, bias):
        return jnp.tensordot(codes, kernel, 1) + bias

    return jax.tree.map(make, weights["kernel"], weights["bias"])


# Compiled: the networks are run for the shapes of their weights, and XLA drops what they compute.
@partial(jax.jit, static_argnums=0)
def init(network: "Network", key: PRNGKeyArray) -> Params:
    """Fresh parameters by group; see the module's docstring."""
    encoder_key, decoder_key, codes_key, tuning_key = jax.random.split(key, 4)
    shape = network.front.config
    z = jnp.zeros((1, shape.latent))
    variables = network.decoder.init(decoder_key, z, jnp.ones(()))
    # Without the persona axis
    coefficients = jax.tree.map(lambda leaf: leaf[0], variables["tuning"])
    params = {
        "encoder": network.front.init_encoder(encoder_key),
        "decoder": variables["params"],
    }
    tuning = network.tuning
    if not tuning.shared:
        stack = partial(jnp.repeat, repeats=shape.personas, axis=0)
        own = jax.tree.map(lambda leaf: stack(leaf[None]), coefficients)
        return params | {"personas": own}

    codes = jax.random.normal(codes_key, (shape.personas, tuning.code))
    layers = {}
    for name, results in coefficients.items():
        key = jax.random.fold_in(tuning_key, comb.level_of(name))
        layers[name] = init_dense(key, tuning.code, results)
    return params | {"personas": {"code": {"values": codes}}, "tuning": layers}


@dataclass(frozen=True)
class Network(Autoencoder):
    """The tunable decoder as the autoencoder task takes it.

    Attributes:
        front: the network whose encoder stands before the decoder; it has the decoder's shape, too.
        tuning: how the decoder is tuned.
    """

    front: comb.Network
    tuning: Tuning
    memory_advice: ClassVar[str] = comb.Network.memory_advice
    # Of coefficients or of codes, which comes to the same; see the head of this file.
    mixes: ClassVar[bool] = True
    last_levels: ClassVar[range] = range(MAX_LEVEL + 1)

    @classmethod
    def build(cls, config, level, personas, dtype):
        """The network of `config.model`."""
        c = config.model
        demands = {
            "model.tuning": one_of("persona", "code", "weights"),
            "model.code": at_least(1),
            "model.made": between(1, MOST_MADE),
        }
        check(config, demands)
        encoding = parts.Network if c.parts else comb.Network
        made = c.made if c.tuning == "weights" else 0
        return cls(
            front=encoding.build(config, level, personas, dtype),
            tuning=Tuning(c.tuning, c.code, made),
        )

    @property
    def inputs(self):
        """What the encoder reads of a face."""
        return self.front.inputs

    @property
    def resolution(self):
        """Side of the images in pixels."""
        return self.front.resolution

    @property
    def latent(self):
        """Length of the latents."""
        return self.front.latent

    @property
    def parts(self):
        """Length of each part of the latents."""
        return self.front.parts

    @property
    def multiplications(self):
        """Multiplications of one image in the encoder."""
        return self.front.multiplications

    @property
    def decoder(self) -> Decoder:
        """The decoder's module."""
        return Decoder(self.front.config, made=self.tuning.made)

    def init(self, key):
        """Fresh parameters."""
        return init(self, key)

    def encode(self, shared, inputs, alpha):
        """Latents of faces."""
        return self.front.encode(shared, inputs, alpha)

    def decode(self, shared, own, z, alpha):
        """Images of one persona, or of a mix."""
        stacked = jax.tree.map(lambda leaf: leaf[None], own)
        return self.decode_each(shared, stacked, z[None], alpha)[0]

    def decode_each(self, shared, own, z, alpha):
        """Images of several personas: one batch, for the decoder is the same."""
        personas, batch, _ = z.shape
        # The batch leads, so that its sharding over data needs no gather.
        merged = z.swapaxes(0, 1).reshape(batch * personas, -1)
        variables = {"params": shared["decoder"], "tuning": self.coefficients(shared, own)}
        y = self.decoder.apply(variables, merged, alpha)
        return y.reshape(batch, personas, *y.shape[1:]).swapaxes(0, 1)

    def coefficients(self, shared: Params, own: Params) -> PyTree:
        """Coefficients of personas, [p, ...], by level, convolution and name, from their stacked own weights."""
        if not self.tuning.shared:
            return own
        codes = own["code"]["values"]
        return {name: apply_dense(layer, codes) for name, layer in shared["tuning"].items()}

    def adopted(self, given, numbers):
        """Weights out of a trained network's; of one with other decoders, the encoder."""
        if "decoder" not in given:
            return {"encoder": given["encoder"]}
        return super().adopted(given, numbers)
