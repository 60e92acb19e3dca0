"""Scores of swapped clips whose perfect swap nobody knows: what identity, performance, steadiness and seams tell."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, UInt8

from data_pipelines.clips import Clip
from data_pipelines.prepare.layouts import find_clips
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import expression, identity, motion, seam
from faceswap_jax.evaluation.frames import Frames, chunks, row_name
from faceswap_jax.evaluation.report import Comparison, Score, Values
from faceswap_jax.faces import align, video
from faceswap_jax.faces.mediapipe import MediaPipeLandmarker
from faceswap_jax.faces.video import CLIP_SUFFIXES
from faceswap_jax.swap import Model

CHUNK = 16  # frames in memory at a time
SHOWN, PICTURE = 2, 192  # faces of each clip in the grid, and their side in pixels
MARGIN = 16  # pixels around the face that the flow may need
REFERENCES = 24  # faces that a persona's identity is measured on


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
        inputs = [
            path
            for path in sorted(folder.iterdir())
            if path.is_dir() or path.suffix.lower() in CLIP_SUFFIXES
        ]
        inputs = [path for path in inputs if not path.name.startswith(".")]
        if not inputs:
            raise InputError(
                f"'{folder}' holds no clip; give a folder with a clip or a folder of each person."
            )
        found = find_clips(inputs).clips
        self._clips = [
            clip
            for clip in found
            if clip.path.suffix.lower() in CLIP_SUFFIXES and clip.end == math.inf
        ]
        self._embedder = identity.IResNetEmbedder(embedder) if embedder else identity.DlibEmbedder()
        self._landmarker = MediaPipeLandmarker()
        self._sources: dict[str, Faces] = {}

    def pairs(self, personas: Sequence[str]) -> list[tuple[str, Clip]]:
        """Every persona of which the folder has a clip, with every clip of the others."""
        known = {clip.persona for clip in self._clips}
        return [
            (p, clip) for p in personas if p in known for clip in self._clips if clip.persona != p
        ]

    def columns(self, methods: Sequence[str]) -> list[str]:
        """The persona, the target, the swaps."""
        return ["persona", "target", *(row_name("swap", method) for method in methods)]

    def compare(
        self, persona: str, clip: Clip, model: Model, swapped: Mapping[str, Path]
    ) -> Comparison:
        """Scores a clip with a persona's face. Identity is looked at twice a second."""
        names = ["do nothing", *(row_name("swap", method) for method in swapped)]
        own, performer = self._source(persona), self._source(clip.persona)
        every = max(1, round(video.probe(clip.path).rate / 2))
        landmarks, values, shown, start = [], [], [], 0
        for repeated, clips in chunks([clip.path, *swapped.values()], CHUNK):
            rows = dict(zip(names, clips, strict=True))
            points = {name: self._landmarks(frames, repeated) for name, frames in rows.items()}
            looked_at = [
                i for i in range(repeated, len(clips[0])) if (start + i - repeated) % every == 0
            ]
            start += len(clips[0]) - repeated
            target = points["do nothing"]
            flicker = _flicker(rows, target)
            chunk = {}
            for name, frames in rows.items():
                embedded = self._embedder(frames[looked_at], points[name][looked_at])
                chunk[name] = {
                    "identity": identity.cosine(embedded, identity.template(own.embeddings)),
                    "performer": identity.cosine(embedded, identity.template(performer.embeddings)),
                    "seam": _seam(frames, clips[0], target)[repeated:],
                    "found": 100.0 * np.isfinite(points[name][repeated:, 0, 0]),
                    "flicker": flicker[name],
                }
            values.append(chunk)
            landmarks.append({name: p[repeated:] for name, p in points.items()})
            faces = [i for i in looked_at if np.isfinite(target[i]).all()]
            shown += [np.stack([_face(frames[i], target[i]) for frames in clips]) for i in faces]
        rows = {name: _join([chunk[name] for chunk in values]) for name in names}
        found = _join(landmarks)
        for name in names:
            errors = expression.pose_errors(found[name], found["do nothing"])
            rows[name] |= dict(zip(("yaw", "pitch", "roll"), errors.T, strict=True))
            ratios, driving = (expression.aspect_ratios(found[row]) for row in (name, "do nothing"))
            correlation = expression.correlation(ratios, driving)
            rows[name] |= {
                ratio: value[None]
                for ratio, value in zip(expression.RATIOS, correlation, strict=True)
            }
        half = len(own.embeddings) // 2
        later = own.embeddings[half:]
        rows["persona"] = {
            "identity": identity.cosine(later, identity.template(own.embeddings[:half])),
            "performer": identity.cosine(later, identity.template(performer.embeddings)),
        }
        nothing = dict.fromkeys(self.scores, np.full(1, np.nan))
        rows = {name: nothing | row for name, row in rows.items()}
        pictures = (
            [shown[i] for i in np.linspace(0, len(shown) - 1, SHOWN + 2, dtype=int)[1:-1]]
            if shown
            else []
        )
        lines = [np.stack([own.picture, *faces]) for faces in pictures]
        columns = len(names) + 1
        return Comparison(
            rows,
            video.probe(clip.path).duration,
            np.reshape(lines, (-1, columns, PICTURE, PICTURE, 3)).astype(np.uint8),
        )

    def _landmarks(self, frames: Frames, repeated: int) -> Float32[np.ndarray, "n 68 2"]:
        """Of the largest face of each frame; NaN without one, and for the `repeated` first frames."""
        points = np.full((len(frames), 68, 2), np.nan, np.float32)
        for i in range(repeated, len(frames)):
            for face in self._landmarker(frames[i], i)[:1]:
                points[i] = face.landmarks
        return points

    def _source(self, persona: str) -> "Faces":
        """Faces of a persona's clips, evenly over their time."""
        if persona not in self._sources:
            clips = [clip.path for clip in self._clips if clip.persona == persona]
            frames, landmarks = [], []
            for path in clips:
                count = max(2, REFERENCES // len(clips))
                wanted = set(
                    np.linspace(0, video.probe(path).frames - 1, count, dtype=int).tolist()
                )
                for frame in video.read_frames(path):
                    for face in (
                        self._landmarker(frame.image, frame.index)[:1]
                        if frame.index in wanted
                        else ()
                    ):
                        frames.append(frame.image)
                        landmarks.append(face.landmarks)
            if len(frames) < 2:
                raise InputError(
                    f"The clips of {persona} show fewer than two faces; leave them out, or give others."
                )
            embeddings = np.concatenate(
                [self._embedder(f[None], p[None]) for f, p in zip(frames, landmarks, strict=True)]
            )
            middle = len(frames) // 2
            self._sources[persona] = Faces(embeddings, _face(frames[middle], landmarks[middle]))
        return self._sources[persona]


class Faces(NamedTuple):
    """What is known of a persona: embeddings of some faces in the order of time, and one aligned picture."""

    embeddings: Float32[np.ndarray, "n d"]
    picture: UInt8[np.ndarray, "h w 3"]


def _flicker(rows: Mapping[str, Frames], landmarks: Float32[np.ndarray, "n 68 2"]) -> Values:
    """`motion.flicker` inside the face, of the part of the frames that shows it."""
    height, width = rows["do nothing"].shape[1:3]
    found = np.isfinite(landmarks[:, 0, 0])
    polygons = {i: align.face_polygon(landmarks[i]) for i in np.flatnonzero(found)}
    corners = (
        np.concatenate([*polygons.values(), np.zeros((0, 2))]) if polygons else np.zeros((1, 2))
    )
    left, top = np.clip(np.floor(corners.min(0)).astype(int) - MARGIN, 0, (width - 1, height - 1))
    right, bottom = np.clip(np.ceil(corners.max(0)).astype(int) + MARGIN, 1, (width, height))
    masks = np.zeros((len(landmarks), bottom - top, right - left), np.float32)
    for i, polygon in polygons.items():
        masks[i] = align.polygon_mask(polygon - (left, top), bottom - top, right - left)
    part = {name: frames[:, top:bottom, left:right] for name, frames in rows.items()}
    return motion.flicker(part, part["do nothing"], masks)


def _seam(
    frames: Frames, target: Frames, landmarks: Float32[np.ndarray, "n 68 2"]
) -> Float32[np.ndarray, "n"]:
    """`seam.seam_ratio`, NaN for frames without a face."""
    found = np.isfinite(landmarks[:, 0, 0])
    ratios = np.full(len(frames), np.nan, np.float32)
    ratios[found] = seam.seam_ratio(frames[found], target[found], landmarks[found])
    return ratios


def _join(chunks: Sequence[Mapping[str, np.ndarray]]) -> dict[str, np.ndarray]:
    return {name: np.concatenate([chunk[name] for chunk in chunks]) for name in chunks[0]}


def _face(
    image: UInt8[np.ndarray, "h w 3"], landmarks: Float32[np.ndarray, "68 2"]
) -> UInt8[np.ndarray, "s s 3"]:
    return align.crop(image, align.alignment_transform(landmarks, PICTURE, "eyes"), PICTURE)
