"""What distances of sets of images look with: Inception, if there is a file of its weights, or else a face network.

Only by the former a Fréchet distance is FID, and a kernel distance KID. By the other they are feature distances, which
is what scores call them.
"""

from pathlib import Path

import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models import inception as inception_model
from faceswap_jax.models.inception import InceptionConfig
from faceswap_jax.pretrained import embedder, inception, layers

Shape = InceptionConfig | layers.Shape


def load_for(path: str, alignment: str) -> tuple[Shape, PyTree]:
    """Shape and weights of the network for faces of `config.alignment`.

    Args:
        path: of Inception's weights, or of what `layers.load_for` takes.
        alignment: of the faces. Inception sees images of any.

    Raises:
        InputError: it cannot be used, or it knows faces of another alignment.
    """
    if inception.is_inception(Path(path)):
        shape, params = inception.read(Path(path))
        return shape, {"params": params}
    return layers.load_for(path, alignment)


def described_shape(values: ml_collections.ConfigDict) -> Shape:
    """A shape from what `embedder.described` gave."""
    if set(values) == {"width", "side"}:
        return embedder.described_shape(values, InceptionConfig)
    return layers.described_shape(values)


def init(shape: Shape, key: PRNGKeyArray) -> PyTree:
    """Fresh weights."""
    if isinstance(shape, InceptionConfig):
        return {"params": inception_model.init(shape, key)}
    return layers.init(shape, key)


def name(shape: Shape) -> str:
    """Of the distances, for scores: "inception" or "feature_distance"."""
    return "inception" if isinstance(shape, InceptionConfig) else "feature_distance"


def vectors(shape: Shape, weights: PyTree, crops: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
    """What it sees in aligned square crops in [0, 1]; a face embedder sees the face in them alone."""
    if isinstance(shape, InceptionConfig):
        return inception_model.features(shape, **weights, x=crops)
    return layers.vectors(shape, weights, crops)
