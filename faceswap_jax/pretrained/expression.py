"""The frozen network that reads what a face does: of a run of experiments/expression.py, or MediaPipe's."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.faces.expression import MEASURES
from faceswap_jax.models import blendshapes as blendshapes_model
from faceswap_jax.models import expression
from faceswap_jax.models.blendshapes import BlendshapesConfig
from faceswap_jax.models.expression import ExpressionConfig
from faceswap_jax.ops import precision
from faceswap_jax.pretrained import blendshapes, embedder, runs

MEDIAPIPE = "mediapipe"
"""In the place of a run's folder: MediaPipe's blendshapes, for real faces."""

Shape = ExpressionConfig | BlendshapesConfig


@dataclass(frozen=True, eq=False)
class Reader:
    """A trained network.

    Attributes:
        config: its shape.
        params: its weights, NumPy arrays.
    """

    config: Shape
    params: PyTree


def load_for(path: str, alignment: str) -> Reader:
    """The network for faces of `config.alignment`.

    Args:
        path: of a run of `config.task` "expression", of which the newest checkpoint is taken; "puppets", which ships;
            or MEDIAPIPE.
        alignment: of the faces.

    Raises:
        InputError: there is no such run, it has no checkpoint yet, or it knows faces of another alignment; MediaPipe's
            networks are not installed.
    """
    if path == MEDIAPIPE:
        return Reader(*blendshapes.load_for(alignment))
    config, found = runs.load(Path(path), "expression", parts, alignment)
    return Reader(shape(config), found["params"])


def parts(config: ml_collections.ConfigDict) -> runs.Parts:
    """Shapes of what is read of a run."""
    return {"params": jax.eval_shape(partial(expression.init, shape(config)), jax.random.key(0))}


def described_shape(values: ml_collections.ConfigDict) -> Shape:
    """A shape from what `embedder.described` gave."""
    kind = ExpressionConfig if "outputs" in values else BlendshapesConfig
    return embedder.described_shape(values, kind)


def init(shape: Shape, key: PRNGKeyArray) -> PyTree:
    """Fresh weights."""
    if isinstance(shape, BlendshapesConfig):
        return blendshapes_model.init(key)
    return expression.init(shape, key)


def length(shape: Shape) -> int:
    """Of the vectors that a network of this shape gives."""
    if isinstance(shape, BlendshapesConfig):
        return blendshapes.LENGTH
    return shape.outputs


def vectors(shape: Shape, params: PyTree, crops: Float[Array, "b h w 3"]) -> Float[Array, "b d"]:
    """What aligned square crops in [0, 1] show, of about variance 1."""
    if isinstance(shape, BlendshapesConfig):
        return blendshapes.vectors(shape, params, crops)
    return expression.apply(shape, params, crops)


def shape(config: ml_collections.ConfigDict) -> ExpressionConfig:
    """The shape of the network that a config of `config.task` "expression" describes."""
    c = config.model
    return ExpressionConfig(
        outputs=len(MEASURES),
        side=config.resolution,
        stem=c.stem,
        levels=tuple(c.levels),
        squeeze=c.squeeze,
        hidden=c.hidden,
        dtype=precision.dtype(config.precision),
    )
