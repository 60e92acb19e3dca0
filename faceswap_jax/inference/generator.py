"""The contract of everything that makes images: who is shown, what the face does, and perhaps an edit.

`swap`, `reenact` and the bench know Generators and nothing of tasks. This file imports no JAX.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
from jaxtyping import Float, Float32, UInt8

Images = UInt8[np.ndarray, "b r r 3"]

EmbeddedFace = Float32[np.ndarray, "r r 3"]
"""In 0..1."""

# A tree of arrays, which only its generator reads
Identity = Any


@dataclass(frozen=True)
class Who:
    """Who the output shows: a mix of personas that a model knows, or anybody's pictures.

    Attributes:
        personas: weight of each persona by name; one persona of weight 1 is that persona.
        pictures: faces of the identity, cut as the generator's alignment says.
    """

    personas: Mapping[str, float] = field(default_factory=dict)
    pictures: Sequence[UInt8[np.ndarray, "r r 3"]] = ()


@dataclass(frozen=True)
class Faces:
    """What the face does in a few frames. Only what the system asks for is filled.

    Attributes:
        crops: aligned as the generator says, RGB.
        landmarks: in pixels of the crops, iBUG order.
        pose: yaw, pitch, roll in degrees.
        sound: 16 kHz mono around each frame, the frame in the middle.
        expression: what others lend of the role "expression", as `Generator.features` gives it; None: the crops' own.
    """

    crops: UInt8[np.ndarray, "b r r 3"] | None = None
    landmarks: Float[np.ndarray, "b 68 2"] | None = None
    pose: Float[np.ndarray, "b 3"] | None = None
    sound: Float[np.ndarray, "b n"] | None = None
    expression: Float[np.ndarray, "b d"] | None = None


@dataclass(frozen=True)
class Edit:
    """A change of what the face does.

    Attributes:
        shift: what is added to the latents of each of the faces.
    """

    shift: Float[np.ndarray, "b latent"]


class Generator(Protocol):
    """Makes images. Comes from the folder of a run, see `trained.load`.

    Attributes:
        alignment: how its faces are cut, one of `faces.align.ALIGNMENTS`.
        resolution: side of its images in pixels.
        placement: whether its images are blended into the performer's frame, or shown whole.
        outline: of its faces where they are blended, one of `faces.align.OUTLINES`.
        inputs: names of the fields of `Faces` that it reads.
        sound_window: how many samples of sound it reads around each frame, if it reads sound.
        personas: whom it knows by name; () if it takes anybody's pictures.
        step: how many steps it was trained.
        parts: where each part of its latents lies in them, by its name; {} if it has none to edit.
        paintable: whether its identities hold a face that can be painted on, such as X2Face's embedded face.
        roles: features of a face that others can lend it, such as "identity" and "expression"; () if it knows none.
            With roles an identity is {"identity": a vector of `features`}, or {}: the performer's own.
        relative: whether its latents count from the performer's face at rest: who drives it takes these off, see
            `batching.at_rest`.
        samples: whether it draws people who do not exist.
        digest: of the weights that its personas share, 16 hexadecimal digits: what was learned of its latents belongs
            to these.
        version: another one for every other generator, 16 hexadecimal digits.
    """

    alignment: str
    resolution: int
    placement: Literal["blended", "whole"]
    outline: str
    inputs: Sequence[str]
    sound_window: int
    personas: Sequence[str]
    step: int
    parts: Mapping[str, slice]
    paintable: bool
    roles: Sequence[str]
    relative: bool
    samples: bool
    digest: str
    version: str

    def identity(self, who: Who) -> Identity:
        """What `__call__` needs to know of the identity; made once for each job.

        Raises:
            InputError: the generator knows no such persona, or needs pictures.
        """
        ...

    def embedded(self, identity: Identity) -> EmbeddedFace:
        """The face that an identity holds, to be painted on. Only where it is `paintable`."""
        ...

    def painted(self, identity: Identity, face: EmbeddedFace) -> Identity:
        """The identity with another embedded face. Only where it is `paintable`."""
        ...

    def features(
        self, role: str, crops: UInt8[np.ndarray, "n r r 3"]
    ) -> Float32[np.ndarray, "n d"]:
        """What each of some crops says of one of the `roles`."""
        ...

    def merged(self, role: str, vectors: Float32[np.ndarray, "n d"]) -> Float32[np.ndarray, "d"]:
        """What several crops say together of one of the `roles`."""
        ...

    def sampled(self, seed: int) -> UInt8[np.ndarray, "r r 3"]:
        """A picture of somebody who does not exist, for `Who`. Only where it `samples`."""
        ...

    def latents(self, faces: Faces) -> Float[np.ndarray, "b latent"]:
        """What each of the faces does, in numbers that an `Edit` changes. Only where there are `parts`."""
        ...

    def __call__(self, identity: Identity, faces: Faces, edit: Edit | None = None) -> Images:
        """Images of the identity with the performance of each of the faces.

        Each size of batch is compiled once: `batching.generate` fills all batches up to one size.
        """
        ...
