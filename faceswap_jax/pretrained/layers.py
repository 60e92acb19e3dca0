"""The frozen network whose layers losses compare: the stages of a face embedder, or VGG-Face's convolutions."""

from pathlib import Path

import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.losses.content import Layers
from faceswap_jax.models import iresnet, vgg
from faceswap_jax.pretrained import embedder, vggface

Shape = iresnet.IResNetConfig | vgg.VGGConfig

_OF_VGG = Layers(same=(0, 1, 2, 3, 5), other=(4, 5))
"""X2Face's: convolutions 2 to 5 and 7 of configuration A where there is a truth, 6 and 7 where another drives."""

_HIGH = 2
"""So many of an embedder's last stages see no truth where another drives. All count where there is one."""


def load_for(path: str, alignment: str) -> tuple[Shape, PyTree]:
    """Shape and weights of the network that `config.loss.embedder` names, for faces of `config.alignment`.

    Raises:
        InputError: it cannot be used, or it knows faces of another alignment. VGG-Face sees whole crops of any.
    """
    if vggface.is_vgg(Path(path)):
        shape, params = vggface.read(Path(path))
        return shape, {"params": params}
    given = embedder.load_for(path, alignment)
    return given.config, {"params": given.params, "statistics": given.statistics}


def described_shape(values: ml_collections.ConfigDict) -> Shape:
    """A shape from what `embedder.described` gave."""
    kind = vgg.VGGConfig if "configuration" in values else iresnet.IResNetConfig
    return embedder.described_shape(values, kind)


def init(shape: Shape, key: PRNGKeyArray) -> PyTree:
    """Fresh weights."""
    if isinstance(shape, vgg.VGGConfig):
        return {"params": vgg.init(shape, key)}
    params, statistics = iresnet.init(shape, key)
    return {"params": params, "statistics": statistics}


def counted(shape: Shape) -> Layers:
    """Which of the `features` count."""
    if isinstance(shape, vgg.VGGConfig):
        return _OF_VGG
    stages = range(len(shape.blocks))
    return Layers(same=stages, other=stages[-_HIGH:])


def features(
    shape: Shape, weights: PyTree, crops: Float[Array, "b h w 3"]
) -> list[Float[Array, "b h w c"]]:
    """What the layers see in aligned square crops in [0, 1]."""
    if isinstance(shape, vgg.VGGConfig):
        view = jax.image.resize(crops, (len(crops), shape.side, shape.side, 3), "linear")
        return vgg.features(shape, **weights, x=view)
    return iresnet.features(shape, **weights, x=embedder.view(crops, shape.side))


def vectors(shape: Shape, weights: PyTree, crops: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
    """What all layers see in aligned square crops in [0, 1], on average over the places: what sets are compared by."""
    seen = [layer.mean((1, 2)) for layer in features(shape, weights, crops)]
    return jnp.concatenate(seen, 1)
