"""Scores of swapped clips whose perfect swap nobody knows: what identity, performance, steadiness and seams tell."""

import contextlib
import math
import threading
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float32

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import expression, identity, motion, seam
from faceswap_jax.evaluation.ceiling import Ceiling
from faceswap_jax.evaluation.frames import (
    Chunk,
    Frames,
    Landmarks,
    Performer,
    PerFrame,
    Points,
    Swapped,
    pairs_of,
    row_name,
    side_by_side,
    spread,
)
from faceswap_jax.evaluation.report import Comparison, Score, Values, join_values
from faceswap_jax.faces import align, video
from faceswap_jax.faces.blendshapes import NAMES, BlendshapeReader
from faceswap_jax.faces.embedding import DlibEmbedder, FaceEmbedder, SFaceEmbedder
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.video import CLIP_SUFFIXES
from faceswap_jax.inference.generator import Generator
from faceswap_jax.inference.who import spread_faces

CHUNK = 16  # frames in memory at a time
SHOWN = 2  # faces of each clip in the grid
SIDE = 192  # of these faces, pixels
MARGIN = 16  # pixels around the face that the flow may need
REFERENCES = 12  # faces that a persona's identity is measured on
LOOKS = 2  # at the identity, a second

Row = tuple[str | None, str]
"""A clip that is measured: the persona it shows, if it is a result, and its row in the persona's table."""

TARGET: Row = (None, "do nothing")

ByJudge = Mapping[str, identity.Embeddings]
"""Embeddings of the same faces, by the name of the network that judges identity by them."""


class Person(NamedTuple):
    """What is known of a persona: embeddings by each judge of some faces in the order of time, and one aligned face."""

    embeddings: ByJudge
    image: Image


class ClipBench:
    """Faces are looked for anew in targets and in results, both in the same windows, so that both are measured alike.

    Pose and expression are read by MediaPipe's face landmarker v2. Identities are compared by `embedder`, see
    `embedder.load`, or else by dlib's network and by SFace, each with scores of its own.

    Rows: "do nothing", the untouched target; "swap"; "ceiling", the performer's own face at the generator's resolution,
    behind the generator's alignment and the blending: no network can follow better; "persona", the persona's own clips,
    half of which are compared with the other half: as near as an identity can be expected to come.
    """

    _other_scores: Mapping[str, Score] = {
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
        "flicker": Score("flicker (of 255)", "lower"),
        "unsteadiness": Score("flicker (target 1)", "1"),
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
        self._judges: Mapping[str, FaceEmbedder]
        if embedder:
            self._judges = {embedder.resolve().name: identity.IResNetEmbedder(embedder)}
        else:
            self._judges = {"dlib": DlibEmbedder(), "SFace": SFaceEmbedder()}
        self.scores = _identity_scores(self._judges) | self._other_scores
        self._people: dict[str, Person] = {}
        self._looking = threading.Lock()

    def pairs(self, personas: Sequence[str]) -> list[tuple[str, Clip]]:
        """Every persona of which the folder has a clip, with every clip of the others."""
        return pairs_of(personas, self._clips)

    def columns(self, methods: Sequence[str]) -> list[str]:
        """The persona, the target, the swaps."""
        return ["persona", "target", *(row_name("swap", method) for method in methods)]

    def compare(
        self, clip: Clip, generator: Generator, performer: Performer, swapped: Swapped
    ) -> dict[str, Comparison]:
        """See `bench.Bench.compare`; identity is looked at LOOKS times a second."""
        info = video.probe(clip.path)
        every = max(1, round(info.rate / LOOKS))
        paths = {TARGET: clip.path}
        for persona, results in swapped.items():
            for method, path in results.items():
                paths[persona, row_name("swap", method)] = path

        own_faces = np.stack([face.landmarks for face in performer.values()])
        ceiling = Ceiling(generator.alignment, generator.resolution, own_faces)
        methods = {method: None for results in swapped.values() for method in results}

        # Of all clips at once: the target is measured once, however many faces it gets.
        reader = BlendshapeReader()
        chunks = []
        faces = []
        for chunk in side_by_side(list(paths.values()), CHUNK):
            rows = dict(zip(paths, chunk.clips, strict=True))
            target = _landmarks(performer, chunk.numbers)
            looked_at = [i for i in chunk.new if chunk.numbers[i] % every == 0]
            for i in looked_at:
                if np.isfinite(target[i]).all():
                    faces.append({row: _face(rows[row][i], target[i]) for row in rows})
            for method in methods:
                best = _best(rows[TARGET], target, ceiling, method)
                rows[None, row_name("ceiling", method)] = best
            chunks.append(self._measure(rows, target, chunk, looked_at, reader))
        measured = join_values(chunks)

        # There may be no face to show.
        shown = [faces[i] for i in spread(SHOWN, len(faces))]
        performing = self._person(clip.persona)
        result = {}
        for persona in swapped:
            own = self._person(persona)
            mine = {row: values for row, values in measured.items() if row[0] in (None, persona)}
            rows = _table(mine, own, performing)
            shown_rows = [row for row in mine if row in paths]
            lines = [[own.image, *(line[row] for row in shown_rows)] for line in shown]
            images = np.reshape(lines, (-1, 1 + len(shown_rows), SIDE, SIDE, 3)).astype(np.uint8)
            # A row lacks what is not measured of it.
            undefined = dict.fromkeys(self.scores, np.full(1, np.nan))
            rows = {name: undefined | row for name, row in rows.items()}
            result[persona] = Comparison(rows, info.duration, images)
        return result

    def _measure(
        self,
        rows: Mapping[Row, Frames],
        landmarks: Landmarks,
        chunk: Chunk,
        looked_at: Sequence[int],
        reader: BlendshapeReader,
    ) -> dict[Row, Values]:
        """What the pixels of a chunk tell, of each of its clips.

        Args:
            rows: frames of each clip.
            landmarks: the performer's.
            chunk: the frames' place in their clips.
            looked_at: places of the frames whose identity is measured.
            reader: of pose and expression.
        """
        target = rows[TARGET]
        flicker = _flicker(rows, target, landmarks)
        windows = {}
        for i in chunk.new:
            if np.isfinite(landmarks[i]).all():
                windows[i] = reader.window(target[i], landmarks[i])

        new = slice(chunk.repeated, None)
        values = {}
        for row, frames in rows.items():
            points = np.full((len(frames), 68, 2), np.nan, np.float32)
            blendshapes = np.full((len(frames), len(NAMES)), np.nan, np.float32)
            for i, window in windows.items():
                if window and (reading := reader(frames[i], window)):
                    points[i], blendshapes[i] = reading
            values[row] = {
                "points": points[new],
                "blendshapes": blendshapes[new],
                "seam": _seam(frames, target, landmarks)[new],
                "found": 100.0 * _has_face(points)[new],
                "flicker": flicker[row],
            }
            for judge, embed in self._judges.items():
                values[row][f"embeddings by {judge}"] = identity.embed_frames(
                    embed, frames[looked_at], points[looked_at]
                )
        return values

    def _person(self, persona: str) -> Person:
        """Faces of a persona's clips, evenly over their time; looked for once.

        Raises:
            InputError: the clips show fewer than two.
        """
        # Several clips may be compared at once.
        with self._looking:
            if persona not in self._people:
                self._people[persona] = self._look_at(persona)
            return self._people[persona]

    def _look_at(self, persona: str) -> Person:
        clips = [clip.path for clip in self._clips if clip.persona == persona]
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
        for judge, embed in self._judges.items():
            embeddings[judge] = np.stack([embed(*face) for face in read])
        return Person(embeddings, _face(image, landmarks))


def _is_input(path: Path) -> bool:
    is_clip = path.is_dir() or path.suffix.lower() in CLIP_SUFFIXES
    return is_clip and not path.name.startswith(".")


def _is_whole_clip(clip: Clip) -> bool:
    return clip.path.suffix.lower() in CLIP_SUFFIXES and clip.end == math.inf


def _landmarks(performer: Performer, numbers: Sequence[int]) -> Landmarks:
    """Landmarks of the performer in the frames of these numbers; NaN where there are none."""
    points = np.full((len(numbers), 68, 2), np.nan, np.float32)
    for i, number in enumerate(numbers):
        if number in performer:
            points[i] = performer[number].landmarks
    return points


def _best(target: Frames, landmarks: Landmarks, ceiling: Ceiling, method: str) -> Frames:
    """The target with its own face as the ceiling shows it, where it has one."""
    best = target.copy()
    for i in np.flatnonzero(_has_face(landmarks)):
        best[i] = ceiling(target[i], target[i], landmarks[i], method)
    return best


def _table(
    measured: Mapping[Row, Values], own: Person, performing: Person
) -> dict[str, dict[str, np.ndarray]]:
    """The rows of a persona's table, from what was measured of the target and of the results."""
    driving = measured[TARGET]
    rows = {}
    for (_, name), values in measured.items():
        poses = expression.pose_errors(values["points"], driving["points"])
        embeddings = {judge: values[f"embeddings by {judge}"] for judge in own.embeddings}
        rows[name] = {
            **_identity(embeddings, own.embeddings, performing.embeddings),
            **dict(zip(("yaw", "pitch", "roll"), poses.T, strict=True)),
            **_expression(values["blendshapes"], driving["blendshapes"]),
            **{score: values[score] for score in ("flicker", "seam", "found")},
            "unsteadiness": _mean(values["flicker"]) / _mean(driving["flicker"]),
        }
    rows["persona"] = _halves(own, performing)
    return rows


def _identity_scores(judges: Iterable[str]) -> dict[str, Score]:
    scores = {}
    for judge in judges:
        scores[f"identity by {judge}"] = Score(
            f"cosine to the persona ({judge})", "higher", 3, (-1, 1)
        )
        scores[f"performer by {judge}"] = Score(
            f"cosine to the performer ({judge})", "lower", 3, (-1, 1)
        )
    return scores


def _identity(faces: ByJudge, own: ByJudge, performing: ByJudge) -> dict[str, PerFrame]:
    """How near faces come to a persona and to the performer, by each judge."""
    values = {}
    for judge, embeddings in faces.items():
        for name, person in (("identity", own), ("performer", performing)):
            reference = identity.template(person[judge])
            values[f"{name} by {judge}"] = identity.cosine(embeddings, reference)
    return values


def _expression(
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


def _mean(values: PerFrame) -> Float32[np.ndarray, "1"]:
    """The mean of what is defined; NaN of nothing."""
    defined = values[np.isfinite(values)]
    return np.array([defined.mean() if len(defined) else np.nan], np.float32)


def _halves(own: Person, performer: Person) -> dict[str, np.ndarray]:
    """The later half of a persona's faces against the earlier half, and against the performer."""
    earlier = {}
    later = {}
    for judge, embeddings in own.embeddings.items():
        earlier[judge], later[judge] = np.split(embeddings, [len(embeddings) // 2])
    return _identity(later, earlier, performer.embeddings)


def _flicker(
    rows: Mapping[Row, Frames], target: Frames, landmarks: Landmarks
) -> dict[Row, PerFrame]:
    """`motion.flicker` inside the face, of the part of the frames that shows it."""
    height, width = target.shape[1:3]
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
    return motion.flicker(part, part[TARGET], masks)


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
