"""Control by the pose of the head and by sound: what is added to the latents of a face (X2Face).

Regressions between the latents v of a face, its pose p and the sound a around it, by least squares over the faces of a
data set:

    p = v W + b                                 how a face is turned
    v' = v + (p' - p) U                         a face that is turned otherwise
    n = v + (a' - a) S                          a face that says something else
    v' = n + (v - n) W U                        the same, turned as before

U and S have no constant, which would cancel. They are learned from how latents move in each persona's faces, so that
nobody's own latents count as a pose or a sound. The authors learn W by L1, and U with a batch norm behind.

The last line takes out the pose that sound brings in, as the authors' notebook does. The formula that they print adds
the pose that sound tells, and so cannot. They learn S of normalised sound and use it with sound as it is, which
amplifies; here both are the same. Sound is told as `editing.hearing` says.

All belong to the weights that the latents come from, S also to those of the network that hears, if there is one. They
lie in the run's folder, `control.json`.
"""

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

from data_pipelines.batches.sound import sound_window
from data_pipelines.datasets import open_data
from data_pipelines.records import FaceRecord, decode
from data_pipelines.sources import PersonaSource, split
from faceswap_jax import config as configs
from faceswap_jax.editing.expressions import image_of, open_all
from faceswap_jax.editing.hearing import Features, Hearing, Windows
from faceswap_jax.editing.vectors import latent_length
from faceswap_jax.errors import InputError
from faceswap_jax.faces import mel
from faceswap_jax.faces.face import Face
from faceswap_jax.faces.video import Frame
from faceswap_jax.files import read_versioned, write_json
from faceswap_jax.inference.audience import tell, watched
from faceswap_jax.inference.batching import Performance, latents
from faceswap_jax.inference.generator import Generator
from faceswap_jax.inference.trained import load

FILE = "control.json"
"""In the folder of a run."""

VERSION = 2
"""Of the file."""

ANGLES = ("yaw", "pitch", "roll")

HELD_OUT = 0.1
"""Part of each persona's faces, the last ones, on which the errors are measured."""

MOST = 10_000
"""Faces that are read; of more, evenly chosen ones."""

TOGETHER = 64
"""Faces in memory at a time."""

SILENT = 1e-3
"""Sound whose features vary by no more than this tells nothing."""

FAINT = 0.02
"""Features that vary by less than this part of the most are left out, and so are directions of the others: codecs, and
rounding, move them by more."""

LOG_MEL = Hearing()

Latents = Float[np.ndarray, "n latent"]
Poses = Float[np.ndarray, "n 3"]


class Known(NamedTuple):
    """What is known of some faces of one persona."""

    latents: Latents
    poses: Poses
    sounds: Features

    @property
    def moving(self) -> "Known":
        """The same about its mean."""
        return Known(*(values - values.mean(0) for values in self))


@dataclass(frozen=True)
class Control:
    """The regressions.

    Attributes:
        step: how many steps the generator was trained that they belong to.
        digest: of the weights of that generator.
        faces: on how many they were fitted.
        to_poses: W and, as its last row, b; [latent + 1, 3].
        to_latents: U, [3, latent].
        by_sound: S, [features, latent]; [] if the data have too little sound.
        explained: how much of the latents' movement S tells of held-out faces, at most 1; 0 without S.
        reach: least and greatest yaw, pitch and roll of those faces, degrees.
        errors: mean absolute errors of yaw, pitch and roll as W tells them, on held-out faces, degrees.
        sound_run: folder of the network whose features S takes; "" for log-mel energies.
        sound_digest: of that network's weights.
    """

    step: int
    digest: str
    faces: int
    to_poses: Sequence[Sequence[float]]
    to_latents: Sequence[Sequence[float]]
    by_sound: Sequence[Sequence[float]]
    explained: float
    reach: Sequence[tuple[float, float]]
    errors: Sequence[float]
    sound_run: str = ""
    sound_digest: str = ""

    def poses(self, z: Latents) -> Poses:
        """How faces with these latents are turned, degrees."""
        *weights, bias = np.array(self.to_poses)
        return z @ np.array(weights) + bias

    def shift(self, poses: Poses, source: Float[np.ndarray, "3"]) -> Latents:
        """What is added to the latents of a face to turn it.

        Args:
            poses: as wanted, degrees.
            source: of the face as it is.
        """
        return np.float32((poses - source) @ np.array(self.to_latents))

    def sound_shift(self, heard: Features, source: Float[np.ndarray, "k"]) -> Latents:
        """What is added to the latents of a face to let it say something, without turning it.

        Args:
            heard: what is to be said in each frame.
            source: what the face says as it is.
        """
        moved = (heard - source) @ np.array(self.by_sound)
        turned = moved @ np.array(self.to_poses)[:-1]
        return np.float32(moved - turned @ np.array(self.to_latents))

    def speech(self, windows: Windows) -> Latents:
        """What is added to the latents of a face to let it say what is heard.

        What a picture says is unknown: the mean of what is heard stands for it.
        """
        heard = self.hearing.features(windows)
        return self.sound_shift(heard, heard.mean(0))

    @cached_property
    def hearing(self) -> Hearing:
        """What tells the sound.

        Raises:
            InputError: its network is gone, or has other weights than those that the control was fitted to.
        """
        hearing = Hearing.of(self.sound_run)
        if hearing.digest != self.sound_digest:
            raise InputError(
                f"The control was fitted to what '{self.sound_run}' heard with other weights than it has now; fit it "
                f"again with 'faceswap fit-control --sound {self.sound_run}'."
            )
        return hearing

    def check_sound(self, workdir: Path) -> None:
        """Raises InputError unless the control was fitted to faces with sound, and hears as it did then."""
        if not self.by_sound:
            raise InputError(
                f"'{workdir}' has a control from data with too little sound; fit it again with 'faceswap fit-control' "
                "and --data of clips that have more."
            )
        _ = self.hearing

    def check(self, generator: Generator) -> None:
        """Raises InputError unless the control was fitted to the generator's weights."""
        if self.digest != generator.digest:
            raise InputError(
                f"The control was fitted to the weights of step {self.step}, which are others than those of step "
                f"{generator.step} here; fit it again with 'faceswap fit-control', or choose its checkpoint by --step."
            )

    def check_poses(self, poses: Poses, path: Path) -> None:
        """Raises InputError if poses of a file go beyond those of the faces that are known."""
        for name, angles, (least, most) in zip(ANGLES, poses.T, self.reach, strict=True):
            low, high = angles.min(), angles.max()
            if low < least or high > most:
                raise InputError(
                    f"{path} asks for a {name} from {low:g} to {high:g} degrees, and the model knows faces from "
                    f"{least:.1f} to {most:.1f}; stay within."
                )

    def save(self, workdir: Path) -> Path:
        """Writes it into the folder of a run, and returns the file.

        The file names the folder of what hears as seen from its own, so that both can be moved together.
        """
        path = workdir / FILE
        content = dataclasses.asdict(self)
        if self.sound_run:
            content["sound_run"] = os.path.relpath(self.sound_run, workdir.resolve())
        write_json(path, {"version": VERSION} | content)
        return path

    @classmethod
    def load(cls, workdir: Path) -> Self:
        """The control in the folder of a run.

        Raises:
            InputError: there is none, or its file is damaged or newer than this program.
        """
        path = workdir / FILE
        if not path.exists():
            raise InputError(
                f"'{workdir}' has no control yet; make it with 'faceswap fit-control --workdir {workdir}'."
            )
        try:
            content = read_versioned(path, VERSION)
            if content["sound_run"]:
                content["sound_run"] = str((workdir / content["sound_run"]).resolve())
            control = cls(**content)
            rows, _ = np.array(control.to_poses, np.float32).shape
            heard = (len(control.by_sound), rows - 1) if control.by_sound else (0,)
            shapes = (control.to_latents, control.reach, control.by_sound)
            if tuple(map(np.shape, shapes)) != ((3, rows - 1), (3, 2), heard):
                raise ValueError("its matrices do not fit together")
            return control
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}); make it again with 'faceswap fit-control'."
            ) from error


def fit_control(
    workdir: Path,
    data: Path | None = None,
    step: int | None = None,
    sound: Path | None = None,
) -> Control:
    """Fits the control of a run, and tells how well poses can be read off its latents.

    Args:
        workdir: folder of a trained run.
        data: folder of a data set; the one that the run was trained on if not given.
        step: of the checkpoint to use, by its number of steps; the newest if not given.
        sound: folder of a run of experiments/sync.py, whose features tell the sound; log-mel energies if not given.

    Raises:
        InputError: any of these cannot be used. Nothing is written then.
    """
    config = configs.load(workdir / "config.json")
    sources = open_data(config.data) if data is None else open_all(data)
    control = fit(load(workdir, step), sources, Hearing.of(sound or ""))
    path = control.save(workdir)
    errors = zip(ANGLES, control.errors, strict=True)
    told = ", ".join(f"{name} {error:.1f}" for name, error in errors)
    heard = f"sound tells {100 * max(control.explained, 0):.0f} % of their movement"
    if not control.by_sound:
        heard = "too little sound to be driven by"
    tell(
        f"{path}: from {control.faces:,} faces; mean errors on others, in degrees: {told}; {heard}"
    )
    return control


def fit(
    generator: Generator, sources: Mapping[str, PersonaSource], hearing: Hearing = LOG_MEL
) -> Control:
    """All regressions, from the faces of a data set; shows how far it is.

    Raises:
        InputError: the generator has no latents, or there are too few faces.
    """
    if not generator.parts:
        raise InputError("This model has no latents to be turned by; give another --workdir.")
    every = max(1, sum(map(len, sources.values())) // MOST)
    known, held_out = [], []
    for source in watched(sources.values(), "personas", len(sources)):
        for part, found in zip(split(source, HELD_OUT), (known, held_out), strict=True):
            found.append(_read(generator, hearing, part, every))

    faces = _together(known)
    if len(faces.latents) <= latent_length(generator):
        raise InputError(
            f"The data have {len(faces.latents)} faces, fewer than a face has latents ({latent_length(generator)}); "
            "give more with --data."
        )
    with_bias = np.column_stack([faces.latents, np.ones(len(faces.latents))])
    to_poses, *_ = np.linalg.lstsq(with_bias, faces.poses)
    moving = _together([persona.moving for persona in known])
    to_latents, *_ = np.linalg.lstsq(moving.poses, moving.latents)
    unseen = _together([persona.moving for persona in held_out])
    by_sound, explained = _sound(moving, unseen)

    control = Control(
        step=generator.step,
        digest=generator.digest,
        faces=len(faces.latents),
        to_poses=to_poses.tolist(),
        to_latents=to_latents.tolist(),
        by_sound=by_sound.tolist(),
        explained=explained,
        reach=list(zip(faces.poses.min(0).tolist(), faces.poses.max(0).tolist(), strict=True)),
        errors=(),
        sound_run=hearing.run,
        sound_digest=hearing.digest,
    )
    others = _together(held_out)
    errors = np.abs(control.poses(others.latents) - others.poses).mean(0)
    return dataclasses.replace(control, errors=errors.tolist())


def _sound(moving: Known, unseen: Known) -> tuple[Features, float]:
    """S, and how much it explains of faces that it was not learned from; none of sound that tells nothing."""
    spread = moving.sounds.std(0)
    heard = spread > max(SILENT, FAINT * spread.max())
    # Fewer faces than features fit anything.
    if not heard.any() or len(moving.sounds) <= heard.sum():
        return np.zeros((0, 0)), 0.0
    normalised = moving.sounds[:, heard] / spread[heard]
    found, *_ = np.linalg.lstsq(normalised, moving.latents, rcond=FAINT)
    by_sound = np.zeros((len(spread), moving.latents.shape[1]))
    by_sound[heard] = found / spread[heard, None]

    missed = np.square(unseen.latents - unseen.sounds @ by_sound).sum()
    return by_sound, float(1 - missed / np.square(unseen.latents).sum())


def _together(personas: Sequence[Known]) -> Known:
    """What is known of all faces."""
    return Known(*map(np.concatenate, zip(*personas, strict=True)))


def _read(generator: Generator, hearing: Hearing, source: PersonaSource, every: int) -> Known:
    """Latents, poses and sounds of one persona's faces, of each `every`th."""
    found = [np.zeros((0, latent_length(generator)), np.float32)]
    poses = [np.zeros((0, 3), np.float32)]
    sounds = [hearing.features(np.zeros((1, mel.WINDOW)))[:0]]
    for numbers, records in _groups(source, every):
        frames = [Frame(image_of(record), record.time, i) for i, record in enumerate(records)]
        faces = [Face(record.landmarks, record.confidence, record.irises) for record in records]
        found.append(latents(generator, Performance(frames, faces)))
        poses.append(np.stack([record.pose for record in records]))
        windows = [sound_window(source, number, mel.WINDOW) for number in numbers]
        sounds.append(hearing.features(np.stack(windows)))
    return Known(*map(np.concatenate, (found, poses, sounds)))


def _groups(
    source: PersonaSource, every: int
) -> Iterator[tuple[tuple[int, ...], tuple[FaceRecord, ...]]]:
    """Numbers of intact records and these, up to TOGETHER at a time."""
    intact = (
        found
        for number in range(0, len(source), every)
        for found in source.intact(number, decode, range(number, number + 1))
    )
    while group := list(itertools.islice(intact, TOGETHER)):
        numbers, records = zip(*group, strict=True)
        yield numbers, records
