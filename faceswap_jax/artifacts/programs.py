"""The functions of a generator as programs of named arrays, which an export writes down.

    encode      what is read of the faces -> latents
    decode      latents, and who is shown -> images in [0, 1]
    images      in place of both, for a system without latents
    identity    pictures -> who is shown
    ROLE        pictures -> what each says of a role, such as an identity or an expression, for a system that is lent it
    sample      numbers of a normal distribution -> images of nobody

Who is shown is {"weights": [persona]}, unless one persona is all that is known, or what `identity` gives, or a vector
of each role for each face. Batches are of any size.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import export
from jaxtyping import Array, PyTree

from faceswap_jax.errors import InputError
from faceswap_jax.inference.described import IDENTITY, WEIGHTS
from faceswap_jax.inference.trained import TrainedGenerator

BATCH, PICTURES = "b", "n"
"""Names of the axes whose length is free."""

Arrays = Mapping[str, Array]


class Input(NamedTuple):
    """An array that a program is given; a free axis has a name in place of a length."""

    shape: tuple[int | str, ...]
    dtype: str


class Program(NamedTuple):
    """A function of a generator.

    Attributes:
        function: (variables, arrays by name) -> arrays by name.
        inputs: what it is given, by name.
        outputs: names of what it gives.
    """

    function: Callable[[PyTree, Arrays], dict[str, Array]]
    inputs: Mapping[str, Input]
    outputs: Sequence[str]


def programs(generator: TrainedGenerator) -> dict[str, Program]:
    """All programs of a generator, by name.

    Raises:
        InputError: it does not say how its latents are decoded.
    """
    synthesis = generator.synthesis
    shown = _shown(generator)
    if not generator.parts:
        found = {"images": _images(generator, shown)}
    elif synthesis.decode:
        found = {"encode": _encode(generator), "decode": _decode(generator, shown)}
    else:
        raise InputError("This system has latents, but its synthesis has no 'decode'; write it.")

    if synthesis.identity:

        def identity(variables, arrays):
            return synthesis.identity(variables, arrays["pictures"])

        found["identity"] = Program(identity, _of_pictures(generator), list(shown))
    for role in generator.roles:
        found[role] = _features(generator, role)
    if synthesis.sample:
        found["sample"] = _sample(generator)
    return found


def abstract(program: Program) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes of what a program is given, by name; free axes are symbols."""
    scope = export.SymbolicScope()
    arrays = {}
    for name, (shape, dtype) in program.inputs.items():
        symbolic = export.symbolic_shape(", ".join(map(str, shape)), scope=scope)
        arrays[name] = jax.ShapeDtypeStruct(symbolic, jnp.dtype(dtype))
    return arrays


def _encode(generator: TrainedGenerator) -> Program:
    def encode(variables, arrays):
        return {"latents": generator.synthesis.latents(variables, arrays)}

    return Program(encode, _of_faces(generator), ["latents"])


def _decode(generator: TrainedGenerator, shown: Mapping[str, Input]) -> Program:
    length = sum(generator.description.parts.values())

    def decode(variables, arrays):
        identity = _identity(shown, arrays)
        images = generator.synthesis.decode(variables, identity, arrays["latents"])
        return {"images": images}

    inputs = {"latents": Input((BATCH, length), "float32"), **shown}
    return Program(decode, inputs, ["images"])


def _images(generator: TrainedGenerator, shown: Mapping[str, Input]) -> Program:
    seen = _of_faces(generator)

    def images(variables, arrays):
        faces = {name: arrays[name] for name in seen}
        identity = _identity(shown, arrays)
        # Whatever else is lent is told with the faces.
        faces |= {role: identity.pop(role) for role in generator.roles if role != IDENTITY}
        return {"images": generator.synthesis.images(variables, identity, faces, None)}

    return Program(images, {**seen, **shown}, ["images"])


def _features(generator: TrainedGenerator, role: str) -> Program:
    def features(variables, arrays):
        return {role: generator.synthesis.features(variables, role, arrays["pictures"])}

    return Program(features, _of_pictures(generator), [role])


def _sample(generator: TrainedGenerator) -> Program:
    def sample(variables, arrays):
        return {"images": generator.synthesis.sample(variables, arrays["drawn"])}

    return Program(
        sample, {"drawn": Input((BATCH, generator.synthesis.drawn), "float32")}, ["images"]
    )


def _identity(shown: Mapping[str, Input], arrays: Arrays) -> dict[str, Array]:
    """Who is shown, of what a program is given."""
    if not shown:
        return {WEIGHTS: jnp.ones(1)}
    return {name: arrays[name] for name in shown}


def _of_faces(generator: TrainedGenerator) -> dict[str, Input]:
    """What is read of faces, by name; see `Faces`."""
    known = {
        "crops": Input((BATCH, *_image_of(generator)), "uint8"),
        "landmarks": Input((BATCH, 68, 2), "float32"),
        "pose": Input((BATCH, 3), "float32"),
        "sound": Input((BATCH, generator.sound_window), "float32"),
    }
    return {name: known[name] for name in generator.inputs}


def _of_pictures(generator: TrainedGenerator) -> dict[str, Input]:
    return {"pictures": Input((PICTURES, *_image_of(generator)), "uint8")}


def _shown(generator: TrainedGenerator) -> dict[str, Input]:
    """The arrays that say who is shown, by name."""
    synthesis = generator.synthesis
    picture = jax.ShapeDtypeStruct((1, *_image_of(generator)), jnp.uint8)
    if synthesis.identity:
        identity = jax.eval_shape(synthesis.identity, generator.variables, picture)
        return {name: Input(array.shape, str(array.dtype)) for name, array in identity.items()}
    if generator.roles:
        found = {}
        for role in generator.roles:
            read = partial(synthesis.features, role=role)
            vector = jax.eval_shape(read, generator.variables, pictures=picture)
            found[role] = Input((BATCH, vector.shape[1]), str(vector.dtype))
        return found
    personas = len(generator.personas)
    return {WEIGHTS: Input((personas,), "float32")} if personas > 1 else {}


def _image_of(generator: TrainedGenerator) -> tuple[int, int, int]:
    return (generator.resolution, generator.resolution, 3)
