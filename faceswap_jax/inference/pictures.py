"""Pictures and generators without files of results: for those who write Python."""

from pathlib import Path

from faceswap_jax.faces import blend
from faceswap_jax.faces.face import Image
from faceswap_jax.inference.batching import Performance, generate, read_inputs
from faceswap_jax.inference.clip import blend_side, put_face
from faceswap_jax.inference.generator import Faces, Generator
from faceswap_jax.inference.who import faces_of, who_is


def read_faces(generator: Generator, source: Path) -> Faces:
    """The largest face of a picture, or of up to eight frames of a clip, as a generator that is not to hear reads it.

    Raises:
        InputError: the source cannot be read, or shows no face.
    """
    found = faces_of([source])
    frames = [frame for frame, _ in found]
    faces = [face for _, face in found]
    return read_inputs(generator, Performance(frames, faces))


def swap_picture(
    generator: Generator, persona: str, picture: Path, method: str = blend.DEFAULT_METHOD
) -> Image:
    """A picture, or the first frame of a clip, with a persona's face in place of the largest one.

    Args:
        generator: of placement "blended".
        persona: one that it knows, or a mix, see `who_is`.
        picture: with a face.
        method: of blending, see `faces.blend.blend`.

    Raises:
        InputError: the picture shows no face, or the persona cannot be shown.
    """
    identity = generator.identity(who_is(generator, persona, ()))
    frame, face = faces_of([picture])[0]
    image, *_ = generate(generator, identity, Performance([frame], [face]))
    alignment = generator.alignment
    side = blend_side([face.landmarks], alignment, generator.resolution)
    return put_face(frame.image, image, face.landmarks, alignment, side, method, generator.outline)
