"""Scores of whole images of real people, by the driving frames where they drive themselves, else without truth."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_pipelines.clips import Clip
from faceswap_jax.evaluation import expression, identity
from faceswap_jax.evaluation.acting import (
    DRIVING_FRAME,
    SIMILARITY,
    Actor,
    keypoints,
    lines_of,
    similarity,
)
from faceswap_jax.evaluation.action_units import UNITS, ActionUnits
from faceswap_jax.evaluation.clip_world import ClipWorld, expression_values, identity_values
from faceswap_jax.evaluation.frames import Frames, first_of_each
from faceswap_jax.evaluation.report import Comparison, Score
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.inference.generator import Generator


class WholeClips:
    """Besides those of `acting`, the row "driving", the driving frames: the truth where people drive themselves."""

    floor: Mapping[str, float] = {}

    def __init__(
        self,
        folder: Path,
        embedder: Path | None = None,
        units: ActionUnits | None = None,
        inception: Path | None = None,
    ):
        """Finds the clips of a folder.

        Args:
            folder: of the clips.
            embedder: what compares identities.
            units: what reads action units; without it they are no score.
            inception: file of Inception's weights, for KID.

        Raises:
            InputError: there are none, or one of the networks cannot be used.
        """
        self._world = ClipWorld(folder, embedder, inception)
        self._units = units
        self.scores: Mapping[str, Score] = {**SIMILARITY, **self._world.scores}
        if units:
            self.scores = {**self.scores, "units": UNITS}

    def clips(self) -> Sequence[Clip]:
        """See `acting.Judge.clips`."""
        return list(first_of_each(self._world.clips).values())

    def compare(
        self, rows: Mapping[str, Frames], source: Actor, driving: Actor, generator: Generator
    ) -> Comparison:
        """See `acting.Judge.compare`."""
        frames = np.stack([view.frame.image for view in driving.driving])
        landmarks = np.stack([view.face.landmarks for view in driving.driving])
        own = self._world.person(source.clip.persona)
        performing = self._world.person(driving.clip.persona)
        others = self._world.others(source.clip.persona)
        rows = {**rows, DRIVING_FRAME: frames}

        reader = BlendshapeReader()
        windows = expression.windows_of(reader, frames, landmarks)
        expected = expression.read_faces(reader, frames, windows)
        undefined = dict.fromkeys(self.scores, np.full(1, np.nan))
        values = {}
        for row, shown in rows.items():
            read = expression.read_faces(reader, shown, windows)
            embeddings = {
                judge: identity.embed_frames(embed, shown, read.landmarks)
                for judge, embed in self._world.judges.items()
            }
            poses = expression.pose_errors(read.landmarks, expected.landmarks)
            values[row] = undefined | {
                **keypoints(read.landmarks, expected.landmarks),
                **identity_values(embeddings, own.embeddings, performing.embeddings, others),
                **dict(zip(("yaw", "pitch", "roll"), poses.T, strict=True)),
                **expression_values(read.blendshapes, expected.blendshapes),
                "aspects": np.array(
                    [expression.aspects_follow(read.landmarks, expected.landmarks)]
                ),
            }
            if self._units:
                told = self._units(shown, read.landmarks)
                wanted = self._units(frames, expected.landmarks)
                values[row]["units"] = np.array([expression.mean_correlation(told, wanted)])
            if source is driving:
                values[row] |= similarity(shown, frames)
            else:
                # Another's keypoints lie elsewhere.
                values[row]["keypoints"] = undefined["keypoints"]
        return Comparison(values, driving.seconds, lines_of(source, driving, rows, frames))

    def poses(self, driving: Actor) -> Float[np.ndarray, "n 3"]:
        """See `acting.Judge.poses`; as the landmarks tell them."""
        return np.stack([view.pose for view in driving.driving])
