"""MediaPipe's two networks from an image of a face to its blendshapes.

The mesh network is a stack of residual blocks with depthwise convolutions: an image of 256 px becomes points of the
face. A small MLP-Mixer (Tolstikhin et al., NeurIPS 2021) reads from these points what the face does; a token of its own
gathers the answer. All is float32.

Parameters are {"mesh", "mixer": weights}.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.iresnet import PReLU
from faceswap_jax.ops.resample import max_pooled
from faceswap_jax.ops.windows import window

SIDE = 256
"""Of the images that the mesh network reads, pixels."""

POINTS = 146
"""Of the mesh's 478 points those that the mixer reads: no others are computed."""

SCORES = 52

STAGES = (16, 32, 64, 128, 128, 128, 128)
"""Channels of the mesh network's stages; each halves the side, and the last has 2 x 2 pixels."""

BLOCKS = 4  # of each stage, besides what halves
MIXINGS = 4

Params = Mapping[str, PyTree]


@dataclass(frozen=True)
class BlendshapesConfig:
    """Where in aligned crops the mesh network looks.

    Attributes:
        x: middle of a square, as a fraction of the crop's side.
        y: likewise, from the top.
        width: of the square, likewise; it may reach beyond the crop.
    """

    x: float
    y: float
    width: float


class Block(nn.Module):
    """Narrow, look at the neighbours, widen; and the input.

    It may halve the side and have twice the channels.
    """

    channels: int
    halves: bool = False

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b oh ow channels"]:
        narrow = self.channels // 2
        square = 2 if self.halves else 1
        h = nn.Conv(narrow, (square, square), square, padding="VALID", name="narrow")(x)
        h = PReLU(name="narrow_slope")(h)
        h = Depthwise(name="spread")(h)
        h = nn.Conv(self.channels, (1, 1), name="widen")(h)
        if self.halves:
            x = max_pooled(x)
        # New channels begin with nothing.
        if x.shape[-1] < self.channels:
            x = jnp.concatenate([x, jnp.zeros_like(x)], -1)
        return PReLU(name="slope")(x + h)


class Depthwise(nn.Module):
    """A 3 x 3 convolution of each channel by itself.

    As nine products, which XLA fuses: on a CPU the whole mesh network takes 1/7 of the time that it takes with XLA's
    grouped convolutions, and its gradient 1/4.
    """

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        _, height, width, channels = x.shape
        kernel = self.param("kernel", nn.initializers.lecun_normal(), (3, 3, channels))
        bias = self.param("bias", nn.initializers.zeros, (channels,))
        padded = _bordered(_bordered(x, 1), 2)
        total = bias
        for row in range(3):
            for column in range(3):
                seen = padded[:, row : row + height, column : column + width]
                total = total + kernel[row, column] * seen
        return total


class Mesh(nn.Module):
    """Images in [0, 1] to points (x, y) in their pixels, counted from the corner."""

    @nn.compact
    def __call__(self, x: Float[Array, "b 256 256 3"]) -> Float[Array, "b 146 2"]:
        x = nn.Conv(STAGES[0], (3, 3), 2, name="stem")(x)
        x = PReLU(name="stem_slope")(x)
        for i, channels in enumerate(STAGES):
            if i > 0:
                x = Block(channels, halves=True, name=f"halving_{i}")(x)
            for j in range(BLOCKS):
                x = Block(channels, name=f"block_{i}_{j}")(x)
        x = x.reshape(x.shape[0], -1)
        return nn.Dense(2 * POINTS, name="points")(x).reshape(-1, POINTS, 2)


class Mixer(nn.Module):
    """Points to scores between 0 and 1."""

    @nn.compact
    def __call__(self, points: Float[Array, "b 146 2"]) -> Float[Array, "b 52"]:
        # Place and size of a face play no role.
        x = points - points.mean(1, keepdims=True)
        size = jnp.linalg.norm(x, axis=-1).mean(1)
        x = x / (2 * size[:, None, None])

        # Tokens with channels: one more token is the answer's.
        x = _along_tokens(nn.Dense(96, name="tokens"), x)
        x = nn.Dense(64, name="channels")(x)
        answer = self.param("answer", nn.initializers.zeros, (64,))
        answer = jnp.broadcast_to(answer, (x.shape[0], 1, 64))
        x = jnp.concatenate([answer, x], 1)

        for i in range(MIXINGS):
            h = _norm(f"token_norm_{i}")(x)
            x = x + _along_tokens(MLP(384, name=f"token_mlp_{i}"), h)
            h = _norm(f"channel_norm_{i}")(x)
            x = x + MLP(256, name=f"channel_mlp_{i}")(h)
        return nn.sigmoid(nn.Dense(SCORES, name="scores")(x[:, 0]))


class MLP(nn.Module):
    """Two layers, back to as many channels as there were."""

    hidden: int

    @nn.compact
    def __call__(self, x: Float[Array, "b n c"]) -> Float[Array, "b n c"]:
        h = nn.relu(nn.Dense(self.hidden, name="hidden")(x))
        return nn.Dense(x.shape[-1], name="out")(h)


def init(key: PRNGKeyArray) -> Params:
    """Fresh parameters."""
    mesh, mixer = jax.random.split(key)
    return {
        "mesh": Mesh().init(mesh, jnp.zeros((1, SIDE, SIDE, 3)))["params"],
        "mixer": Mixer().init(mixer, jnp.zeros((1, POINTS, 2)))["params"],
    }


def apply(
    config: BlendshapesConfig, params: Params, crops: Float[Array, "b h w 3"]
) -> Float[Array, "b 52"]:
    """Blendshapes, 0 to 1, of aligned square crops in [0, 1], in MediaPipe's order."""
    return scores(params, points(params, view(config, crops)))


def view(config: BlendshapesConfig, crops: Float[Array, "b h w 3"]) -> Float[Array, "b 256 256 3"]:
    """What the mesh network sees of aligned square crops; beyond their border are the outermost pixels."""
    batch, side = crops.shape[:2]
    # Pixels' centres lie at integers.
    middle = side * jnp.array([config.x, config.y]) - 0.5
    centres = jnp.broadcast_to(middle, (batch, 2))
    return window(crops, centres, side * config.width, SIDE)


def points(params: Params, views: Float[Array, "b 256 256 3"]) -> Float[Array, "b 146 2"]:
    """What the mixer reads of the mesh, (x, y) in the view's pixels, counted from its corner."""
    with _precise():
        return Mesh().apply({"params": params["mesh"]}, views)


def scores(params: Params, points: Float[Array, "b 146 2"]) -> Float[Array, "b 52"]:
    """Blendshapes of points, which may have any place and size but are upright."""
    with _precise():
        return Mixer().apply({"params": params["mixer"]}, points)


def _precise():
    """Products in float32. With a TPU's default, bfloat16, points would move by 0.4 px and scores by 0.04."""
    return jax.default_matmul_precision("highest")


def _bordered(x: Float[Array, "b h w c"], axis: int) -> Array:
    """Images with zeros before and behind them along an axis.

    Not jnp.pad: it also joins nothing to the batch, which ONNX does not understand.
    """
    border = jnp.zeros_like(lax.slice_in_dim(x, 0, 1, axis=axis))
    return jnp.concatenate([border, x, border], axis)


def _along_tokens(layer: nn.Module, x: Float[Array, "b n c"]) -> Float[Array, "b m c"]:
    return layer(x.swapaxes(1, 2)).swapaxes(1, 2)


def _norm(name: str) -> nn.LayerNorm:
    return nn.LayerNorm(use_bias=False, use_fast_variance=False, name=name)
