"""Scores of swapped clips whose perfect swap nobody knows: what identity, performance, steadiness and seams tell."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from data_pipelines.clips import Clip
from faceswap_jax.evaluation import expression, identity, motion, seam
from faceswap_jax.evaluation.ceiling import Ceiling
from faceswap_jax.evaluation.clip_world import (
    LOOKS,
    SIDE,
    ByJudge,
    ClipWorld,
    Person,
    expression_values,
    has_face,
    identity_values,
    shown_face,
)
from faceswap_jax.evaluation.detection import AREA, DETECTED, Detector
from faceswap_jax.evaluation.frames import (
    Chunk,
    Frames,
    Landmarks,
    Performer,
    PerFrame,
    Swapped,
    row_name,
    side_by_side,
    spread,
)
from faceswap_jax.evaluation.report import Comparison, Score, Values, join_values
from faceswap_jax.evaluation.wanted import Wanted
from faceswap_jax.faces import align, video
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.faces.face import Image
from faceswap_jax.inference.generator import Generator

CHUNK = 16  # frames in memory at a time
SHOWN = 2  # faces of each clip in the grid
MARGIN = 16  # pixels around the face that the flow may need
COPIED = ("flicker", "seam", "found", AREA)
"""Scores that are measured of each clip by itself."""

Row = tuple[Wanted | None, str]
"""A clip that is measured: what it shows, if it is a result, and its row in the table of that."""

TARGET: Row = (None, "do nothing")


class ClipBench:
    """Faces are looked for anew in targets and in results, both in the same windows, so that both are measured alike.

    Pose and expression are read by MediaPipe's face landmarker v2. Identities are compared by `embedder`, see
    `embedder.load`, or else by dlib's network and by SFace, each with scores of its own.

    Rows: "do nothing", the untouched target; "swap"; "ceiling", the performer's own face at the generator's resolution,
    behind the generator's alignment and the blending: no network can follow better; "persona", the persona's own clips,
    half of which are compared with the other half: as near as an identity can be expected to come.

    An expression that somebody lends is expected in the place of the performer's, moment by moment. The performer's own
    face says nothing of how well one can follow it, so that the ceiling has no scores of it.
    """

    floor: Mapping[str, float] = {}
    shares = True

    def __init__(
        self,
        folder: Path,
        embedder: Path | None = None,
        detector: Path | None = None,
        inception: Path | None = None,
    ):
        """Finds the clips of a folder.

        Args:
            folder: of the clips.
            embedder: what compares identities.
            detector: folder of a run that tells fakes; None if nobody is asked.
            inception: file of Inception's weights, for KID.

        Raises:
            InputError: there are none, or one of the networks cannot be used.
        """
        self._world = ClipWorld(folder, embedder, inception)
        self.clips = self._world.clips
        self._detector = Detector(detector, self.clips) if detector else None
        self.scores = {
            **self._world.scores,
            "flicker": Score("flicker (of 255)", "lower"),
            "unsteadiness": Score("flicker (target 1)", "1"),
            "seam": Score("seam (target 1)", "1"),
            "found": expression.FOUND,
        }
        if detector:
            self.scores[AREA] = DETECTED

    def columns(self, roles: Sequence[str], methods: Sequence[str]) -> list[str]:
        """Who lends, the target, the swaps."""
        return [*roles, "target", *(row_name("swap", method) for method in methods)]

    def compare(
        self, clip: Clip, generator: Generator, performer: Performer, swapped: Swapped
    ) -> dict[Wanted, Comparison]:
        """See `swapping.Bench.compare`; identity is looked at LOOKS times a second."""
        info = video.probe(clip.path)
        every = max(1, round(info.rate / LOOKS))
        paths = {TARGET: clip.path}
        for wanted, results in swapped.items():
            for method, path in results.items():
                paths[wanted, row_name("swap", method)] = path

        own_faces = np.stack([face.landmarks for face in performer.values()])
        ceiling = Ceiling(generator.alignment, generator.resolution, generator.outline, own_faces)
        methods = list(next(iter(swapped.values())))

        # Of all clips at once: the target is measured once, however many faces it gets.
        reader = BlendshapeReader()
        chunks = []
        times = []
        faces = {}
        for chunk in side_by_side(list(paths.values()), CHUNK):
            rows = dict(zip(paths, chunk.clips, strict=True))
            target = _landmarks(performer, chunk.numbers)
            times += [chunk.times[i] for i in chunk.new]
            looked_at = [i for i in chunk.new if chunk.numbers[i] % every == 0]
            for i in looked_at:
                if np.isfinite(target[i]).all():
                    shown = {row: shown_face(rows[row][i], target[i]) for row in rows}
                    faces[chunk.times[i]] = shown
            best = _best(rows[TARGET], target, ceiling, methods)
            rows |= {(None, row_name("ceiling", method)): best[method] for method in methods}
            chunks.append(self._measure(rows, target, generator.outline, chunk, looked_at, reader))
        measured = join_values(chunks)

        # There may be no face to show.
        moments = [list(faces)[i] for i in spread(SHOWN, len(faces))]
        result = {}
        for wanted in swapped:
            mine = {row: values for row, values in measured.items() if row[0] in (None, wanted)}
            rows = self._table(mine, wanted, clip.persona, times)
            shown_rows = [row for row in mine if row in paths]
            lines = []
            for time in moments:
                lenders = self._lenders(wanted, time)
                lines.append([*lenders, *(faces[time][row] for row in shown_rows)])
            columns = len(wanted.roles) + len(shown_rows)
            images = np.reshape(lines, (-1, columns, SIDE, SIDE, 3)).astype(np.uint8)
            # A row lacks what is not measured of it.
            undefined = dict.fromkeys(self.scores, np.full(1, np.nan))
            rows = {name: undefined | row for name, row in rows.items()}
            result[wanted] = Comparison(rows, info.duration, images)
        return result

    def _lenders(self, wanted: Wanted, time: float) -> list[Image]:
        """Faces of those who lend what is shown of others at a moment, in the order of their roles."""
        faces = []
        if wanted.identity is not None:
            faces.append(self._world.person(wanted.identity).image)
        if wanted.expression is not None:
            faces.append(self._world.acting(wanted.expression).look_at(time))
        return faces

    def _table(
        self,
        measured: Mapping[Row, Values],
        wanted: Wanted,
        performer: str,
        times: Sequence[float],
    ) -> dict[str, dict[str, np.ndarray]]:
        """The rows of a result's table.

        Args:
            measured: of the result and of its target.
            wanted: what the result shows.
            performer: of the target.
            times: of its frames, seconds.
        """
        driving = measured[TARGET]
        shown = wanted.identity or performer
        own = self._world.person(shown)
        performing = self._world.person(performer)
        others = self._world.others(shown)
        expected = driving["blendshapes"]
        if wanted.expression is not None:
            expected = self._world.acting(wanted.expression).blendshapes.at(times)

        rows = {}
        for row, values in measured.items():
            poses = expression.pose_errors(values["points"], driving["points"])
            embeddings = {judge: values[f"embeddings by {judge}"] for judge in own.embeddings}
            scores = {
                **identity_values(embeddings, own.embeddings, performing.embeddings, others),
                **dict(zip(("yaw", "pitch", "roll"), poses.T, strict=True)),
                **{name: values[name] for name in COPIED if name in values},
                "unsteadiness": _mean(values["flicker"]) / _mean(driving["flicker"]),
            }
            is_ceiling = row[0] is None and row != TARGET
            if wanted.expression is None or not is_ceiling:
                scores |= expression_values(values["blendshapes"], expected)
            rows[row[1]] = scores
        rows["persona"] = _halves(own, performing, others)

        # Whoever stays is not to leave.
        if wanted.identity is None:
            for scores in rows.values():
                for name in [name for name in scores if name.startswith("performer by ")]:
                    del scores[name]
        return rows

    def _measure(
        self,
        rows: Mapping[Row, Frames],
        landmarks: Landmarks,
        outline: str,
        chunk: Chunk,
        looked_at: Sequence[int],
        reader: BlendshapeReader,
    ) -> dict[Row, Values]:
        """What the pixels of a chunk tell, of each of its clips.

        Args:
            rows: frames of each clip.
            landmarks: the performer's.
            outline: of what is blended.
            chunk: the frames' place in their clips.
            looked_at: places of the frames whose identity is measured.
            reader: of pose and expression.
        """
        target = rows[TARGET]
        flicker = _flicker(rows, target, landmarks)
        seams = _seams(rows, target, landmarks, outline)
        new = slice(chunk.repeated, None)
        windows = expression.windows_of(reader, target[new], landmarks[new])

        values = {}
        for row, frames in rows.items():
            points, blendshapes = expression.read_faces(reader, frames[new], windows)
            values[row] = {
                "points": points,
                "blendshapes": blendshapes,
                "seam": seams[row][new],
                "found": 100.0 * has_face(points),
                "flicker": flicker[row],
            }
            if self._detector:
                values[row][AREA] = self._detector.area(frames[new], landmarks[new])
            for judge, embed in self._world.judges.items():
                shown = [points[i - chunk.repeated] for i in looked_at]
                values[row][f"embeddings by {judge}"] = identity.embed_frames(
                    embed, frames[looked_at], shown
                )
        return values


def _landmarks(performer: Performer, numbers: Sequence[int]) -> Landmarks:
    """Landmarks of the performer in the frames of these numbers; NaN where there are none."""
    points = np.full((len(numbers), 68, 2), np.nan, np.float32)
    for i, number in enumerate(numbers):
        if number in performer:
            points[i] = performer[number].landmarks
    return points


def _best(
    target: Frames, landmarks: Landmarks, ceiling: Ceiling, methods: Sequence[str]
) -> dict[str, Frames]:
    """The target with its own face as the ceiling shows it, where it has one, by method of blending."""
    best = {method: target.copy() for method in methods}
    for i in np.flatnonzero(has_face(landmarks)):
        images = ceiling(target[i], target[i], landmarks[i], methods)
        for method, image in zip(methods, images, strict=True):
            best[method][i] = image
    return best


def _mean(values: PerFrame) -> Float32[np.ndarray, "1"]:
    """The mean of what is defined; NaN of nothing."""
    defined = values[np.isfinite(values)]
    return np.array([defined.mean() if len(defined) else np.nan], np.float32)


def _halves(own: Person, performer: Person, others: Sequence[ByJudge]) -> dict[str, np.ndarray]:
    """The later half of a persona's faces against the earlier half, the performer, and the others."""
    earlier = {}
    later = {}
    for judge, embeddings in own.embeddings.items():
        earlier[judge], later[judge] = np.split(embeddings, [len(embeddings) // 2])
    return identity_values(later, earlier, performer.embeddings, others)


def _flicker(
    rows: Mapping[Row, Frames], target: Frames, landmarks: Landmarks
) -> dict[Row, PerFrame]:
    """`motion.flicker` inside the face, of the part of the frames that shows it."""
    height, width = target.shape[1:3]
    found = np.flatnonzero(has_face(landmarks))
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


def _seams(
    rows: Mapping[Row, Frames], target: Frames, landmarks: Landmarks, outline: str
) -> dict[Row, PerFrame]:
    """`seam.seam_ratios`, NaN for frames without a face."""
    found = has_face(landmarks)
    shown = {row: frames[found] for row, frames in rows.items()}
    ratios = {row: np.full(len(landmarks), np.nan, np.float32) for row in rows}
    measured = seam.seam_ratios(shown, target[found], landmarks[found], outline)
    for row, values in measured.items():
        ratios[row][found] = values
    return ratios
