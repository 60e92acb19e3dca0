"""Frozen networks that judge generated faces: whose face it is, how alike two look, what it does.

Entries of `config.networks` name them: "identity", a face embedder; "perceptual", LPIPS's weights; "expression".
Without the second the embedder's layers tell how alike two faces look.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import ml_collections
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.models.iresnet import IResNetConfig
from faceswap_jax.pretrained import embedder, perceptual
from faceswap_jax.pretrained.features import FEATURES

IDENTITY, PERCEPTUAL, EXPRESSION = "identity", "perceptual", "expression"

Weights = Mapping[str, PyTree]
Crops = Float[Array, "b h w 3"]


@dataclass(frozen=True)
class Judges:
    """Shapes of the networks.

    Attributes:
        shapes: by name; "perceptual" and "expression" may be missing.
    """

    shapes: Mapping[str, Any]

    @property
    def described(self) -> dict[str, dict]:
        """As values of a config; `described_judges` reads them."""
        return {name: embedder.described(shape) for name, shape in self.shapes.items()}

    @property
    def perceptual_name(self) -> str:
        """Of the distance between two looks: "lpips" or "features"."""
        return perceptual.name(self.shapes[self._looks])

    @property
    def sees_whole(self) -> bool:
        """Whether that distance is of whole images, also of parts; a face embedder's is of the face in whole crops."""
        return not isinstance(self.shapes[self._looks], IResNetConfig)

    @property
    def reads_expressions(self) -> bool:
        """Whether there is a network that does."""
        return EXPRESSION in self.shapes

    def init(self, key: PRNGKeyArray) -> dict[str, PyTree]:
        """Fresh weights, by name."""
        weights = {}
        for name, shape in self.shapes.items():
            init = perceptual.init if name == PERCEPTUAL else FEATURES[name].init
            weights[name] = init(shape, key)
        return weights

    def read(self, weights: Weights, name: str, crops: Crops) -> Float[Array, "b d"]:
        """What "identity" or "expression" says of aligned square crops in [0, 1]."""
        return FEATURES[name].read(self.shapes[name], weights[name], crops)

    def apart(self, weights: Weights, name: str, x: Crops, y: Crops) -> Float[Array, "b"]:
        """How far apart two faces are for "identity" or "expression"; of identities 1 - cosine."""
        read = [self.read(weights, name, crops) for crops in (x, y)]
        return FEATURES[name].distance(*read)

    def unlike(self, weights: Weights, x: Crops, y: Crops) -> Float[Array, "b"]:
        """How unlike two faces look."""
        return perceptual.distance(self.shapes[self._looks], weights[self._looks], x, y)

    @property
    def _looks(self) -> str:
        return PERCEPTUAL if PERCEPTUAL in self.shapes else IDENTITY


def load_for(
    networks: ml_collections.ConfigDict, alignment: str
) -> tuple[Judges, dict[str, PyTree]]:
    """The networks that `config.networks` names for faces of `config.alignment`, and their weights.

    Raises:
        InputError: one cannot be used, or knows faces of another alignment.
    """
    shapes, weights = {}, {}
    for name in (IDENTITY, PERCEPTUAL, EXPRESSION):
        path = networks.get(name)
        if path:
            load = perceptual.load_for if name == PERCEPTUAL else FEATURES[name].load
            shapes[name], weights[name] = load(path, alignment)
    return Judges(shapes), weights


def described_judges(values: ml_collections.ConfigDict) -> Judges:
    """From what `Judges.described` gave; other entries are left alone."""
    shapes = {}
    for name in (IDENTITY, PERCEPTUAL, EXPRESSION):
        if name in values:
            kind = perceptual if name == PERCEPTUAL else FEATURES[name]
            shapes[name] = kind.described_shape(values[name])
    return Judges(shapes)
