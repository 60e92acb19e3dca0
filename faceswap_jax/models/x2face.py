"""X2Face's networks (Wiles, Koepke and Zisserman, ECCV 2018), laid out as the authors released them.

The embedding network says of each source image where the pixels of its pose-free embedded face come from; the driving
network says of a driving image where those of the result come from in the embedded face. What is between the driving
network's halves is the driving vector.

Parameters and statistics are plain dictionaries {"embedding" or "driving": {"down" or "up": {module: weights}}}. The
modules are conv_{i} and norm_{i}: from image to vector in "down", from vector to image in "up". The statistics are the
running "mean" and "var" of the batch normalisations.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.ops.convolution import conv_general_dilated
from faceswap_jax.ops.resample import upsample_linear
from faceswap_jax.ops.sampling import Places, identity_places, sample

CHANNELS = (64, 128, 256, 512, 512, 512, 512)
"""After each halving of 256 px but the last; smaller images are halved less often."""

LEAST_WEIGHT = 0.1
"""What a source of no confidence counts."""

LEAK = 0.2  # slope of LeakyReLU below zero
EPSILON = 1e-5  # of the batch normalisations
FLOW = 2  # channels: x and y

Images = Float[Array, "b h w 3"]
Vectors = Float[Array, "b vector"]
Params = Mapping[str, PyTree]
Statistics = Mapping[str, PyTree]


@dataclass(frozen=True)
class X2FaceConfig:
    """Shape of both networks; the default is the released one.

    Attributes:
        channels: after each halving of the side but the last.
        inner: channels of the embedding network at 1 px.
        vector: length of the driving vector.
        dtype: type of the arithmetic; parameters, statistics and places are float32 always.
    """

    channels: tuple[int, ...] = CHANNELS
    inner: int = 512
    vector: int = 128
    dtype: jnp.dtype = jnp.float32

    @property
    def resolution(self) -> int:
        """Side of the images in pixels."""
        return 2 ** (len(self.channels) + 1)


def channels_of(resolution: int, width: float) -> tuple[int, ...]:
    """The released channels, times a width, of images of a power of two pixels, 4 to 256."""
    halvings = resolution.bit_length() - 1
    return tuple(max(4, round(width * count)) for count in CHANNELS[: halvings - 1])


def _norm(train: bool, dtype: jnp.dtype, name: str) -> nn.BatchNorm:
    return nn.BatchNorm(
        use_running_average=not train, momentum=0.9, epsilon=EPSILON, dtype=dtype, name=name
    )


class Down(nn.Module):
    """Images to one pixel: after each halving its features, the last ones not yet normalised."""

    channels: Sequence[int]
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x: Images) -> list[Float[Array, "b ..."]]:
        found = []
        last = len(self.channels) - 1
        for i, features in enumerate(self.channels):
            if i:
                x = nn.leaky_relu(x, LEAK)
            x = nn.Conv(
                features,
                (4, 4),
                strides=2,
                padding=1,
                use_bias=False,
                kernel_init=nn.initializers.he_normal(),
                dtype=self.dtype,
                conv_general_dilated=conv_general_dilated,
                name=f"conv_{i}",
            )(x)
            if 0 < i < last:
                x = _norm(self.train, self.dtype, f"norm_{i}")(x)
            found.append(x)
        return found


class Up(nn.Module):
    """One pixel to a sampler, between -1 and 1. Skips, the last one first, are the features of its own side."""

    channels: Sequence[int]
    outputs: int
    train: bool
    dtype: jnp.dtype

    @nn.compact
    def __call__(
        self, x: Float[Array, "b 1 1 c"], skips: Sequence[Float[Array, "b ..."]] = ()
    ) -> Float[Array, "b h w outputs"]:
        for i, features in enumerate(self.channels):
            x = upsample_linear(nn.relu(x))
            x = self._conv(features, nn.initializers.he_normal(), f"conv_{i}", bias=False)(x)
            x = _norm(self.train, self.dtype, f"norm_{i}")(x)
            if skips:
                x = jnp.concatenate([skips[i], x], -1)

        x = upsample_linear(nn.relu(x))
        # Zeros (choice): it begins as the identity, so that a source is shown as it is.
        last = self._conv(self.outputs, nn.initializers.zeros, f"conv_{len(self.channels)}")
        return jnp.tanh(last(x).astype(jnp.float32))

    def _conv(self, features, kernel_init, name, bias=True):
        return nn.Conv(
            features,
            (3, 3),
            use_bias=bias,
            kernel_init=kernel_init,
            dtype=self.dtype,
            conv_general_dilated=conv_general_dilated,
            name=name,
        )


def _down(config: X2FaceConfig, network: str, train: bool) -> Down:
    inner = config.inner if network == "embedding" else config.vector
    return Down((*config.channels, inner), train, config.dtype)


def _up(config: X2FaceConfig, network: str, train: bool) -> Up:
    # The embedding network also tells how confident it is.
    outputs = FLOW + 1 if network == "embedding" else FLOW
    return Up(config.channels[::-1], outputs, train, config.dtype)


def init(config: X2FaceConfig, key: PRNGKeyArray) -> tuple[Params, Statistics]:
    """Fresh parameters, and statistics of means 0 and variances 1."""
    images = jnp.zeros((1, config.resolution, config.resolution, 3))
    params, statistics = {}, {}
    for number, network in enumerate(("embedding", "driving")):
        down_key, up_key = jax.random.split(jax.random.fold_in(key, number))
        down = _down(config, network, train=True)
        features, of_down = down.init_with_output(down_key, images)
        *skips, inner = features
        given = skips[::-1] if network == "embedding" else ()
        of_up = _up(config, network, train=True).init(up_key, inner, given)
        params[network] = {"down": of_down["params"], "up": of_up["params"]}
        statistics[network] = {
            "down": of_down.get("batch_stats", {}),
            "up": of_up["batch_stats"],
        }
    return params, statistics


def _apply(module, params, statistics, network, half, *inputs):
    """The outputs of a half of a network, and the statistics with what it has seen, if it trains."""
    variables = {"params": params[network][half], "batch_stats": statistics[network][half]}
    if not module.train:
        return module.apply(variables, *inputs), statistics
    outputs, changed = module.apply(variables, *inputs, mutable=["batch_stats"])
    seen = statistics[network] | {half: changed.get("batch_stats", {})}
    return outputs, statistics | {network: seen}


def embed_each(
    config: X2FaceConfig,
    params: Params,
    statistics: Statistics,
    sources: Images,
    train: bool = False,
) -> tuple[Images, Float[Array, "b h w 1"], Statistics]:
    """The embedded face of each source alone, what each of its pixels counts beside those of others, and statistics.

    Args:
        config: shape of the networks.
        params: of both.
        statistics: of both.
        sources: in [0, 1].
        train: whether the batch's own means and variances normalise, and the running ones move a tenth of the way to
            them; otherwise the running ones normalise and stay.
    """
    name = "embedding"
    down, up = (half(config, name, train) for half in (_down, _up))
    features, statistics = _apply(down, params, statistics, name, "down", sources)
    *skips, inner = features
    sampler, statistics = _apply(up, params, statistics, name, "up", inner, skips[::-1])
    faces = sample(sources, _places(sampler[..., :FLOW]))
    # The confidence is bounded as the flow is (choice).
    weights = jnp.exp(sampler[..., FLOW:]) + LEAST_WEIGHT
    return faces, weights, statistics


def merged(
    faces: Float[Array, "b n h w 3"], weights: Float[Array, "b n h w 1"]
) -> Float[Array, "b h w 3"]:
    """The embedded face of several sources, by weights as the authors' code has them; the paper averages plainly."""
    return (weights * faces).sum(1) / weights.sum(1)


def encode(
    config: X2FaceConfig,
    params: Params,
    statistics: Statistics,
    driving: Images,
    train: bool = False,
) -> tuple[Vectors, Statistics]:
    """Driving vectors of images in [0, 1], and statistics; see `embed_each`."""
    down = _down(config, "driving", train)
    features, statistics = _apply(down, params, statistics, "driving", "down", driving)
    return features[-1].reshape(driving.shape[0], -1).astype(jnp.float32), statistics


def drive(
    config: X2FaceConfig,
    params: Params,
    statistics: Statistics,
    vectors: Vectors,
    train: bool = False,
) -> tuple[Places, Statistics]:
    """Where in the embedded face each pixel of the results comes from, and statistics; see `embed_each`."""
    up = _up(config, "driving", train)
    inner = vectors[:, None, None]
    sampler, statistics = _apply(up, params, statistics, "driving", "up", inner)
    # A second tanh, as the released network has it
    return _places(jnp.tanh(sampler)), statistics


def _places(flow: Float[Array, "b h w 2"]) -> Places:
    return flow + identity_places(*flow.shape[1:3])


class Reenacted(NamedTuple):
    """What the networks make of sources and driving images.

    Attributes:
        images: for each driving image.
        embedded: the face that they are sampled from.
        statistics: of the batch normalisations.
    """

    images: Float[Array, "b k h w 3"]
    embedded: Float[Array, "b h w 3"]
    statistics: Statistics


def reenact(
    config: X2FaceConfig,
    params: Params,
    statistics: Statistics,
    sources: Float[Array, "b n h w 3"],
    driving: Float[Array, "b k h w 3"],
    train: bool = False,
) -> Reenacted:
    """Whom n sources show, doing what each of k driving images does; see `embed_each`."""
    b, n, *image = sources.shape
    k = driving.shape[1]
    faces, weights, statistics = embed_each(
        config, params, statistics, sources.reshape(b * n, *image), train
    )
    embedded = merged(faces.reshape(b, n, *image), weights.reshape(b, n, *image[:2], 1))

    vectors, statistics = encode(config, params, statistics, driving.reshape(b * k, *image), train)
    places, statistics = drive(config, params, statistics, vectors, train)
    repeated = jnp.broadcast_to(embedded[:, None], driving.shape).reshape(b * k, *image)
    images = sample(repeated, places).reshape(driving.shape)
    return Reenacted(images, embedded, statistics)
