"""Scores of swapped puppets against the rendered truth: this persona, in that performance and scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from data_pipelines.clips import Clip
from data_pipelines.puppets import renderer
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import ACCESSORIES
from data_pipelines.puppets.tracks import Cast
from faceswap_jax.evaluation import motion, scores, seam
from faceswap_jax.evaluation.ceiling import Ceiling
from faceswap_jax.evaluation.frames import (
    Chunk,
    Frames,
    Landmarks,
    Performer,
    Points,
    Swapped,
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
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Image
from faceswap_jax.inference.generator import Generator

CHUNK = 64  # frames in memory at a time
SHOWN = 2  # faces of each clip in the grid
SIDE = 128  # of these faces, pixels


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

    def __init__(self, folder: Path, puppets: PuppetClips, attributes_stay: bool = False):
        """See the class.

        Args:
            folder: of the clips.
            puppets: what it holds.
            attributes_stay: whether glasses, hair, beard and skin tone are to stay the target's, as with MC-AAD.
        """
        self._attributes_stay = attributes_stay
        self._cast = Cast.attribute if attributes_stay else Cast.swap
        self._world = PuppetWorld(folder, puppets, ACCESSORIES if attributes_stay else HAIR)
        self.clips = self._world.all_clips()
        self.floor = self._world.floor
        if attributes_stay:
            self.scores = {**self.scores, **KEPT}

    def columns(self, methods: Sequence[str]) -> list[str]:
        """Source and target, the swaps, the truth, and how the first swap differs from it."""
        swaps = [row_name("swap", method) for method in methods]
        return ["source", "target", *swaps, "truth", "difference x 4"]

    def compare(
        self, clip: Clip, generator: Generator, performer: Performer, swapped: Swapped
    ) -> dict[str, Comparison]:
        """See `swapping.Bench.compare`."""
        return {
            persona: self._compare(persona, clip, generator, results)
            for persona, results in swapped.items()
        }

    def _compare(
        self, persona: str, clip: Clip, generator: Generator, swapped: Mapping[str, Path]
    ) -> Comparison:
        world = self._world
        number = world.numbers[persona]
        landmarks = world.landmarks(clip.path)
        ceiling = Ceiling(generator.alignment, generator.resolution, landmarks)
        shown = spread(SHOWN, len(landmarks))

        values = []
        performances = []
        lines = []
        for chunk in side_by_side([clip.path, *swapped.values()], CHUNK):
            takes = [world.take(clip.path, i) for i in chunk.numbers]
            perfect = [world.truth(self._cast(number, take)) for take in takes]
            points = landmarks[chunk.numbers.start : chunk.numbers.stop]
            rows = _rows(chunk, perfect, points, ceiling, list(swapped))
            target = takes[0].persona if self._attributes_stay else None
            values.append(self._values(rows, perfect, points, number, target, chunk.repeated))
            new = perfect[chunk.repeated :]
            performances.append(parameters([frame.performance for frame in new]))

            # Faces for the grid
            for i in chunk.new:
                if chunk.numbers[i] in shown:
                    source = world.truth(Cast.swap(number, takes[i]._replace(persona=number)))
                    frames = [frames[i] for frames in chunk.clips]
                    lines.append(_line(source, frames, perfect[i].image, points[i]))

        # What only the whole clip tells
        joined = join_values(values)
        performance = np.concatenate(performances)
        for row in joined.values():
            row |= motion_of(row.pop(READ), performance)

        seconds = len(landmarks) / world.puppets.rate
        return Comparison(joined, seconds, np.stack(lines))

    def _values(
        self,
        rows: Mapping[str, Frames],
        perfect: Sequence[renderer.Frame],
        landmarks: Landmarks,
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

        # Of all rows at once: they share the target's flow and edge.
        flicker = motion.flicker(rows, untouched, masks)
        seams = seam.seam_ratios(rows, untouched, landmarks)
        result = {}
        for row, frames in rows.items():
            values = {
                **scores.compare(frames, rows["truth"], masks),
                **self._world.read(frames, landmarks, masks, performance, persona, target),
                "seam": seams[row],
            }
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
    source: renderer.Frame,
    frames: Sequence[Image],
    perfect: Image,
    landmarks: Points,
) -> UInt8[np.ndarray, "columns h w 3"]:
    """One line of the grid; `frames` are the target and the swaps."""
    first_swap = frames[1].astype(np.int16)
    error = np.abs(first_swap - perfect)
    difference = np.clip(4 * error, 0, 255).astype(np.uint8)

    faces = [align.cut_face(source.image, source.landmarks, SIDE, "eyes")]
    for image in (*frames, perfect, difference):
        faces.append(align.cut_face(image, landmarks, SIDE, "eyes"))
    return np.stack(faces)
