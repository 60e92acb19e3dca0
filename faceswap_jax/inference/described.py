"""What all generators share, wherever their functions run: what they say of themselves, and who may be asked for.

This file imports no JAX.
"""

import abc
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32, UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.inference.generator import Edit, EmbeddedFace, Faces, Images, Who

Pictures = UInt8[np.ndarray, "n r r 3"]
Arrays = Mapping[str, np.ndarray]

WEIGHTS = "weights"
"""The identity of known personas: a weight for each of them."""

IDENTITY = "identity"
"""The role of whose face it is, and in an identity, what is lent of it."""

EMBEDDED = "embedded"
"""In an identity: the face that may be painted on."""

SUM = 1e-3
"""How far the weights of a mix may be from 1 together."""


@dataclass(frozen=True)
class Description:
    """What a generator says of itself; see `Generator` for what is not told here.

    Attributes:
        mixes: whether it shows mixes of personas.
        by_pictures: whether it shows anybody by pictures.
        parts: length of each part of its latents, by its name, in their order.
        relative: see `Generator.relative`.
        drawn: how many numbers are drawn to make somebody who does not exist; 0 if it makes nobody.
        roles: see `Generator.roles`.
    """

    alignment: str
    resolution: int
    placement: str
    inputs: Sequence[str]
    sound_window: int
    personas: Sequence[str]
    mixes: bool
    by_pictures: bool
    paintable: bool
    parts: Mapping[str, int]
    step: int
    relative: bool = False
    drawn: int = 0
    outline: str = align.DEFAULT_OUTLINE
    roles: Sequence[str] = ()

    def slices(self) -> dict[str, slice]:
        """Where the parts of the latents lie."""
        ends = itertools.accumulate(self.parts.values())
        both = zip(self.parts.items(), ends, strict=True)
        return {name: slice(end - length, end) for (name, length), end in both}

    def weights(self, who: Who) -> Float32[np.ndarray, "personas"]:
        """Weight of each persona that is known.

        Raises:
            InputError: one is not known, or the mix cannot be shown.
        """
        known = f"it knows {', '.join(self.personas)}"
        if who.pictures or not who.personas:
            raise InputError(f"This model shows whom it was trained on, by name; {known}.")
        for name in who.personas:
            if name not in self.personas:
                raise InputError(f"This model has no persona '{name}'; {known}.")

        weights = list(who.personas.values())
        if not self.mixes and weights != [1.0]:
            raise InputError("This network mixes no personas; give one of them, with weight 1.")
        if min(weights) < 0 or abs(sum(weights) - 1) > SUM:
            raise InputError(
                f"The weights of the mix are {', '.join(map(str, weights))}; give weights from 0 to 1 whose sum is 1."
            )
        return np.float32([who.personas.get(name, 0) for name in self.personas])


class DescribedGenerator(abc.ABC):
    """A `Generator` of a few functions of arrays. An identity is a dictionary of arrays."""

    def __init__(self, description: Description):
        self.description = description
        self.alignment = description.alignment
        self.resolution = description.resolution
        self.placement = description.placement
        self.outline = description.outline
        self.inputs = tuple(description.inputs)
        self.sound_window = description.sound_window
        self.personas = tuple(description.personas)
        self.step = description.step
        self.parts = description.slices()
        self.paintable = description.paintable
        self.relative = description.relative
        self.samples = description.drawn > 0
        self.roles = tuple(description.roles)

    @abc.abstractmethod
    def _images(self, identity: Arrays, inputs: Arrays, shift: np.ndarray | None) -> Images:
        """Images of the identity; `inputs` has what is read of the faces, by name."""

    @abc.abstractmethod
    def _latents(self, inputs: Arrays) -> Float[np.ndarray, "b latent"]:
        """Latents of faces, where there are any."""

    @abc.abstractmethod
    def decode(self, identity: Arrays, latents: Float[np.ndarray, "b latent"]) -> Images:
        """Images of the identity, doing what latents tell. Only where there are `parts`."""

    @abc.abstractmethod
    def _identity(self, pictures: Pictures) -> Arrays:
        """Whom pictures show, where that can be asked for and there are no `roles`."""

    @abc.abstractmethod
    def features(self, role: str, crops: Pictures) -> Float32[np.ndarray, "n d"]:
        """See `Generator.features`."""

    @abc.abstractmethod
    def _sample(self, drawn: Float32[np.ndarray, "b n"]) -> Images:
        """People who do not exist, of numbers of a normal distribution. Only where it `samples`."""

    def identity(self, who: Who) -> Arrays:
        """See `Generator.identity`."""
        by_pictures = self.description.by_pictures
        if by_pictures and who.pictures and not who.personas:
            pictures = np.stack(who.pictures)
            if self.roles:
                return {IDENTITY: self.merged(IDENTITY, self.features(IDENTITY, pictures))}
            return self._identity(pictures)
        if not self.personas:
            raise InputError("This model knows nobody by name; give pictures or clips of a person.")
        return {WEIGHTS: self.description.weights(who)}

    def merged(self, role: str, vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "d"]:
        """See `Generator.merged`: the mean."""
        mean = np.asarray(vectors, np.float32).mean(0)
        if role != IDENTITY:
            return mean
        # A direction, of variance 1 as those that it is of
        return mean * np.float32(np.sqrt(mean.size) / max(np.linalg.norm(mean), 1e-12))

    def __call__(self, identity: Arrays, faces: Faces, edit: Edit | None = None) -> Images:
        """See `Generator.__call__`."""
        return self._images(identity, self._read(faces), None if edit is None else edit.shift)

    def latents(self, faces: Faces) -> Float[np.ndarray, "b latent"]:
        """See `Generator.latents`."""
        return self._latents(self._read(faces))

    def sampled(self, seed: int) -> UInt8[np.ndarray, "r r 3"]:
        """See `Generator.sampled`."""
        # By NumPy: a seed is the same person in every format.
        drawn = np.random.default_rng(seed).normal(size=(1, self.description.drawn))
        return self._sample(np.float32(drawn))[0]

    def embedded(self, identity: Arrays) -> EmbeddedFace:
        """See `Generator.embedded`."""
        return np.asarray(identity[EMBEDDED], np.float32)

    def painted(self, identity: Arrays, face: EmbeddedFace) -> Arrays:
        """See `Generator.painted`."""
        return {**identity, EMBEDDED: np.asarray(face, np.float32)}

    def _read(self, faces: Faces) -> dict[str, np.ndarray]:
        """What is read of faces, by name."""
        read = {name: getattr(faces, name) for name in self.inputs}
        if faces.expression is not None:
            read["expression"] = faces.expression
        return read
