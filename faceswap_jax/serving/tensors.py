"""What the Open Inference Protocol says of a model: its tensors by name, checked, and what it makes of them.

Inputs are those that the generator reads, and who is shown: `persona`, a name or a mix as text, or `pictures`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Shaped

from faceswap_jax.errors import InputError
from faceswap_jax.inference.generator import Faces, Generator, Who
from faceswap_jax.inference.who import who_is
from faceswap_jax.serving.pool import SIZES, PooledGenerator
from faceswap_jax.serving.refusal import TOO_LARGE, UNUSABLE, Refusal

MOST = 64
"""Faces of one request."""

PERSONA, PICTURES, IMAGES = "persona", "pictures", "images"

TYPES = {"UINT8": np.dtype("<u1"), "FP32": np.dtype("<f4")}
"""The protocol's names of types, but for text."""

TEXT = "BYTES"

Tensor = Shaped[np.ndarray, "..."]


@dataclass(frozen=True)
class Spec:
    """A tensor as it must be.

    Attributes:
        name: of the tensor.
        datatype: by the protocol's name.
        shape: -1 where any number is allowed.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def check(self, datatype: str, shape: Sequence[int]) -> None:
        """Raises Refusal unless a tensor is so."""
        fits = len(shape) == len(self.shape) and all(
            found >= 1 if wanted < 0 else found == wanted
            for found, wanted in zip(shape, self.shape, strict=True)
        )
        if datatype != self.datatype or not fits:
            raise Refusal(
                UNUSABLE,
                f"The input {self.name} must be {self.datatype} of shape {list(self.shape)}, "
                f"not {datatype[:20]} of {list(shape)[:8]}.",
            )
        if self.shape[0] < 0 and shape[0] > MOST:
            raise Refusal(TOO_LARGE, f"The input {self.name} has more than {MOST} rows; send less.")

    def from_bytes(self, shape: Sequence[int], content: bytes) -> Tensor:
        """The tensor of such a shape from little-endian bytes; raises Refusal unless they are finite numbers."""
        dtype = TYPES[self.datatype]
        if len(content) != np.prod(shape, dtype=int) * dtype.itemsize:
            raise Refusal(
                UNUSABLE, f"The input {self.name} has {len(content)} bytes, unlike its shape."
            )
        tensor = np.frombuffer(content, dtype).reshape(shape)
        if not np.isfinite(tensor).all():
            raise Refusal(UNUSABLE, f"The input {self.name} must have finite numbers.")
        return tensor


def inputs_of(generator: Generator) -> list[Spec]:
    """What a model is given."""
    side = generator.resolution
    all_ = {
        "crops": Spec("crops", "UINT8", (-1, side, side, 3)),
        "landmarks": Spec("landmarks", "FP32", (-1, 68, 2)),
        "pose": Spec("pose", "FP32", (-1, 3)),
        "sound": Spec("sound", "FP32", (-1, generator.sound_window)),
    }
    specs = [all_[name] for name in generator.inputs]
    if generator.personas:
        return [*specs, Spec(PERSONA, TEXT, (1,))]
    return [*specs, Spec(PICTURES, "UINT8", (-1, side, side, 3))]


def outputs_of(generator: Generator) -> list[Spec]:
    """What a model gives."""
    side = generator.resolution
    return [Spec(IMAGES, "UINT8", (-1, side, side, 3))]


def infer(generator: PooledGenerator, tensors: Mapping[str, Tensor | str]) -> Tensor:
    """Images for tensors that were checked one by one.

    Args:
        generator: of the model.
        tensors: all inputs, by name.

    Raises:
        Refusal: they do not fit together.
    """
    faces = {name: tensors[name] for name in generator.inputs}
    lengths = {len(array) for array in faces.values()}
    if len(lengths) > 1:
        raise Refusal(UNUSABLE, "The inputs have different numbers of faces; send as many of each.")
    try:
        identity = generator.identity(_who(generator, tensors))
    except InputError as error:
        raise Refusal(UNUSABLE, str(error)) from error

    images = []
    for start in range(0, lengths.pop(), SIZES[-1]):
        part = {name: array[start : start + SIZES[-1]] for name, array in faces.items()}
        images.append(generator(identity, Faces(**part)))
    return np.concatenate(images)


def _who(generator: PooledGenerator, tensors: Mapping[str, Tensor | str]) -> Who:
    if PERSONA in tensors:
        return who_is(generator, tensors[PERSONA], ())
    return Who(pictures=list(tensors[PICTURES]))


def all_given(specs: Sequence[Spec], names: Sequence[str]) -> dict[str, Spec]:
    """The specifications by name; raises Refusal unless each input is given once."""
    if sorted(names) != sorted(spec.name for spec in specs):
        wanted = ", ".join(spec.name for spec in specs)
        raise Refusal(UNUSABLE, f"The inputs must be {wanted}, each once.")
    return {spec.name: spec for spec in specs}
