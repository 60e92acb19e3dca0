"""Whole images that speak: one picture of everybody, driven by the sound of everybody's clips.

Scored is the opening of the mouth, against that in the clip that the sound is from. MediaPipe's landmarks tell both.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from rich.console import Console

from faceswap_jax.editing.control import Control, Latents
from faceswap_jax.evaluation.acting import (
    SHOWN,
    SHOWN_SIDE,
    Actor,
    View,
    identity_of,
    performance_of,
    resized,
    view_of,
)
from faceswap_jax.evaluation.expression import FOUND, following, read_faces, windows_of
from faceswap_jax.evaluation.frames import Frames, spread
from faceswap_jax.evaluation.report import Comparison, Score, Scored, Values
from faceswap_jax.faces import align, audio, mel, video
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.faces.expression import MEASURES, measures
from faceswap_jax.faces.mediapipe import Box
from faceswap_jax.inference.batching import generate, sound_window
from faceswap_jax.inference.generator import Edit, Generator

LONGEST = 100
"""Frames that are driven, one after the other: 4 s at 25 a second."""

BY_SOUND = "by sound"
BY_FRAMES = "by frames"
CEILING = "ceiling"

SCORES = {
    "found": FOUND,
    "correlation": Score("mouth opening: correlation", "higher", 2, (-1, 1)),
    "amplitude": Score("mouth opening: amplitude (driving 1)", "1"),
    "jitter": Score("mouth opening: jitter (driving 1)", "1"),
}

Opening = Float[np.ndarray, "n"]


@dataclass(frozen=True)
class Speech:
    """The beginning of the driving part of a clip with sound.

    Attributes:
        views: frame after frame.
        shift: what its sound adds to the latents of a face, in each of these frames.
        boxes: where the reader looks for the face in them.
        opening: of the mouth, as it is read.
        ceiling: scores of the views at the generator's resolution.
    """

    views: Sequence[View]
    shift: Latents
    boxes: Sequence[Box | None]
    opening: Opening
    ceiling: Values


def score_speech(
    generator: Generator, control: Control, actors: Sequence[Actor]
) -> dict[str, Scored]:
    """Everybody driven by the sound of everybody's clip: a table, `sound`; none if no clip has any."""
    reader = BlendshapeReader()
    speeches = {}
    for actor in actors:
        speech = read_speech(reader, generator, control, actor)
        if speech:
            speeches[actor.clip.persona] = speech
    if not speeches:
        return {}

    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    results = {}
    for source in actors:
        for name, speech in speeches.items():
            compared = compare(reader, generator, source, speech)
            results[f"{source.clip.persona} driven by {name}"] = [compared]
        console.print(f"{source.clip.persona}: driven by the sound of {len(speeches)} clips")
    columns = ["source", "driving", BY_FRAMES, BY_SOUND]
    return {"sound": Scored(results, SCORES, {}, columns)}


def read_speech(
    reader: BlendshapeReader, generator: Generator, control: Control, actor: Actor
) -> Speech | None:
    """What somebody says in the driving part of a clip; None if it has no sound."""
    samples = audio.read_audio(actor.clip.path)
    if not len(samples):
        return None
    side = len(actor.picture.frame.image)
    faces = dict(itertools.islice(actor.rest.items(), LONGEST))
    views = [
        view_of(frame, faces[frame.index], generator.alignment, side)
        for frame in video.read_frames(actor.clip.path)
        if frame.index in faces
    ]
    windows = [sound_window(samples, view.frame.time, mel.WINDOW) for view in views]

    images = np.stack([view.frame.image for view in views])
    boxes = windows_of(reader, images, np.stack([view.face.landmarks for view in views]))
    opening = _opening(reader, images, boxes)
    small = resized(resized(images, generator.resolution), side)
    return Speech(
        views=views,
        shift=control.speech(np.stack(windows)),
        boxes=boxes,
        opening=opening,
        ceiling=scores_of(_opening(reader, small, boxes), opening),
    )


def compare(
    reader: BlendshapeReader, generator: Generator, source: Actor, speech: Speech
) -> Comparison:
    """Scores a picture that says what is said in another clip, beside the same driven by its frames."""
    picture = source.picture
    side = len(picture.frame.image)
    identity = identity_of(generator, [picture])
    count = len(speech.views)
    acted = resized(generate(generator, identity, performance_of(speech.views)), side)
    # The head stays as it is in the picture.
    still = performance_of([picture] * count)
    spoken = resized(generate(generator, identity, still, Edit(speech.shift)), side)
    own = windows_of(reader, picture.frame.image[None], picture.face.landmarks[None])

    openings = {
        BY_FRAMES: _opening(reader, acted, speech.boxes),
        BY_SOUND: _opening(reader, spoken, own * count),
    }
    rows = {row: scores_of(opening, speech.opening) for row, opening in openings.items()}
    lines = []
    for i in spread(SHOWN, count):
        cells = [picture.frame.image, speech.views[i].frame.image, acted[i], spoken[i]]
        lines.append(np.stack([align.resize(cell, SHOWN_SIDE) for cell in cells]))
    seconds = speech.views[-1].frame.time - speech.views[0].frame.time
    return Comparison(rows | {CEILING: speech.ceiling}, max(seconds, 1e-3), np.stack(lines))


def scores_of(opening: Opening, driving: Opening) -> Values:
    """How far a mouth follows another's opening over time: correlation and amplitude, see `following`, and jitter.

    Jitter is the mean absolute second difference in time over the other's, where both are known; NaN if that is 0. All
    is told of the faces that are found.
    """
    told = following(opening[:, None], driving[:, None])
    shaken = np.abs(np.diff([opening, driving], 2))
    known = np.isfinite(shaken).all(0)
    own, expected = shaken[:, known].sum(1)
    jitter = own / expected if expected else np.nan
    found = 100 * np.isfinite(opening)[np.isfinite(driving)]
    values = {"found": found.mean() if len(found) else np.nan, **told._asdict(), "jitter": jitter}
    return {name: np.array([value]) for name, value in values.items()}


def _opening(reader: BlendshapeReader, images: Frames, boxes: Sequence[Box | None]) -> Opening:
    """How far mouths are open, relative to the faces' size; NaN where no face is seen."""
    landmarks = read_faces(reader, images, boxes).landmarks
    unknown = np.full((len(images), 2, 2), np.nan)
    return measures(landmarks, unknown)[:, list(MEASURES).index("mouth_open")]
