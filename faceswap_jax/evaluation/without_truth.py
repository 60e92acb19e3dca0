"""Scores of swapped clips whose perfect swap nobody knows: what identity, performance, steadiness and seams tell."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import expression, identity, motion, seam
from faceswap_jax.evaluation.frames import (
    Chunk,
    Frames,
    Landmarks,
    PerFrame,
    Points,
    pairs_of,
    row_name,
    side_by_side,
    spread,
)
from faceswap_jax.evaluation.report import Comparison, Score, Values, join_values
from faceswap_jax.faces import align, video
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.video import CLIP_SUFFIXES
from faceswap_jax.inference.generator import Generator
from faceswap_jax.inference.who import spread_faces

CHUNK = 16  # frames in memory at a time
SHOWN = 2  # faces of each clip in the grid
SIDE = 192  # of these faces, pixels
MARGIN = 16  # pixels around the face that the flow may need
REFERENCES = 24  # faces that a persona's identity is measured on
LOOKS = 2  # at the identity, a second


class Person(NamedTuple):
    """What is known of a persona: embeddings of some faces in the order of time, and one aligned face."""

    embeddings: Float32[np.ndarray, "n d"]
    image: Image


class ClipBench:
    """Faces are found anew, by MediaPipe, in targets and in results, so that both are measured alike.

    Identities are compared by `embedder`, see `embedder.load`, or else by dlib's network.

    Rows: "do nothing", the untouched target; "swap"; "persona", the persona's own clips, half of which are compared
    with the other half: as near as an identity can be expected to come.
    """

    scores: Mapping[str, Score] = {
        "identity": Score("cosine to the persona", "higher", 3, (-1, 1)),
        "performer": Score("cosine to the performer", "lower", 3, (-1, 1)),
        "yaw": Score("yaw error (deg)", "lower"),
        "pitch": Score("pitch error (deg)", "lower"),
        "roll": Score("roll error (deg)", "lower"),
        **{
            ratio: Score(f"correlation of the {ratio}", "higher", 3, (-1, 1))
            for ratio in expression.RATIOS
        },
        "flicker": Score("flicker (of 255)", "lower"),
        "seam": Score("seam (target 1)", "1"),
        "found": Score("faces found (%)", "higher", 1, (0, 100)),
    }
    floor: Mapping[str, float] = {}

    def __init__(self, folder: Path, embedder: Path | None = None):
        """Finds the clips of a folder.

        Raises:
            InputError: there are none, or the embedder cannot be used.
        """
        inputs = [path for path in sorted(folder.iterdir()) if _is_input(path)]
        if not inputs:
            raise InputError(
                f"'{folder}' holds no clip; give a folder with a clip or a folder of each person."
            )
        self._clips = [clip for clip in find_clips(inputs).clips if _is_whole_clip(clip)]
        if embedder:
            self._embedder = identity.IResNetEmbedder(embedder)
        else:
            self._embedder = identity.DlibEmbedder()
        self._landmarker = MediaPipeLandmarker()
        self._people: dict[str, Person] = {}

    def pairs(self, personas: Sequence[str]) -> list[tuple[str, Clip]]:
        """Every persona of which the folder has a clip, with every clip of the others."""
        return pairs_of(personas, self._clips)

    def columns(self, methods: Sequence[str]) -> list[str]:
        """The persona, the target, the swaps."""
        return ["persona", "target", *(row_name("swap", method) for method in methods)]

    def compare(
        self, persona: str, clip: Clip, generator: Generator, swapped: Mapping[str, Path]
    ) -> Comparison:
        """See `bench.Bench.compare`; identity is looked at LOOKS times a second."""
        names = ["do nothing", *(row_name("swap", method) for method in swapped)]
        own = self._person(persona)
        performer = self._person(clip.persona)
        info = video.probe(clip.path)
        every = max(1, round(info.rate / LOOKS))

        values = []
        landmarks = []
        lines = []
        for chunk in side_by_side([clip.path, *swapped.values()], CHUNK):
            rows = dict(zip(names, chunk.clips, strict=True))
            points = {name: self._find(frames, chunk.new) for name, frames in rows.items()}
            looked_at = [i for i in chunk.new if chunk.numbers[i] % every == 0]
            values.append(self._values(rows, points, looked_at, chunk, (own, performer)))
            landmarks.append({name: {"points": points[name][chunk.repeated :]} for name in names})
            target = points["do nothing"]
            for i in looked_at:
                if np.isfinite(target[i]).all():
                    faces = [_face(frames[i], target[i]) for frames in chunk.clips]
                    lines.append(np.stack([own.image, *faces]))

        # What only the whole clip tells
        rows = join_values(values)
        found = join_values(landmarks)
        for name in names:
            driving = found["do nothing"]["points"]
            rows[name] |= _performance(found[name]["points"], driving)
        rows["persona"] = _halves(own, performer)

        # A row lacks what is not measured of it.
        undefined = dict.fromkeys(self.scores, np.full(1, np.nan))
        rows = {name: undefined | row for name, row in rows.items()}

        # There may be no face to show.
        chosen = [lines[i] for i in spread(SHOWN, len(lines))]
        columns = len(names) + 1
        images = np.reshape(chosen, (-1, columns, SIDE, SIDE, 3)).astype(np.uint8)
        return Comparison(rows, info.duration, images)

    def _values(
        self,
        rows: Mapping[str, Frames],
        points: Mapping[str, Landmarks],
        looked_at: Sequence[int],
        chunk: Chunk,
        people: tuple[Person, Person],
    ) -> dict[str, Values]:
        """The scores of a chunk that need its pixels.

        Args:
            rows: frames by row of the table.
            points: landmarks by row.
            looked_at: places of the frames whose identity is measured.
            chunk: the frames' place in their clips.
            people: the persona and the performer.
        """
        target = points["do nothing"]
        own, performer = (identity.template(person.embeddings) for person in people)
        flicker = _flicker(rows, target)
        new = slice(chunk.repeated, None)
        values = {}
        for name, frames in rows.items():
            embedded = self._embedder(frames[looked_at], points[name][looked_at])
            seams = _seam(frames, rows["do nothing"], target)
            values[name] = {
                "identity": identity.cosine(embedded, own),
                "performer": identity.cosine(embedded, performer),
                "seam": seams[new],
                "found": 100.0 * _has_face(points[name])[new],
                "flicker": flicker[name],
            }
        return values

    def _find(self, frames: Frames, places: Sequence[int]) -> Landmarks:
        """Landmarks of the largest face of the frames at these places; NaN without one, and elsewhere."""
        points = np.full((len(frames), 68, 2), np.nan, np.float32)
        for i in places:
            for face in self._landmarker(frames[i], i)[:1]:
                points[i] = face.landmarks
        return points

    def _person(self, persona: str) -> Person:
        """Faces of a persona's clips, evenly over their time; looked for once.

        Raises:
            InputError: the clips show fewer than two.
        """
        if persona not in self._people:
            self._people[persona] = self._look_at(persona)
        return self._people[persona]

    def _look_at(self, persona: str) -> Person:
        clips = [clip.path for clip in self._clips if clip.persona == persona]
        each = max(2, REFERENCES // len(clips))
        found = []
        for path in clips:
            found += spread_faces(path, each, self._landmarker)
        # Halves of them are compared.
        if len(found) < 2:
            raise InputError(
                f"The clips of {persona} show fewer than two faces; leave them out, or give others."
            )

        # One by one: frames of two clips may differ in size.
        embeddings = []
        for frame, face in found:
            embeddings.append(self._embedder(frame.image[None], face.landmarks[None]))
        frame, face = found[len(found) // 2]
        image = _face(frame.image, face.landmarks)
        return Person(np.concatenate(embeddings), image)


def _is_input(path: Path) -> bool:
    is_clip = path.is_dir() or path.suffix.lower() in CLIP_SUFFIXES
    return is_clip and not path.name.startswith(".")


def _is_whole_clip(clip: Clip) -> bool:
    return clip.path.suffix.lower() in CLIP_SUFFIXES and clip.end == math.inf


def _performance(landmarks: Landmarks, driving: Landmarks) -> dict[str, np.ndarray]:
    """How well a clip follows the driving clip: errors of the pose, correlations of the expression."""
    errors = expression.pose_errors(landmarks, driving)
    values = dict(zip(("yaw", "pitch", "roll"), errors.T, strict=True))
    ratios = expression.aspect_ratios(landmarks)
    expected = expression.aspect_ratios(driving)
    correlations = expression.correlation(ratios, expected)
    for ratio, correlation in zip(expression.RATIOS, correlations, strict=True):
        values[ratio] = correlation[None]
    return values


def _halves(own: Person, performer: Person) -> dict[str, np.ndarray]:
    """The later half of a persona's faces against the earlier half, and against the performer."""
    half = len(own.embeddings) // 2
    earlier = own.embeddings[:half]
    later = own.embeddings[half:]
    return {
        "identity": identity.cosine(later, identity.template(earlier)),
        "performer": identity.cosine(later, identity.template(performer.embeddings)),
    }


def _flicker(rows: Mapping[str, Frames], landmarks: Landmarks) -> Values:
    """`motion.flicker` inside the face, of the part of the frames that shows it."""
    height, width = rows["do nothing"].shape[1:3]
    found = np.flatnonzero(_has_face(landmarks))
    polygons = {i: align.face_polygon(landmarks[i]) for i in found}

    # The rectangle that holds all of them, with a margin, within the frame; any one if there is none
    outlines = [*polygons.values()] or [np.zeros((1, 2))]
    corners = np.concatenate(outlines)
    low = np.floor(corners.min(0)).astype(int) - MARGIN
    high = np.ceil(corners.max(0)).astype(int) + MARGIN
    left, top = np.clip(low, 0, (width - 1, height - 1))
    right, bottom = np.clip(high, 1, (width, height))

    # Flow and masks of this part alone
    height, width = bottom - top, right - left
    masks = np.zeros((len(landmarks), height, width), np.float32)
    for i, polygon in polygons.items():
        masks[i] = align.polygon_mask(polygon - (left, top), height, width)
    part = {name: frames[:, top:bottom, left:right] for name, frames in rows.items()}
    return motion.flicker(part, part["do nothing"], masks)


def _seam(frames: Frames, target: Frames, landmarks: Landmarks) -> PerFrame:
    """`seam.seam_ratio`, NaN for frames without a face."""
    found = _has_face(landmarks)
    ratios = np.full(len(frames), np.nan, np.float32)
    ratios[found] = seam.seam_ratio(frames[found], target[found], landmarks[found])
    return ratios


def _has_face(landmarks: Landmarks) -> Bool[np.ndarray, "n"]:
    # All landmarks of a frame are numbers, or none is.
    return np.isfinite(landmarks[:, 0, 0])


def _face(image: Image, landmarks: Points) -> Image:
    """A face as people are shown it; identities are compared in views of their own."""
    return align.cut_face(image, landmarks, SIDE, "eyes")
