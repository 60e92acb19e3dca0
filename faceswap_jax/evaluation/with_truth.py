"""Scores of swapped puppets against the rendered truth: this persona, in that performance and scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.clips import Clip
from data_pipelines.puppets import renderer
from data_pipelines.puppets.dataset import PuppetClip, PuppetClips
from data_pipelines.puppets.parameters import (
    DEGREES,
    EXPRESSION,
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    Performance,
    Persona,
    sample_persona,
)
from data_pipelines.puppets.tracks import Cast, Take, truth
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import identity, motion, scores, seam
from faceswap_jax.evaluation.ceiling import Ceiling
from faceswap_jax.evaluation.expression import following
from faceswap_jax.evaluation.frames import (
    Chunk,
    Frames,
    Landmarks,
    Masks,
    Performer,
    Points,
    Swapped,
    pairs_of,
    row_name,
    side_by_side,
    spread,
)
from faceswap_jax.evaluation.oracle import load_oracle
from faceswap_jax.evaluation.report import Comparison, Score, Values, join_values
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.inference.generator import Generator

CHUNK = 64  # frames in memory at a time
SHOWN = 2  # faces of each clip in the grid
SIDE = 128  # of these faces, pixels
OPEN_LIDS = 0.3  # a less open eye shows no gaze

HAIR = ("hair_line", "hair_volume", "hair_length")
FACE = [i for i, name in enumerate(PERSONA_SPANS) if name not in HAIR]
"""Numbers of the parameters that a swapped face shows of a persona; hair stays the target's."""

READ = "performance"
"""Under this name stands what the oracle reads, until a clip's motion has been told from it."""

MOTION = {"gaze": ("gaze_x", "gaze_y"), **EXPRESSION}
"""Parameters whose motion over a clip is told together."""

LIDS = [i for i, name in enumerate(PERFORMANCE_SPANS) if name in EXPRESSION["lids"]]


class PuppetBench:
    """Images are compared inside the target's face polygon; the oracle reads identity and performance there.

    Rows: "do nothing", the untouched target; "swap"; "ceiling", the truth's own face at the generator's resolution,
    behind the generator's alignment and the blending: the best that any network could do there; "truth", the rendered
    perfect swap.
    """

    scores: Mapping[str, Score] = {
        "psnr": Score("PSNR (dB)", "higher", range=(0, 100)),
        "ssim": Score("SSIM", "higher", 3, (-1, 1)),
        "ms_ssim": Score("MS-SSIM", "higher", 3, (0, 1)),
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
        "sharpness": Score("sharpness (truth 1)", "1"),
        "flicker": Score("flicker (of 255)", "lower"),
        "seam": Score("seam (target 1)", "1"),
    }

    def __init__(self, folder: Path, puppets: PuppetClips):
        self._puppets = puppets
        self._oracle = load_oracle()
        self._clips = {folder / clip.file: clip for clip in puppets.clips}
        # By name, the number in the puppets' world
        self._numbers = {clip.name: clip.persona for clip in puppets.clips}

        # What identities are told apart by, [personas, parameters of the face]
        personas = [sample_persona(puppets.world_seed, p) for p in self._numbers.values()]
        self._identities = _parameters(personas)[:, FACE]
        errors = [self._oracle.errors[name] for name in PERSONA_SPANS]
        self._tolerances = np.array(errors)[FACE]

    @property
    def floor(self) -> Mapping[str, float]:
        """Mean errors of the oracle on puppets that it has never seen, over all that they can do.

        Not of gaze, which is scored in both directions at once and with open eyes.
        """
        errors = [self._oracle.errors[name] for name in PERFORMANCE_SPANS]
        grouped = _performance_errors(np.array([errors]))
        return {name: float(value[0]) for name, value in grouped.items() if name != "gaze"}

    def pairs(self, personas: Sequence[str]) -> list[tuple[str, Clip]]:
        """Every persona that the folder knows, with every clip of the others."""
        clips = [Clip(path, clip.name, clip.file) for path, clip in self._clips.items()]
        return pairs_of(personas, clips)

    def columns(self, methods: Sequence[str]) -> list[str]:
        """Source and target, the swaps, the truth, and how the first swap differs from it."""
        swaps = [row_name("swap", method) for method in methods]
        return ["source", "target", *swaps, "truth", "difference x 4"]

    def compare(
        self, clip: Clip, generator: Generator, performer: Performer, swapped: Swapped
    ) -> dict[str, Comparison]:
        """See `bench.Bench.compare`."""
        return {
            persona: self._compare(persona, clip, generator, results)
            for persona, results in swapped.items()
        }

    def _compare(
        self, persona: str, clip: Clip, generator: Generator, swapped: Mapping[str, Path]
    ) -> Comparison:
        puppet = self._clips[clip.path]
        number = self._numbers[persona]
        landmarks = self._landmarks(clip.path, puppet)
        ceiling = Ceiling(generator.alignment, generator.resolution, landmarks)
        shown = spread(SHOWN, puppet.frames)

        values = []
        performances = []
        lines = []
        for chunk in side_by_side([clip.path, *swapped.values()], CHUNK):
            takes = [Take(puppet.persona, puppet.track, i) for i in chunk.numbers]
            perfect = [self._perfect(generator.placement, number, take) for take in takes]
            points = landmarks[chunk.numbers.start : chunk.numbers.stop]
            rows = _rows(chunk, perfect, points, ceiling, list(swapped))
            values.append(self._values(rows, perfect, points, number, chunk.repeated))
            new = perfect[chunk.repeated :]
            performances.append(_parameters([frame.performance for frame in new]))

            # Faces for the grid
            for i in chunk.new:
                if chunk.numbers[i] in shown:
                    source = self._performed(takes[i]._replace(persona=number))
                    frames = [frames[i] for frames in chunk.clips]
                    lines.append(_line(source, frames, perfect[i].image, points[i]))

        # What only the whole clip tells
        joined = join_values(values)
        performance = np.concatenate(performances)
        for row in joined.values():
            row |= _motion(row.pop(READ), performance)

        seconds = puppet.frames / self._puppets.rate
        return Comparison(joined, seconds, np.stack(lines))

    def _landmarks(self, path: Path, puppet: PuppetClip) -> Landmarks:
        """The rendered landmarks that lie beside a clip.

        Raises:
            InputError: some are missing, or they are not those that would be rendered today.
        """
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
        first = self._performed(Take(puppet.persona, puppet.track, 0))
        if np.abs(first.landmarks - landmarks[0]).max() > 0.1:
            raise InputError(
                f"{path} was rendered by another version; make the puppets anew in another folder."
            )
        return landmarks

    def _perfect(self, placement: str, persona: int, driving: Take) -> renderer.Frame:
        """What a perfect generator would make of a frame."""
        own = Take(persona, driving.track, 0)
        cast = cast_of(placement, own, driving)
        return truth(self._puppets.world_seed, cast, self._puppets.size, self._puppets.rate)

    def _performed(self, take: Take) -> renderer.Frame:
        """A frame of a puppet's own."""
        return self._perfect("blended", take.persona, take)

    def _values(
        self,
        rows: Mapping[str, Frames],
        perfect: Sequence[renderer.Frame],
        landmarks: Landmarks,
        persona: int,
        repeated: int,
    ) -> dict[str, Values]:
        """All scores of all rows; the first `repeated` frames serve the flicker alone."""
        target = rows["do nothing"]
        height, width = target.shape[1:3]
        polygons = [align.face_polygon(points) for points in landmarks]
        masks = np.stack([align.polygon_mask(polygon, height, width) for polygon in polygons])
        performance = _parameters([frame.performance for frame in perfect])

        # Of all rows at once: they share the target's flow.
        flicker = motion.flicker(rows, target, masks)
        result = {}
        for row, frames in rows.items():
            values = {
                **scores.compare(frames, rows["truth"], masks),
                **self._read(frames, landmarks, masks, performance, persona),
                "seam": seam.seam_ratio(frames, target, landmarks),
            }
            result[row] = {name: value[repeated:] for name, value in values.items()}
            result[row]["flicker"] = flicker[row]
        return result

    def _read(
        self,
        frames: Frames,
        landmarks: Landmarks,
        masks: Masks,
        performance: Float[np.ndarray, "n 14"],
        persona: int,
    ) -> Values:
        """What the oracle reads: whether it is the persona, the performance, and its errors."""
        reading = self._oracle(frames, landmarks, masks)
        read = reading.persona[:, FACE]
        distance = identity.distances(read, self._identities, self._tolerances)
        number = list(self._numbers.values()).index(persona)
        found = 100 * identity.retrieved(distance, number)

        errors = _performance_errors(np.abs(reading.performance - performance))
        # An eye that is nearly closed shows no gaze.
        open_eyes = performance[:, LIDS].min(1) > OPEN_LIDS
        errors["gaze"] = np.where(open_eyes, errors["gaze"], np.nan)
        return {
            "identity": found,
            "distance": distance[:, number],
            READ: reading.performance,
            **errors,
        }


def cast_of(placement: str, source: Take, driving: Take) -> Cast:
    """Which puppet plays which role in the truth of a generator.

    Args:
        placement: of the generator. Blended into the frame, its face takes scene and performance of the driving frame;
            a whole image has scene and accessories of the source.
        source: whom the generator shows.
        driving: whose performance.
    """
    if placement == "blended":
        return Cast.swap(source.persona, driving)
    return Cast.reenactment(source, driving)


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
    for method in methods:
        faces = zip(target, truths, landmarks, strict=True)
        best = [ceiling(*face, method) for face in faces]
        rows[row_name("ceiling", method)] = np.stack(best)
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


def _parameters(
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


def _motion(
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
