"""A folder of puppets' clips as the benches see it: the truth of every frame, and what the oracle reads of others."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from data_pipelines.clips import Clip
from data_pipelines.puppets import renderer
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import (
    DEGREES,
    EXPRESSION,
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    Performance,
    Persona,
    sample_persona,
)
from data_pipelines.puppets.tracks import Cast, Take, performance_track, truth
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import identity
from faceswap_jax.evaluation.expression import following
from faceswap_jax.evaluation.frames import Frames, Landmarks, Masks
from faceswap_jax.evaluation.oracle import load_oracle
from faceswap_jax.evaluation.report import Score, Values
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path

OPEN_LIDS = 0.3  # a less open eye shows no gaze

HAIR = ("hair_line", "hair_volume", "hair_length")
"""Of a persona, what a swap leaves as it is in the target."""


def shown(kept: Collection[str] = HAIR) -> list[int]:
    """Numbers of the parameters that a face shows of its persona, if some are kept of the target."""
    return [i for i, name in enumerate(PERSONA_SPANS) if name not in kept]


FACE = shown()

SEEN = ("skin_tone", "skin_warmth", "beard", "glasses")
"""Of what MC-AAD keeps of the target, what is seen in the face."""

READ = "performance"
"""Under this name stands what the oracle reads, until a clip's motion has been told from it."""

MOTION = {"gaze": ("gaze_x", "gaze_y"), **EXPRESSION}
"""Parameters whose motion over a clip is told together."""

LIDS = [i for i, name in enumerate(PERFORMANCE_SPANS) if name in EXPRESSION["lids"]]

READINGS: Mapping[str, Score] = {
    "identity": Score("identity found (%)", "higher", 1, (0, 100)),
    "distance": Score("identity distance", "lower"),
    "yaw": Score("yaw error (deg)", "lower"),
    "pitch": Score("pitch error (deg)", "lower"),
    "roll": Score("roll error (deg)", "lower"),
    "gaze": Score("gaze error (deg)", "lower", 1),
    "lids": Score("lid error (%)", "lower", 1),
    "brows": Score("brow error (%)", "lower", 1),
    "mouth": Score("mouth error (%)", "lower", 1),
    **{
        f"{group} correlation": Score(f"{group} correlation", "higher", 2, (-1, 1))
        for group in MOTION
    },
    **{f"{group} amplitude": Score(f"{group} amplitude", "1") for group in MOTION},
}
"""Scores of what the oracle reads."""


KEPT: Mapping[str, Score] = {
    "glasses": Score("glasses kept (%)", "higher", 1, (0, 100)),
    "attributes": Score("attribute error (%)", "lower", 1),
}
"""Scores of what is kept of the target: of those who wear glasses, who has some; and the mean error of `SEEN`."""


class PuppetWorld:
    """Clips of puppets, their truth, and the oracle that reads them.

    Attributes:
        puppets: what the folder holds.
        clips: the puppet's clip behind each file.
        numbers: of each persona in the puppets' world, by name.
    """

    def __init__(self, folder: Path, puppets: PuppetClips, kept: Collection[str] = HAIR):
        """See the class.

        Args:
            folder: of the clips.
            puppets: what it holds.
            kept: parameters of a persona that results keep of the target.
        """
        self._shown = shown(kept)
        self.puppets = puppets
        self.clips = {folder / clip.file: clip for clip in puppets.clips}
        self.numbers = {clip.name: clip.persona for clip in puppets.clips}
        self._oracle = load_oracle()

        # What identities are told apart by, [personas, parameters of the face]
        personas = [sample_persona(puppets.world_seed, p) for p in self.numbers.values()]
        self._identities = parameters(personas)[:, self._shown]
        errors = [self._oracle.errors[name] for name in PERSONA_SPANS]
        self._tolerances = np.array(errors)[self._shown]

    @property
    def floor(self) -> Mapping[str, float]:
        """Mean errors of the oracle on puppets that it has never seen, over all that they can do.

        Not of gaze, which is scored in both directions at once and with open eyes.
        """
        errors = [self._oracle.errors[name] for name in PERFORMANCE_SPANS]
        grouped = _performance_errors(np.array([errors]))
        return {name: float(value[0]) for name, value in grouped.items() if name != "gaze"}

    def all_clips(self) -> list[Clip]:
        """The clips of the folder."""
        return [Clip(path, clip.name, clip.file) for path, clip in self.clips.items()]

    def take(self, path: Path, number: int) -> Take:
        """A frame of a clip, by its number."""
        puppet = self.clips[path]
        return Take(puppet.persona, puppet.track, number)

    def truth(self, cast: Cast) -> renderer.Frame:
        """What a perfect system shows of a cast."""
        return truth(self.puppets.world_seed, cast, self.puppets.size, self.puppets.rate)

    def performances(self, path: Path) -> Float[np.ndarray, "n 14"]:
        """What the puppet does in each frame of a clip."""
        clip = self.clips[path]
        world = self.puppets
        return parameters(
            performance_track(world.world_seed, clip.persona, clip.track, clip.frames, world.rate)
        )

    def landmarks(self, path: Path) -> Landmarks:
        """The rendered landmarks that lie beside a clip.

        Raises:
            InputError: some are missing, or they are not those that would be rendered today.
        """
        puppet = self.clips[path]
        sidecar = sidecar_path(path)
        landmarker = SidecarLandmarker(sidecar)
        faces = []
        for i in range(puppet.frames):
            faces += landmarker(None, i)
        if len(faces) != puppet.frames:
            raise InputError(
                f"{sidecar} lacks frames of the clip; make the puppets anew in another folder."
            )
        landmarks = np.stack([face.landmarks for face in faces])

        # A tenth of a pixel is more than the file rounds off.
        first = self.truth(Cast.swap(puppet.persona, self.take(path, 0)))
        if np.abs(first.landmarks - landmarks[0]).max() > 0.1:
            raise InputError(
                f"{path} was rendered by another version; make the puppets anew in another folder."
            )
        return landmarks

    def read(
        self,
        frames: Frames,
        landmarks: Landmarks,
        masks: Masks,
        performance: Float[np.ndarray, "n 14"],
        persona: int,
        target: int | None = None,
    ) -> Values:
        """What the oracle reads of the faces: whether it is the persona, the performance, and errors.

        Args:
            frames: as large as the puppets'.
            landmarks: where to look.
            masks: of the faces, 0..1; nothing outside has an influence.
            performance: the true one.
            persona: number of the true one in the world.
            target: of the one in whose clip the face is, if it is to keep their attributes.
        """
        reading = self._oracle(frames, landmarks, masks)
        read = reading.persona[:, self._shown]
        distance = identity.distances(read, self._identities, self._tolerances)
        number = list(self.numbers.values()).index(persona)
        found = 100 * identity.retrieved(distance, number)

        errors = _performance_errors(np.abs(reading.performance - performance))
        # An eye that is nearly closed shows no gaze.
        open_eyes = performance[:, LIDS].min(1) > OPEN_LIDS
        errors["gaze"] = np.where(open_eyes, errors["gaze"], np.nan)
        values = {
            "identity": found,
            "distance": distance[:, number],
            READ: reading.performance,
            **errors,
        }
        if target is not None:
            values |= kept_of(reading.persona, sample_persona(self.puppets.world_seed, target))
        return values


def kept_of(read: Float[np.ndarray, "n 26"], target: Persona) -> Values:
    """What faces keep of the one in whose place they are, see `KEPT`."""
    found = dict(zip(PERSONA_SPANS, read.T, strict=True))
    errors = []
    for name in SEEN:
        span = PERSONA_SPANS[name]
        errors.append(np.abs(found[name] - getattr(target, name)) / (span.high - span.low))
    # 0 are none, and styles begin there.
    glasses = np.full(len(read), np.nan)
    if target.glasses > 0:
        glasses = 100.0 * (found["glasses"] > target.glasses / 2)
    return {"glasses": glasses, "attributes": 100 * np.mean(errors, axis=0)}


def parameters(
    puppets: Sequence[Persona | Performance],
) -> Float[np.ndarray, "n parameters"]:
    """Their numbers, in the order of the tables of spans."""
    return np.array([list(vars(puppet).values()) for puppet in puppets])


def _performance_errors(errors: Float[np.ndarray, "n 14"]) -> dict[str, Float[np.ndarray, "n"]]:
    """Errors of the parameters by group: pose and gaze in degrees, the others in percent of their range."""
    error = dict(zip(PERFORMANCE_SPANS, errors.T, strict=True))
    grouped = {name: error[name] for name in ("yaw", "pitch", "roll")}
    # Both directions of the gaze at once, as an angle
    across = DEGREES["gaze_x"] * error["gaze_x"]
    upward = DEGREES["gaze_y"] * error["gaze_y"]
    grouped["gaze"] = np.hypot(across, upward)
    # Means of what is measured in different units
    for group, names in EXPRESSION.items():
        parts = []
        for name in names:
            span = PERFORMANCE_SPANS[name]
            parts.append(error[name] / (span.high - span.low))
        grouped[group] = 100 * np.mean(parts, axis=0)
    return grouped


def motion_of(
    read: Float[np.ndarray, "n 14"], performance: Float[np.ndarray, "n 14"]
) -> dict[str, Float[np.ndarray, "1"]]:
    """How far what is read of a clip follows the true performance: correlation and amplitude of each of MOTION."""
    # An eye that is nearly closed shows no gaze.
    open_eyes = performance[:, LIDS].min(1) > OPEN_LIDS
    values = {}
    for group, names in MOTION.items():
        columns = [list(PERFORMANCE_SPANS).index(name) for name in names]
        scales = [_scale(name) for name in names]
        seen = open_eyes if group == "gaze" else np.ones_like(open_eyes)
        told = following(read[seen][:, columns] * scales, performance[seen][:, columns] * scales)
        for measure, value in told._asdict().items():
            values[f"{group} {measure}"] = np.array([value])
    return values


def _scale(name: str) -> float:
    """From a parameter to degrees, or to the fraction of its range: parameters of one group are alike then."""
    if name in DEGREES:
        return DEGREES[name]
    span = PERFORMANCE_SPANS[name]
    return 1 / (span.high - span.low)
