"""Scores of swapped puppets against the rendered truth: this persona, in that performance and scene."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from data_pipelines.clips import Clip
from data_pipelines.puppets import renderer
from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import (
    DEGREES,
    EXPRESSION,
    PERFORMANCE_SPANS,
    PERSONA_SPANS,
    sample_persona,
)
from data_pipelines.puppets.tracks import Cast, Take, truth
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import identity, motion, scores, seam
from faceswap_jax.evaluation.frames import Frames, chunks, row_name
from faceswap_jax.evaluation.oracle import load_oracle
from faceswap_jax.evaluation.report import Comparison, Score, Values
from faceswap_jax.faces import align
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.swap import Model, blend_side, put_face

CHUNK = 64  # frames in memory at a time
SHOWN, PICTURE = 2, 128  # faces of each clip in the grid, and their side in pixels
OPEN_LIDS = 0.3  # a less open eye shows no gaze

# What a swapped face shows of a persona; hair stays the target's.
FACE = [
    i
    for i, name in enumerate(PERSONA_SPANS)
    if name not in ("hair_line", "hair_volume", "hair_length")
]
LIDS = [i for i, name in enumerate(PERFORMANCE_SPANS) if name in EXPRESSION["lids"]]


class PuppetBench:
    """Pictures are compared inside the target's face polygon; identity and performance are read by the oracle there.

    Rows: "do nothing", the untouched target; "swap"; "ceiling", the truth's own face at the network's resolution behind
    the same alignment and blending, the best that any network could do there; "truth", the rendered perfect swap.
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
        "sharpness": Score("sharpness (truth 1)", "1"),
        "flicker": Score("flicker (of 255)", "lower"),
        "seam": Score("seam (target 1)", "1"),
    }

    def __init__(self, folder: Path, puppets: PuppetClips):
        self._puppets, self._oracle = puppets, load_oracle()
        self._clips = {folder / clip.file: clip for clip in puppets.clips}
        self._numbers = {clip.name: clip.persona for clip in puppets.clips}
        self._identities = np.array(
            [
                [*vars(sample_persona(puppets.world_seed, number)).values()]
                for number in self._numbers.values()
            ]
        )
        self._tolerances = np.array([self._oracle.errors[name] for name in PERSONA_SPANS])[FACE]

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
        return [
            (persona, Clip(path, clip.name, clip.file))
            for persona in personas
            for path, clip in self._clips.items()
            if persona in self._numbers and clip.name != persona
        ]

    def columns(self, methods: Sequence[str]) -> list[str]:
        """Source and target, the swaps, the truth, and how the first swap differs from it."""
        return [
            "source",
            "target",
            *(row_name("swap", method) for method in methods),
            "truth",
            "difference x 4",
        ]

    def compare(
        self, persona: str, clip: Clip, model: Model, swapped: Mapping[str, Path]
    ) -> Comparison:
        """Scores a clip with a persona's face."""
        puppet, number = self._clips[clip.path], self._numbers[persona]
        landmarks = np.stack([face.landmarks for face in _faces(clip.path, puppet.frames)])
        first = self._render(puppet.persona, puppet.persona, puppet.track, 0)
        if np.abs(first.landmarks - landmarks[0]).max() > 0.1:
            raise InputError(
                f"{clip.path} was rendered by another version; make the puppets anew in another folder."
            )
        side = blend_side(
            align.alignment_transform(landmarks[0], model.resolution, "eyes"), model.resolution
        )
        shown = np.linspace(0, puppet.frames - 1, SHOWN + 2, dtype=int)[1:-1]
        values, pictures, start = [], [], 0
        for repeated, (target, *results) in chunks([clip.path, *swapped.values()], CHUNK):
            numbers = range(start - repeated, start - repeated + len(target))
            start = numbers.stop
            rendered = [self._render(number, puppet.persona, puppet.track, i) for i in numbers]
            points = landmarks[numbers.start : numbers.stop]
            rows = {"do nothing": target}
            rows |= {
                row_name("swap", method): frames
                for method, frames in zip(swapped, results, strict=True)
            }
            for method in swapped:
                rows[row_name("ceiling", method)] = np.stack(
                    [
                        put_face(
                            image, _face(true.image, face, model.resolution), face, side, method
                        )
                        for image, true, face in zip(target, rendered, points, strict=True)
                    ]
                )
            rows["truth"] = np.stack([frame.image for frame in rendered])
            values.append(self._values(rows, rendered, points, number, repeated))
            difference = np.clip(
                4 * np.abs(results[0].astype(np.int16) - rows["truth"]), 0, 255
            ).astype(np.uint8)
            columns = (target, *results, rows["truth"], difference)
            for i in (i for i in range(repeated, len(target)) if numbers[i] in shown):
                source = self._render(number, number, puppet.track, numbers[i])
                faces = [_face(frames[i], points[i], PICTURE) for frames in columns]
                pictures.append(np.stack([_face(source.image, source.landmarks, PICTURE), *faces]))
        joined = {
            row: {
                name: np.concatenate([chunk[row][name] for chunk in values]) for name in self.scores
            }
            for row in values[0]
        }
        return Comparison(joined, puppet.frames / self._puppets.rate, np.stack(pictures))

    def _render(self, persona: int, performer: int, track: int, frame: int) -> renderer.Frame:
        """A persona in the performance of one frame of a track."""
        p = self._puppets
        cast = Cast.swap(persona, Take(performer, track, frame))
        return truth(p.world_seed, cast, p.size, p.rate)

    def _values(
        self,
        rows: Mapping[str, Frames],
        rendered: list[renderer.Frame],
        landmarks: Float[np.ndarray, "n 68 2"],
        persona: int,
        repeated: int,
    ) -> dict[str, Values]:
        """All scores of all rows; the first `repeated` frames serve the flicker alone."""
        target, true = rows["do nothing"], rows["truth"]
        masks = np.stack(
            [align.polygon_mask(align.face_polygon(face), *target.shape[1:3]) for face in landmarks]
        )
        performance = np.array([[*vars(frame.performance).values()] for frame in rendered])
        number = list(self._numbers.values()).index(persona)
        flicker = motion.flicker(rows, target, masks)
        result = {}
        for row, frames in rows.items():
            reading = self._oracle(frames, landmarks, masks)
            distance = identity.distances(
                reading.persona[:, FACE], self._identities[:, FACE], self._tolerances
            )
            values = {
                **scores.compare(frames, true, masks),
                "identity": 100 * identity.retrieved(distance, number),
                "distance": distance[:, number],
                **_performance_errors(np.abs(reading.performance - performance)),
                "seam": seam.seam_ratio(frames, target, landmarks),
            }
            # An eye that is nearly closed shows no gaze.
            values["gaze"] = np.where(
                performance[:, LIDS].min(1) > OPEN_LIDS, values["gaze"], np.nan
            )
            result[row] = {name: value[repeated:] for name, value in values.items()} | {
                "flicker": flicker[row]
            }
        return result


def _performance_errors(errors: Float[np.ndarray, "n 14"]) -> Values:
    """Errors of the parameters, by group: pose and gaze in degrees, the others in percent of the parameters' range."""
    error = dict(zip(PERFORMANCE_SPANS, errors.T, strict=True))
    grouped = {name: error[name] for name in ("yaw", "pitch", "roll")}
    grouped["gaze"] = np.hypot(*(DEGREES[name] * error[name] for name in ("gaze_x", "gaze_y")))
    for group, names in EXPRESSION.items():
        spans = [PERFORMANCE_SPANS[name] for name in names]
        shares = [
            error[name] / (span.high - span.low) for name, span in zip(names, spans, strict=True)
        ]
        grouped[group] = 100 * np.mean(shares, axis=0)
    return grouped


def _faces(clip: Path, frames: int) -> list[Face]:
    """The rendered landmarks that lie beside a clip of puppets."""
    landmarker = SidecarLandmarker(sidecar_path(clip))
    faces = [face for i in range(frames) for face in landmarker(None, i)]
    if len(faces) != frames:
        raise InputError(
            f"{sidecar_path(clip)} lacks frames of the clip; make the puppets anew in another folder."
        )
    return faces


def _face(
    image: UInt8[np.ndarray, "s s 3"], landmarks: Float[np.ndarray, "68 2"], side: int
) -> np.ndarray:
    return align.crop(image, align.alignment_transform(landmarks, side, "eyes"), side)
