"""Scores of swapped puppets against the rendered truth: this persona, in that performance and scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from data_pipelines.clips import Clip
from data_pipelines.puppets import renderer
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import ACCESSORIES
from data_pipelines.puppets.tracks import Cast, Take
from faceswap_jax.evaluation import motion, scores, seam
from faceswap_jax.evaluation.ceiling import Ceiling
from faceswap_jax.evaluation.detection import AREA, DETECTED, Detector
from faceswap_jax.evaluation.frames import (
    Chunk,
    Frames,
    Landmarks,
    Performer,
    PerFrame,
    Points,
    Swapped,
    first_of_each,
    row_name,
    side_by_side,
    spread,
)
from faceswap_jax.evaluation.puppet_world import (
    HAIR,
    KEPT,
    READ,
    READINGS,
    PuppetWorld,
    motion_of,
    parameters,
)
from faceswap_jax.evaluation.report import Comparison, Score, Values, join_values
from faceswap_jax.evaluation.wanted import Wanted
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Image
from faceswap_jax.inference.generator import Generator

CHUNK = 64  # frames in memory at a time
SHOWN = 2  # faces of each clip in the grid
SIDE = 128  # of these faces, pixels


class Casting(NamedTuple):
    """Who plays what in one frame of a target.

    Attributes:
        truth: what a perfect system shows.
        lenders: frames of those who lend what it shows of others, in the order of their roles.
    """

    truth: Cast
    lenders: Sequence[Take]


class PuppetBench:
    """Images are compared inside the target's face polygon; the oracle reads identity and performance there.

    Rows: "do nothing", the untouched target; "swap"; "ceiling", the truth's own face at the generator's resolution,
    behind the generator's alignment and the blending: the best that any network could do there; "truth", the rendered
    perfect swap.

    Attributes:
        clips: of the folder.
    """

    scores: Mapping[str, Score] = {
        "psnr": Score("PSNR (dB)", "higher", range=(0, 100)),
        "ssim": Score("SSIM", "higher", 3, (-1, 1)),
        "ms_ssim": Score("MS-SSIM", "higher", 3, (0, 1)),
        **READINGS,
        "sharpness": Score("sharpness (truth 1)", "1"),
        "flicker": Score("flicker (of 255)", "lower"),
        "seam": Score("seam (target 1)", "1"),
    }
    shares = False

    def __init__(
        self,
        folder: Path,
        puppets: PuppetClips,
        attributes_stay: bool = False,
        detector: Path | None = None,
    ):
        """See the class.

        Args:
            folder: of the clips.
            puppets: what it holds.
            attributes_stay: whether glasses, hair, beard and skin tone are to stay the target's, as with MC-AAD.
            detector: folder of a run that tells fakes; None if nobody is asked.

        Raises:
            InputError: the detector cannot be used.
        """
        self._attributes_stay = attributes_stay
        self._world = PuppetWorld(folder, puppets, ACCESSORIES if attributes_stay else HAIR)
        self.clips = self._world.all_clips()
        self._first = first_of_each(self.clips)
        self.floor = self._world.floor
        self._detector = Detector(detector, self.clips) if detector else None
        if attributes_stay:
            self.scores = {**self.scores, **KEPT}
        if detector:
            self.scores = {**self.scores, AREA: DETECTED}

    def columns(self, roles: Sequence[str], methods: Sequence[str]) -> list[str]:
        """Who lends, the target, the swaps, the truth, and how the first swap differs from it."""
        swaps = [row_name("swap", method) for method in methods]
        return [*roles, "target", *swaps, "truth", "difference x 4"]

    def compare(
        self, clip: Clip, generator: Generator, performer: Performer, swapped: Swapped
    ) -> dict[Wanted, Comparison]:
        """See `swapping.Bench.compare`."""
        return {
            wanted: self._compare(wanted, clip, generator, results)
            for wanted, results in swapped.items()
        }

    def _compare(
        self, wanted: Wanted, clip: Clip, generator: Generator, swapped: Mapping[str, Path]
    ) -> Comparison:
        world = self._world
        number = world.numbers[wanted.identity or clip.persona]
        landmarks = world.landmarks(clip.path)
        ceiling = Ceiling(generator.alignment, generator.resolution, generator.outline, landmarks)
        shown = spread(SHOWN, len(landmarks))

        values = []
        performances = []
        lines = []
        for chunk in side_by_side([clip.path, *swapped.values()], CHUNK):
            castings = [self._casting(wanted, clip, i) for i in chunk.numbers]
            perfect = [world.truth(casting.truth) for casting in castings]
            points = landmarks[chunk.numbers.start : chunk.numbers.stop]
            rows = _rows(chunk, perfect, points, ceiling, list(swapped))
            target = world.numbers[clip.persona] if self._attributes_stay else None
            seams = seam.seam_ratios(rows, rows["do nothing"], points, generator.outline)
            values.append(
                self._values(rows, perfect, points, seams, number, target, chunk.repeated)
            )
            new = perfect[chunk.repeated :]
            performances.append(parameters([frame.performance for frame in new]))

            # Faces for the grid
            for i in chunk.new:
                if chunk.numbers[i] in shown:
                    lenders = [
                        world.truth(Cast.swap(take.persona, take)) for take in castings[i].lenders
                    ]
                    frames = [frames[i] for frames in chunk.clips]
                    lines.append(_line(lenders, frames, perfect[i].image, points[i]))

        # What only the whole clip tells
        joined = join_values(values)
        performance = np.concatenate(performances)
        for row in joined.values():
            row |= motion_of(row.pop(READ), performance)

        seconds = len(landmarks) / world.puppets.rate
        return Comparison(joined, seconds, np.stack(lines))

    def _casting(self, wanted: Wanted, clip: Clip, number: int) -> Casting:
        """Who plays what in a frame of a target."""
        world = self._world
        target = world.take(clip.path, number)
        lenders = []
        shown = target.persona
        if wanted.identity is not None:
            shown = world.numbers[wanted.identity]
            lenders.append(target._replace(persona=shown))

        expression = None
        if wanted.expression is not None:
            path = self._first[wanted.expression].path
            # All clips have one rate. The last expression stays.
            last = world.clips[path].frames - 1
            expression = world.take(path, min(number, last))
            lenders.append(expression)

        if not self._attributes_stay:
            return Casting(Cast.swap(shown, target), lenders)
        return Casting(Cast.attribute(shown, target, expression), lenders)

    def _values(
        self,
        rows: Mapping[str, Frames],
        perfect: Sequence[renderer.Frame],
        landmarks: Landmarks,
        seams: Mapping[str, PerFrame],
        persona: int,
        target: int | None,
        repeated: int,
    ) -> dict[str, Values]:
        """All scores of all rows; the first `repeated` frames serve the flicker alone."""
        untouched = rows["do nothing"]
        height, width = untouched.shape[1:3]
        polygons = [align.face_polygon(points) for points in landmarks]
        masks = np.stack([align.polygon_mask(polygon, height, width) for polygon in polygons])
        performance = parameters([frame.performance for frame in perfect])

        # Of all rows at once: they share the target's flow.
        flicker = motion.flicker(rows, untouched, masks)
        result = {}
        for row, frames in rows.items():
            values = {
                **scores.compare(frames, rows["truth"], masks),
                **self._world.read(frames, landmarks, masks, performance, persona, target),
                "seam": seams[row],
            }
            if self._detector:
                values[AREA] = self._detector.area(frames, landmarks)
            result[row] = {name: value[repeated:] for name, value in values.items()}
            result[row]["flicker"] = flicker[row]
        return result


def _rows(
    chunk: Chunk,
    perfect: Sequence[renderer.Frame],
    landmarks: Landmarks,
    ceiling: Ceiling,
    methods: Sequence[str],
) -> dict[str, Frames]:
    """Everything that is scored, by the names of the table's rows."""
    target, *results = chunk.clips
    truths = np.stack([frame.image for frame in perfect])
    rows = {"do nothing": target}
    for method, frames in zip(methods, results, strict=True):
        rows[row_name("swap", method)] = frames
    faces = zip(target, truths, landmarks, strict=True)
    best = [ceiling(*face, methods) for face in faces]
    for method, *images in zip(methods, *best, strict=True):
        rows[row_name("ceiling", method)] = np.stack(images)
    return rows | {"truth": truths}


def _line(
    lenders: Sequence[renderer.Frame],
    frames: Sequence[Image],
    perfect: Image,
    landmarks: Points,
) -> UInt8[np.ndarray, "columns h w 3"]:
    """One line of the grid; `frames` are the target and the swaps."""
    first_swap = frames[1].astype(np.int16)
    error = np.abs(first_swap - perfect)
    difference = np.clip(4 * error, 0, 255).astype(np.uint8)

    faces = [align.cut_face(lender.image, lender.landmarks, SIDE, "eyes") for lender in lenders]
    for image in (*frames, perfect, difference):
        faces.append(align.cut_face(image, landmarks, SIDE, "eyes"))
    return np.stack(faces)
