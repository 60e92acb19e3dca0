"""Whose expression the faces of a clip take on: that of pictures, or of a clip from moment to moment."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.picture import is_picture
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.batching import Lent, features
from faceswap_jax.inference.clip import find_people
from faceswap_jax.inference.generator import Generator
from faceswap_jax.inference.who import faces_of, shown_in

EXPRESSION = "expression"
"""The role."""


def check_lenders(sources: Sequence[Path], target: Path) -> None:
    """Raises InputError unless pictures, or one clip, can lend an expression to the faces of a picture or clip."""
    for path in sources:
        video.probe(path)
    clips = [path for path in sources if not is_picture(path)]
    if clips and len(sources) > 1:
        raise InputError(
            f"--expression names {len(sources)} files, but {clips[0]} is a clip, which drives from frame to frame; "
            "give it alone, or pictures, which hold one expression together."
        )
    if clips and is_picture(target):
        raise InputError(
            f"{target} is one picture, but --expression names a clip, {clips[0]}; give a picture of the expression."
        )


def expression_of(generator: Generator, sources: Sequence[Path], target: Path) -> Lent:
    """The expression that pictures hold together, or that the largest face of a clip has at each time.

    Says so where the clip ends before the target.

    Args:
        generator: reads it.
        sources: as `check_lenders` admits them.
        target: picture or clip whose faces take it on.

    Raises:
        InputError: the generator can be lent no expression, or a source shows no face.
    """
    if EXPRESSION not in generator.roles:
        raise InputError(
            "This model takes no expression from others; leave --expression out, or give a run of "
            "experiments/attribute.py with config.features.expression, or what 'faceswap export' makes of it now."
        )
    if all(map(is_picture, sources)):
        crops = shown_in(faces_of(sources), generator).pictures
        together = generator.merged(EXPRESSION, features(generator, EXPRESSION, crops))
        return Lent(np.zeros(1), together[None])

    (clip,) = sources
    ends, goes_on = (video.probe(path).duration for path in (clip, target))
    if ends < goes_on:
        tell(
            f"{clip} ends after {ends:.1f} s, {target} after {goes_on:.1f} s: the last expression stays to the end."
        )
    return acted(generator, clip)


def acted(generator: Generator, clip: Path) -> Lent:
    """The expression that the largest face of a clip has at each time; InputError if it shows none."""
    faces = find_people(clip)[0].faces
    side, alignment = generator.resolution, generator.alignment
    times = []

    def acting() -> Iterator[Image]:
        for frame in video.read_frames(clip):
            if frame.index in faces:
                times.append(frame.time)
                landmarks = faces[frame.index].landmarks
                yield align.cut_face(frame.image, landmarks, side, alignment)

    vectors = features(generator, EXPRESSION, acting())
    return Lent(np.array(times), vectors)
