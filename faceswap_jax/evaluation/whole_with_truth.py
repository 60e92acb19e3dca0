"""Scores of whole images of puppets against the rendered truth: the source's own picture with the driver's performance.

Identity, scene and accessories are the source's, the performance is the driver's (`Cast.reenactment`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from data_pipelines.clips import Clip
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import PERFORMANCE_SPANS
from data_pipelines.puppets.tracks import Cast
from faceswap_jax.editing.control import ANGLES
from faceswap_jax.evaluation.acting import (
    SIMILARITY,
    Actor,
    keypoints,
    lines_of,
    resized,
    similarity,
)
from faceswap_jax.evaluation.expression import aspects_follow, read_faces, windows_of
from faceswap_jax.evaluation.frames import Frames, Landmarks, first_of_each
from faceswap_jax.evaluation.puppet_world import (
    READ,
    READINGS,
    PuppetWorld,
    motion_of,
    parameters,
)
from faceswap_jax.evaluation.report import Comparison, Score, Values
from faceswap_jax.faces import align
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.inference.generator import Generator

CEILING = "ceiling"
ROLL = list(PERFORMANCE_SPANS).index("roll")


class Truth(NamedTuple):
    """What a perfect system shows in some driving views.

    Attributes:
        images: of the scored side.
        landmarks: in their pixels.
        performance: numbers of each, as the images show them.
    """

    images: Frames
    landmarks: Landmarks
    performance: Float[np.ndarray, "n 14"]


class WholePuppets:
    """Keypoints are read by MediaPipe in results and in the truth; the oracle reads identity and performance.

    Besides those of `acting`, the rows: "ceiling", the truth at the generator's resolution, the best that any network
    could do there; "truth".
    """

    scores: Mapping[str, Score] = {**SIMILARITY, **READINGS}

    def __init__(self, folder: Path, puppets: PuppetClips):
        self._world = PuppetWorld(folder, puppets)
        self.floor = self._world.floor

    def clips(self) -> Sequence[Clip]:
        """See `acting.Judge.clips`."""
        found = list(first_of_each(self._world.all_clips()).values())
        for clip in found:
            # Whether they are those that would be rendered today
            self._world.landmarks(clip.path)
        return found

    def compare(
        self, rows: Mapping[str, Frames], source: Actor, driving: Actor, generator: Generator
    ) -> Comparison:
        """See `acting.Judge.compare`."""
        perfect = self._truth(source, driving, generator.alignment)
        lines = lines_of(source, driving, rows, perfect.images)
        side = perfect.images.shape[1]
        small = resized(perfect.images, generator.resolution)
        rows = {**rows, CEILING: resized(small, side), "truth": perfect.images}
        read = self._read(rows, perfect, self._world.numbers[source.clip.persona])

        reader = BlendshapeReader()
        windows = windows_of(reader, perfect.images, perfect.landmarks)
        expected = read_faces(reader, perfect.images, windows).landmarks
        values = {}
        for row, shown in rows.items():
            found = read_faces(reader, shown, windows).landmarks
            values[row] = {
                **similarity(shown, perfect.images),
                **keypoints(found, expected),
                "aspects": np.array([aspects_follow(found, expected)]),
                **read[row],
            }
        return Comparison(values, driving.seconds, lines)

    def poses(self, driving: Actor) -> Float[np.ndarray, "n 3"]:
        """See `acting.Judge.poses`; as rendered."""
        performances = self._world.performances(driving.clip.path)
        angles = [list(PERFORMANCE_SPANS).index(name) for name in ANGLES]
        return performances[[view.frame.index for view in driving.driving]][:, angles]

    def _truth(self, source: Actor, driving: Actor, alignment: str) -> Truth:
        """What a perfect system shows in each driving view, cut as the generator's alignment says."""
        own = self._world.take(source.clip.path, 0)
        side = len(driving.driving[0].frame.image)
        images, landmarks, performances = [], [], []
        for view in driving.driving:
            take = self._world.take(driving.clip.path, view.frame.index)
            perfect = self._world.truth(Cast.reenactment(own, take))
            transform = align.alignment_transform(perfect.landmarks, side, alignment)
            images.append(align.crop(perfect.image, transform, side))
            landmarks.append(align.transform_points(perfect.landmarks, transform))

            (performance,) = parameters([perfect.performance])
            # An alignment may level the head.
            performance[ROLL] += np.rad2deg(np.arctan2(transform[1, 0], transform[0, 0]))
            performances.append(performance)
        return Truth(np.stack(images), np.stack(landmarks), np.stack(performances))

    def _read(self, rows: Mapping[str, Frames], truth: Truth, persona: int) -> dict[str, Values]:
        """What the oracle reads in the faces of each row; of all rows at once, so that its batches are full."""
        side = truth.images.shape[1]
        polygons = [align.face_polygon(face) for face in truth.landmarks]
        masks = np.stack([align.polygon_mask(polygon, side, side) for polygon in polygons])
        count = len(rows)
        read = self._world.read(
            np.concatenate(list(rows.values())),
            np.tile(truth.landmarks, (count, 1, 1)),
            np.tile(masks, (count, 1, 1)),
            np.tile(truth.performance, (count, 1)),
            persona,
        )

        result = {}
        for number, row in enumerate(rows):
            mine = slice(number * len(masks), (number + 1) * len(masks))
            values = {name: value[mine] for name, value in read.items()}
            motion = motion_of(values.pop(READ), truth.performance)
            result[row] = values | motion
        return result
