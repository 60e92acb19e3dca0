"""What perceptual losses look with: LPIPS, if there is a file of its weights, or else a face network's layers.

Only the former is LPIPS. The other is a feature distance, which is what scores and losses call it.
"""

from pathlib import Path

import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.losses import perceptual
from faceswap_jax.models import lpips as lpips_model
from faceswap_jax.pretrained import embedder, layers, lpips

Shape = lpips_model.LPIPSConfig | layers.Shape
Images = Float[Array, "b h w 3"]


def load_for(path: str, alignment: str) -> tuple[Shape, PyTree]:
    """Shape and weights of the network for faces of `config.alignment`.

    Args:
        path: of LPIPS's weights, or of what `layers.load_for` takes.
        alignment: of the faces. LPIPS sees images of any.

    Raises:
        InputError: it cannot be used, or it knows faces of another alignment.
    """
    if lpips.is_lpips(Path(path)):
        shape, params = lpips.read(Path(path))
        return shape, {"params": params}
    return layers.load_for(path, alignment)


def described_shape(values: ml_collections.ConfigDict) -> Shape:
    """A shape from what `embedder.described` gave."""
    if "network" in values:
        return embedder.described_shape(values, lpips_model.LPIPSConfig)
    return layers.described_shape(values)


def init(shape: Shape, key: PRNGKeyArray) -> PyTree:
    """Fresh weights."""
    if is_lpips(shape):
        return {"params": lpips_model.init(shape, key)}
    return layers.init(shape, key)


def is_lpips(shape: Shape) -> bool:
    """Whether the distance is LPIPS."""
    return isinstance(shape, lpips_model.LPIPSConfig)


def name(shape: Shape) -> str:
    """Of the distance, for scores: "lpips" or "features"."""
    return "lpips" if is_lpips(shape) else "features"


def distance(shape: Shape, weights: PyTree, x: Images, y: Images) -> Float[Array, "b"]:
    """How far apart aligned square crops in [0, 1] look; a face embedder sees the face in them alone."""
    if is_lpips(shape):
        seen = [lpips_model.features(shape, **weights, x=images) for images in (x, y)]
        return perceptual.unlike(*seen, lpips_model.heads(shape, **weights))
    seen = [layers.features(shape, weights, images) for images in (x, y)]
    return perceptual.unlike(*seen)
