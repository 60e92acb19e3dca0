"""How far apart two images are, by pixels, and in the maps that a frozen network makes of them.

The latter is what LPIPS is made of (Zhang et al., CVPR 2018).
"""

from collections.abc import Sequence

from jaxtyping import Array, Float

from faceswap_jax.losses.arrays import Images
from faceswap_jax.losses.identity import normalised

Maps = Sequence[Float[Array, "b h w c"]]


def squared_error(x: Images, y: Images) -> Float[Array, ""]:
    """Mean over all values of images in [0, 1], counted in [-1, 1]: the weights of sources are for these."""
    return 2**2 * ((x - y) ** 2).mean()


def unlike(x: Maps, y: Maps, heads: Sequence[Float[Array, "c"]] | None = None) -> Float[Array, "b"]:
    """Squared differences of the directions that the channels of a pixel point in, means over the pixels.

    Args:
        x: maps of each layer.
        y: of the other images.
        heads: how much each channel of each layer counts, as LPIPS has learned it: the sum over the layers. None: all
            count alike, and the mean over the layers is taken. Twice 1 - cosine, 0 to 4.
    """
    layers = []
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        squares = (normalised(a) - normalised(b)) ** 2
        if heads is not None:
            squares = squares * heads[i]
        layers.append(squares.sum(-1).mean((1, 2)))
    total = sum(layers)
    return total if heads is not None else total / len(layers)
