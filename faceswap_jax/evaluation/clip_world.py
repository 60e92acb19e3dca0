"""A folder of real clips as the benches see it: whose they are, and who judges identity and expression in them.

Pose and expression are read by MediaPipe's face landmarker v2.
"""

import contextlib
import math
import threading
from collections.abc import Iterable, Mapping, Sequence, Set
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import expression, identity
from faceswap_jax.evaluation.frames import Landmarks, PerFrame, Points, first_of_each
from faceswap_jax.evaluation.report import Score
from faceswap_jax.faces import align, sequence, video
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.faces.embedding import DlibEmbedder, FaceEmbedder, SFaceEmbedder
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.people import find_people
from faceswap_jax.faces.video import CLIP_SUFFIXES
from faceswap_jax.inference.batching import Lent
from faceswap_jax.inference.who import spread_faces

REFERENCES = 12  # faces that a persona's identity is measured on
LOOKS = 2  # at the identity, a second
SIDE = 192  # of a face that is shown, pixels

FOLLOWING: Mapping[str, Score] = {
    "yaw": Score("yaw error (deg)", "lower"),
    "pitch": Score("pitch error (deg)", "lower"),
    "roll": Score("roll error (deg)", "lower"),
    **{
        f"{group} correlation": Score(f"{group} correlation", "higher", 2, (-1, 1))
        for group in expression.GROUPS
    },
    **{f"{group} amplitude": Score(f"{group} amplitude", "1") for group in expression.GROUPS},
    **{
        f"{group} difference": Score(f"difference of the {group}", "lower", 3)
        for group in expression.GROUPS
    },
}
"""Scores of how a clip follows another's performance."""

INCEPTION = "Inception"
"""The judge who tells nobody's identity, but how far sets of faces are from each other."""

ByJudge = Mapping[str, identity.Embeddings]
"""Embeddings of the same faces, by the name of the network that judges identity by them."""


class Acting(NamedTuple):
    """What somebody's first clip lends, where it shows a face.

    Attributes:
        blendshapes: over time.
        looks: aligned faces by their time in seconds, LOOKS a second.
    """

    blendshapes: Lent
    looks: Mapping[float, Image]

    def look_at(self, time: float) -> Image:
        """The face that is shown nearest to a moment."""
        return self.looks[min(self.looks, key=lambda other: abs(other - time))]


class Person(NamedTuple):
    """What is known of a persona: embeddings by each judge of some faces in the order of time, and one aligned face."""

    embeddings: ByJudge
    image: Image


class ClipWorld:
    """Clips of people.

    Attributes:
        clips: whole ones.
        judges: what embeds faces, by name: `embedder`, see `embedder.load`, or else dlib's network and SFace; and
            INCEPTION, if there is one.
        scores: of identity, by each judge, and of the performance.
    """

    def __init__(self, folder: Path, embedder: Path | None = None, inception: Path | None = None):
        """Finds the clips of a folder.

        Args:
            folder: of the clips.
            embedder: what compares identities.
            inception: file of Inception's weights; without it there is no KID.

        Raises:
            InputError: there are none, or the embedder or Inception cannot be used.
        """
        inputs = [path for path in sorted(folder.iterdir()) if _is_input(path)]
        if not inputs:
            raise InputError(
                f"'{folder}' holds no clip; give a folder with a clip or a folder of each person."
            )
        found = find_clips(inputs).clips
        self.clips = [clip for clip in found if _is_whole_clip(clip)]
        self.clips += _sequences(found, {clip.persona for clip in self.clips})
        self.judges: dict[str, FaceEmbedder]
        if embedder:
            name = embedder.resolve().name
            if name == INCEPTION:
                raise InputError(f"'{embedder}' has a name that is kept for Inception; rename it.")
            self.judges = {name: identity.IResNetEmbedder(embedder)}
        else:
            self.judges = {"dlib": DlibEmbedder(), "SFace": SFaceEmbedder()}
        if inception:
            self.judges[INCEPTION] = identity.InceptionViews(inception)
        self.scores = _identity_scores(self.judges) | FOLLOWING
        self._people: dict[str, Person] = {}
        self._acting: dict[str, Acting] = {}
        # Several clips may be compared at once.
        self._looking = {clip.persona: threading.Lock() for clip in self.clips}

    def person(self, persona: str) -> Person:
        """Faces of a persona's clips, evenly over their time; looked for once.

        Raises:
            InputError: the clips show fewer than two.
        """
        with self._looking[persona]:
            if persona not in self._people:
                self._people[persona] = self._look_at(persona)
            return self._people[persona]

    def others(self, persona: str) -> list[ByJudge]:
        """Embeddings of everybody else in the folder."""
        names = dict.fromkeys(clip.persona for clip in self.clips)
        return [self.person(name).embeddings for name in names if name != persona]

    def acting(self, persona: str) -> Acting:
        """What the largest face of a persona's first clip does; looked at once.

        Raises:
            InputError: the clip shows no face that can be read.
        """
        with self._looking[persona]:
            if persona not in self._acting:
                self._acting[persona] = _look_at_acting(first_of_each(self.clips)[persona].path)
            return self._acting[persona]

    def _look_at(self, persona: str) -> Person:
        clips = [clip.path for clip in self.clips if clip.persona == persona]
        each = max(2, REFERENCES // len(clips))
        found = []
        with contextlib.closing(MediaPipeLandmarker(beta=0)) as landmarker:
            for path in clips:
                found += spread_faces(path, each, landmarker)

        # Landmarks are those that `compare` sees, too.
        reader = BlendshapeReader()
        read = []
        for frame, face in found:
            window = reader.window(frame.image, face.landmarks)
            if window and (reading := reader(frame.image, window)):
                read.append((frame.image, reading.landmarks))
        # Halves of them are compared.
        if len(read) < 2:
            raise InputError(
                f"The clips of {persona} show fewer than two faces; leave them out, or give others."
            )
        image, landmarks = read[len(read) // 2]
        embeddings = {}
        for judge, embed in self.judges.items():
            embeddings[judge] = np.stack([embed(*face) for face in read])
        return Person(embeddings, shown_face(image, landmarks))


def _look_at_acting(clip: Path) -> Acting:
    with contextlib.closing(open_landmarker(clip)) as landmarker:
        faces = find_people(clip, landmarker)[0].faces
    reader = BlendshapeReader()
    read: dict[float, np.ndarray] = {}
    looks: dict[float, Image] = {}
    apart = 1 / LOOKS
    for frame in video.read_frames(clip):
        if frame.index not in faces:
            continue
        landmarks = faces[frame.index].landmarks
        window = reader.window(frame.image, landmarks)
        if window and (reading := reader(frame.image, window)):
            read[frame.time] = reading.scores
            if not looks or frame.time >= max(looks) + apart:
                looks[frame.time] = shown_face(frame.image, landmarks)
    if not read:
        raise InputError(f"{clip} shows no face whose expression can be read; leave it out.")
    return Acting(Lent(np.array(list(read)), np.stack(list(read.values()))), looks)


def identity_values(
    faces: ByJudge, own: ByJudge, performing: ByJudge, others: Sequence[ByJudge]
) -> dict[str, PerFrame]:
    """How near faces come to a persona, to the performer and to all real faces, by each judge.

    Found is a face that is nearer to the persona than to everybody else.

    Args:
        faces: to be judged.
        own: of the persona.
        performing: of the performer.
        others: of everybody but the persona.
    """
    values = {}
    for judge, embeddings in faces.items():
        real = np.concatenate([own[judge], *(other[judge] for other in others)])
        values[f"features by {judge}"] = np.array([identity.feature_distance(embeddings, real)])
        if judge == INCEPTION:
            continue
        near = identity.cosine(embeddings, identity.template(own[judge]))
        nearest = np.full(len(near), np.nan, np.float32)
        for other in others:
            distance = identity.cosine(embeddings, identity.template(other[judge]))
            nearest = np.fmax(nearest, distance)
        known = np.isfinite(near) & np.isfinite(nearest)
        values[f"found by {judge}"] = np.where(known, 100.0 * (near > nearest), np.nan)
        values[f"identity by {judge}"] = near
        reference = identity.template(performing[judge])
        values[f"performer by {judge}"] = identity.cosine(embeddings, reference)
    return values


def expression_values(
    blendshapes: expression.Blendshapes, driving: expression.Blendshapes
) -> dict[str, np.ndarray]:
    """How well a clip follows the driving clip: motion over the clip, and what differs frame by frame."""
    values = {}
    for group in expression.GROUPS:
        clip, other = (expression.signals(scores, group) for scores in (blendshapes, driving))
        for measure, value in expression.following(clip, other)._asdict().items():
            values[f"{group} {measure}"] = np.array([value])
        values[f"{group} difference"] = np.abs(clip - other).mean(1)
    return values


def has_face(landmarks: Landmarks) -> Bool[np.ndarray, "n"]:
    # All landmarks of a frame are numbers, or none is.
    return np.isfinite(landmarks[:, 0, 0])


def shown_face(image: Image, landmarks: Points) -> Image:
    """A face as people are shown it; identities are compared in views of their own."""
    return align.cut_face(image, landmarks, SIDE, "eyes")


def _is_input(path: Path) -> bool:
    is_clip = path.is_dir() or path.suffix.lower() in CLIP_SUFFIXES
    return is_clip and not path.name.startswith(".")


def _is_whole_clip(clip: Clip) -> bool:
    return clip.path.suffix.lower() in CLIP_SUFFIXES and clip.end == math.inf


def _sequences(found: Iterable[Clip], shown: Set[str]) -> list[Clip]:
    """Numbered pictures as clips, of those people whom no clip shows."""
    folders = {clip.path.parent: clip.persona for clip in found if clip.persona not in shown}
    clips = []
    for folder, persona in folders.items():
        for pattern in sequence.patterns_in(folder):
            clips.append(Clip(pattern, persona, f"{persona}/{pattern.name}"))
    return clips


def _identity_scores(judges: Iterable[str]) -> dict[str, Score]:
    scores = {}
    for judge in judges:
        # An unbiased estimate may be negative.
        distance = "KID" if judge == INCEPTION else "feature distance"
        features = Score(f"{distance} ({judge})", "lower", 3, (-math.inf, math.inf))
        if judge == INCEPTION:
            scores[f"features by {judge}"] = features
            continue
        scores[f"found by {judge}"] = Score(f"identity found (%, {judge})", "higher", 1, (0, 100))
        scores[f"identity by {judge}"] = Score(
            f"cosine to the persona ({judge})", "higher", 3, (-1, 1)
        )
        scores[f"performer by {judge}"] = Score(
            f"cosine to the performer ({judge})", "lower", 3, (-1, 1)
        )
        scores[f"features by {judge}"] = features
    return scores
