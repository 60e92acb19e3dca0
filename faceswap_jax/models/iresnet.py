"""The improved residual network that embeds faces (Deng et al., ArcFace, CVPR 2019; InsightFace's `arcface_torch`).

Parameters and statistics are plain dictionaries {module name: weights}:

    stem, stem_norm, stem_slope    3 x 3 convolution, batch normalisation, PReLU
    block_{i}_{j}                  block j of stage i: norm_0, conv_1, norm_1, slope, conv_2, norm_2, and where the
                                   stage begins shortcut, shortcut_norm
    norm, embed, embed_norm        batch normalisation, fully connected layer, batch normalisation without scale

The statistics are the running "mean" and "var" of every batch normalisation.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

BLOCKS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
"""Residual blocks of the published networks, by stage."""

EPSILON = 1e-5  # of the batch normalisations

Params = Mapping[str, PyTree]
Statistics = Mapping[str, PyTree]


@dataclass(frozen=True)
class IResNetConfig:
    """Shape of an embedding network; the default is IResNet-50.

    Attributes:
        blocks: residual blocks of each stage; every stage halves the side.
        channels: of each stage.
        stem: channels before the first stage.
        embedding: length of the embeddings.
        side: of the images in pixels; a multiple of 2**(number of stages).
        dtype: type of the arithmetic; parameters, statistics and embeddings are float32 always.
    """

    blocks: tuple[int, ...] = BLOCKS["iresnet50"]
    channels: tuple[int, ...] = (64, 128, 256, 512)
    stem: int = 64
    embedding: int = 512
    side: int = 112
    dtype: jnp.dtype = jnp.float32


def _conv(channels: int, kernel: int, dtype: jnp.dtype, name: str, strides: int = 1) -> nn.Conv:
    return nn.Conv(
        channels,
        (kernel, kernel),
        strides,
        # Explicit: 'SAME' would pad otherwise than PyTorch where the stride is 2.
        padding=kernel // 2,
        # The normalisation behind it shifts.
        use_bias=False,
        kernel_init=nn.initializers.normal(0.1),
        dtype=dtype,
        name=name,
    )


def _norm(train: bool, dtype: jnp.dtype, name: str, scale: bool = True) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not train,
        momentum=0.9,
        epsilon=EPSILON,
        use_scale=scale,
        dtype=dtype,
        name=name,
    )


class PReLU(nn.Module):
    """Leaky rectifier with a learned slope for every channel."""

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h w c"]:
        channels = x.shape[-1]
        slope = self.param("slope", nn.initializers.constant(0.25), (channels,))
        return jnp.where(x >= 0, x, slope.astype(x.dtype) * x)


class Block(nn.Module):
    """Normalise, convolve, normalise, rectify, convolve, normalise; and the input, or a projection of it."""

    channels: int
    strides: int
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Float[Array, "b h w c"]) -> Float[Array, "b h/s w/s channels"]:
        def conv(kernel, name, strides=1):
            return _conv(self.channels, kernel, self.dtype, name, strides)

        def norm(name):
            return _norm(self.train, self.dtype, name)

        h = norm("norm_0")(x)
        h = conv(3, "conv_1")(h)
        h = norm("norm_1")(h)
        h = PReLU(name="slope")(h)
        h = conv(3, "conv_2", self.strides)(h)
        h = norm("norm_2")(h)
        if self.strides > 1:
            x = conv(1, "shortcut", self.strides)(x)
            x = norm("shortcut_norm")(x)
        return x + h


class IResNet(nn.Module):
    """Images in [-1, 1] to embeddings."""

    config: IResNetConfig
    train: bool

    @nn.compact
    def __call__(self, x: Float[Array, "b s s 3"]) -> Float[Array, "b embedding"]:
        c = self.config
        # Full resolution: the first stage is the first to halve it.
        x = _conv(c.stem, 3, c.dtype, "stem")(x)
        x = _norm(self.train, c.dtype, "stem_norm")(x)
        x = PReLU(name="stem_slope")(x)
        stages = zip(c.blocks, c.channels, strict=True)
        for i, (blocks, channels) in enumerate(stages):
            for j in range(blocks):
                strides = 2 if j == 0 else 1
                block = Block(channels, strides, self.train, c.dtype, name=f"block_{i}_{j}")
                x = block(x)
            # Kept only where `features` asks for it
            self.sow("intermediates", "stages", x)

        x = _norm(self.train, c.dtype, "norm")(x)
        # Channels first, as the published weights have it.
        x = x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)
        x = nn.Dense(c.embedding, dtype=c.dtype, name="embed")(x)
        return _norm(self.train, jnp.float32, "embed_norm", scale=False)(x)


def init(config: IResNetConfig, key: PRNGKeyArray) -> tuple[Params, Statistics]:
    """Fresh parameters, and statistics of means 0 and variances 1."""
    images = jnp.zeros((1, config.side, config.side, 3))
    variables = IResNet(config, train=True).init(key, images)
    return variables["params"], variables["batch_stats"]


def apply(
    config: IResNetConfig,
    params: Params,
    statistics: Statistics,
    x: Float[Array, "b s s 3"],
    train: bool = False,
) -> tuple[Float[Array, "b embedding"], Statistics]:
    """Embeddings, not normalised, of RGB images in [0, 1], and the statistics.

    With `train` the batch's own means and variances normalise, and the running ones move a tenth of the way to them;
    otherwise the running ones normalise and stay.
    """
    network = IResNet(config, train)
    variables = {"params": params, "batch_stats": statistics}
    # The published networks know [-1, 1].
    x = (2 * x - 1).astype(config.dtype)
    if not train:
        return network.apply(variables, x), statistics
    embeddings, changed = network.apply(variables, x, mutable=["batch_stats"])
    return embeddings, changed["batch_stats"]


def features(
    config: IResNetConfig,
    params: Params,
    statistics: Statistics,
    x: Float[Array, "b s s 3"],
) -> list[Float[Array, "b h w c"]]:
    """What each stage makes of RGB images in [0, 1]; the running statistics normalise."""
    x = (2 * x - 1).astype(config.dtype)
    variables = {"params": params, "batch_stats": statistics}
    _, kept = IResNet(config, train=False).apply(variables, x, mutable=["intermediates"])
    return list(kept["intermediates"]["stages"])
