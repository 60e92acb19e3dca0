"""Layers with an equalised learning rate, of which StyleGAN2's networks are made (Karras et al. 2018).

Stored weights have a variance of 1. What their layer expects of them, by the number of its inputs, is a factor where
they are used: so a step of the optimizer is as large, relative to the weights, in all layers.
"""

import math
from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from faceswap_jax.ops.convolution import NHWC, conv_general_dilated

LEAK = 0.2  # slope of LeakyReLU below zero
GAIN = math.sqrt(2)  # about what LeakyReLU takes from the deviation

Convolve = Callable[[Array, Array], Array]

STANDARD = nn.initializers.normal(1.0)


def activate(x: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    """LeakyReLU that keeps the deviation."""
    return GAIN * nn.leaky_relu(x, LEAK)


def scaled(kernel: Float[Array, "k k c f"]) -> Float[Array, "k k c f"]:
    """A kernel as its convolution expects it."""
    return kernel / math.sqrt(kernel[..., 0].size)


def plain(x: Float[Array, "b h w c"], kernel: Float[Array, "3 3 c f"]) -> Float[Array, "b h w f"]:
    """The 'SAME' convolution."""
    kernel = kernel.astype(x.dtype)
    return conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=NHWC)


class Dense(nn.Module):
    """A fully connected layer; of images, a 1 x 1 convolution.

    Attributes:
        features: of the result.
        rate: of learning, relative to that of other layers.
        bias: what it begins with; None for none.
        dtype: type of the arithmetic.
    """

    features: int
    rate: float = 1.0
    bias: float | None = 0.0
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "*n c"]) -> Float[Array, "*n f"]:
        inputs = x.shape[-1]
        init = nn.initializers.normal(1 / self.rate)
        kernel = self.param("kernel", init, (inputs, self.features))
        kernel = kernel * (self.rate / math.sqrt(inputs))
        y = jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype))
        if self.bias is None:
            return y
        bias = self.param("bias", nn.initializers.constant(self.bias), (self.features,))
        return y + (self.rate * bias).astype(self.dtype)


class Conv(nn.Module):
    """A 3 x 3 convolution of images.

    Attributes:
        features: of the result.
        convolve: what is done with images and kernel.
        dtype: type of the arithmetic.
    """

    features: int
    convolve: Convolve = plain
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b oh ow f"]:
        kernel = self.param("kernel", STANDARD, (3, 3, x.shape[-1], self.features))
        bias = self.param("bias", nn.initializers.zeros, (self.features,))
        y = self.convolve(x.astype(self.dtype), scaled(kernel))
        return y + bias.astype(self.dtype)
