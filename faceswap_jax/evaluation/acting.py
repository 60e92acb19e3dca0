"""Whole images that are scored: somebody's pictures that act as a clip does, beside what needs no network.

Each person's first clip is parted. Its beginning shows who it is: pictures for the system are taken from there, and the
frames that may be copied. The rest drives. So nobody is shown what is asked for.

Scored are crops in the generator's alignment, all at one side: whatever a whole image shows around the face counts.
"""

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Int, UInt8
from rich.console import Console

from data_pipelines.clips import Clip
from faceswap_jax.editing.control import ANGLES, Control
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import scores
from faceswap_jax.evaluation.expression import ASPECTS, FOUND
from faceswap_jax.evaluation.frames import Frames, Landmarks, PerFrame, spread
from faceswap_jax.evaluation.report import Comparison, Score, Scored, Values
from faceswap_jax.faces import align, video
from faceswap_jax.faces.expression import MEASURES, measures
from faceswap_jax.faces.face import Face, Image
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.people import find_people
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.inference.batching import Performance, at_rest, generate, latents
from faceswap_jax.inference.generator import Edit, Generator, Identity, Who

SOURCES = (1, 3, 8)
"""How many pictures the system is given, a row of the table for each."""

BEGINNING = 3
"""The beginning of a clip is this part of it, a third."""

KNOWN = 48
"""Frames of the beginning among which the nearest is looked for."""

DRIVING = 24
"""Frames of the rest that drive, evenly over its time: neighbours would tell little more."""

SIDE = 128
"""Pixels of the crops that are scored, unless the generator's images are larger."""

SHOWN = 2  # faces of each pair in the grid
SHOWN_SIDE = 128  # of these faces, pixels

COPY = "copy"
NEAREST = "nearest frame"
DRIVING_FRAME = "driving"
CONTROL = "control"

TURN = 10.0
"""Degrees that count as much as one spread of the expression when the nearest frame is looked for."""

SIMILARITY: Mapping[str, Score] = {
    "l1": Score("L1 (of 1)", "lower", 4, (0, 1)),
    "psnr": Score("PSNR (dB)", "higher", range=(0, 100)),
    "ssim": Score("SSIM", "higher", 3, (-1, 1)),
    "sharpness": Score("sharpness (truth 1)", "1"),
    "keypoints": Score("keypoint distance (% of eyes)", "lower", 1),
    "found": FOUND,
    "aspects": ASPECTS,
}
"""Scores against a truth."""


Latent = Float[np.ndarray, "latent"]


class View(NamedTuple):
    """The crop of a face in a frame; its image and landmarks are the crop's.

    Attributes:
        frame: with the crop as its image.
        face: in the crop.
        pose: of the head in the frame, as the landmarks tell it.
    """

    frame: video.Frame
    face: Face
    pose: Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Actor:
    """Somebody's clip.

    Attributes:
        clip: whose first frames show who it is.
        known: views of its beginning.
        driving: views of the rest.
        rest: the face in each frame of the rest that shows it, by number of the frame.
    """

    clip: Clip
    known: Sequence[View]
    driving: Sequence[View]
    rest: Mapping[int, Face]

    @property
    def picture(self) -> View:
        """The one that shows who it is, where there shall be one."""
        (middle,) = spread(1, len(self.known))
        return self.known[middle]

    @property
    def seconds(self) -> float:
        """From the first driving frame to the last."""
        return max(self.driving[-1].frame.time - self.driving[0].frame.time, 1e-3)


class Judge(Protocol):
    """One way to score whole images.

    Attributes:
        scores: what it measures.
        floor: what the measure itself gets wrong on average, of those scores where that is known.
    """

    scores: Mapping[str, Score]
    floor: Mapping[str, float]

    def clips(self) -> Sequence[Clip]:
        """One clip of each person."""
        ...

    def compare(
        self, rows: Mapping[str, Frames], source: Actor, driving: Actor, generator: Generator
    ) -> Comparison:
        """Scores crops of the source with the performance of the driving views, row by row."""
        ...

    def poses(self, driving: Actor) -> Float[np.ndarray, "n 3"]:
        """True yaw, pitch and roll of the head in the frame of each driving view, degrees."""
        ...


def read_actors(clips: Sequence[Clip], generators: Sequence[Generator]) -> list[Actor]:
    """Those of some clips, as large as they are scored.

    Raises:
        InputError: a generator hears, two cut faces differently, or a clip shows too few faces.
    """
    if any("sound" in generator.inputs for generator in generators):
        raise InputError(
            "The bench drives by frames, and this run hears; drive it with 'faceswap reenact'."
        )
    alignment, *others = dict.fromkeys(generator.alignment for generator in generators)
    if others:
        raise InputError(
            f"Runs cut faces as '{alignment}' and as '{others[0]}'; compare runs of one alignment."
        )
    side = max(SIDE, *(generator.resolution for generator in generators))
    return [read_actor(clip, alignment, side) for clip in clips]


def score_all(
    judge: Judge,
    generator: Generator,
    actors: Sequence[Actor],
    control: Control | None = None,
) -> dict[str, Scored]:
    """Every person driven by the own clip, and by everybody else's: a table of each kind, `self` and `cross`.

    Args:
        judge: scores them.
        generator: makes whole images.
        actors: of the judge's clips.
        control: of the generator's weights. With it there is a row of how well it tells poses.
    """
    told = [told_poses(judge, generator, control, actor) if control else {} for actor in actors]
    rests = [rest_of(generator, actor) for actor in actors]
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)

    results: dict[str, dict[str, list[Comparison]]] = {"self": {}, "cross": {}}
    for source in actors:
        identities = identities_of(generator, source)
        for driving, rest, more in zip(actors, rests, told, strict=True):
            rows = act(generator, identities, source, driving, rest)
            compared = judge.compare(rows, source, driving, generator)
            compared = replace(compared, rows={**compared.rows, **more})
            kind = "self" if driving is source else "cross"
            name = f"{source.clip.persona} driven by {driving.clip.persona}"
            results[kind][name] = [compared]
        console.print(f"{source.clip.persona}: driven by {len(actors)} clips")

    columns = ["source", "driving", NEAREST, *map(row_of, SOURCES), "truth"]
    return {
        kind: Scored(pairs, judge.scores, judge.floor, columns)
        for kind, pairs in results.items()
        # One person alone is driven by nobody else.
        if pairs
    }


def row_of(count: int) -> str:
    """The row of the system with so many pictures."""
    return "1 source" if count == 1 else f"{count} sources"


def read_actor(clip: Clip, alignment: str, side: int) -> Actor:
    """The views of a clip's largest face.

    Raises:
        InputError: too few frames show it.
    """
    with contextlib.closing(open_landmarker(clip.path)) as landmarker:
        faces = find_people(clip.path, landmarker)[0].faces
    numbers = list(faces)
    end = len(numbers) // BEGINNING
    if end < 1:
        raise InputError(
            f"{clip.path} shows a face in {len(numbers)} frames; give a clip of at least {BEGINNING}."
        )
    beginning, rest = numbers[:end], numbers[end:]
    known = [beginning[i] for i in spread(KNOWN, len(beginning))]
    driving = [rest[i] for i in spread(DRIVING, len(rest))]

    wanted = {*known, *driving}
    views = {}
    for frame in video.read_frames(clip.path):
        if frame.index in wanted:
            views[frame.index] = view_of(frame, faces[frame.index], alignment, side)
    own = [views[i] for i in known]
    return Actor(clip, own, [views[i] for i in driving], {i: faces[i] for i in rest})


def view_of(frame: video.Frame, face: Face, alignment: str, side: int) -> View:
    """A face as an alignment cuts it, with its landmarks."""
    transform = align.alignment_transform(face.landmarks, side, alignment)
    cut = replace(frame, image=align.crop(frame.image, transform, side))
    points = align.transform_points(face.landmarks, transform)
    irises = align.transform_points(face.irises, transform)
    return View(cut, Face(points, face.confidence, irises), head_pose(face.landmarks))


def identities_of(generator: Generator, source: Actor) -> dict[str, Identity]:
    """What the generator knows of somebody by some pictures, for each row of the system."""
    found = {}
    for count in SOURCES:
        chosen = [source.known[i] for i in spread(count, len(source.known))]
        found[row_of(count)] = identity_of(generator, chosen)
    return found


def identity_of(generator: Generator, views: Sequence[View]) -> Identity:
    """What the generator knows of somebody by these views."""
    side = generator.resolution
    pictures = [
        align.cut_face(view.frame.image, view.face.landmarks, side, generator.alignment)
        for view in views
    ]
    return generator.identity(Who(pictures=pictures))


def act(
    generator: Generator,
    identities: Mapping[str, Identity],
    source: Actor,
    driving: Actor,
    rest: Latent | None = None,
) -> dict[str, Frames]:
    """The rows of a pair: an image of the scored side for each driving view.

    Args:
        generator: makes whole images.
        identities: of the source, by row of the system.
        source: whom to show.
        driving: whose performance.
        rest: of the driving person; see `rest_of`.
    """
    made = driven(generator, identities, source, driving, rest)
    return {**copied(source, driving), **made}


def copied(source: Actor, driving: Actor) -> dict[str, Frames]:
    """The rows of a pair that need no network."""
    chosen = nearest(source.known, driving.driving)
    return {
        COPY: np.stack([source.picture.frame.image] * len(driving.driving)),
        NEAREST: np.stack([source.known[i].frame.image for i in chosen]),
    }


def driven(
    generator: Generator,
    identities: Mapping[str, Identity],
    source: Actor,
    driving: Actor,
    rest: Latent | None = None,
) -> dict[str, Frames]:
    """The rows of a pair that a generator makes; see `act`."""
    side = len(source.picture.frame.image)
    edit = None
    if rest is not None:
        edit = Edit(np.tile(-rest, (len(driving.driving), 1)))
    rows = {}
    for row, identity in identities.items():
        images = generate(generator, identity, performance_of(driving.driving), edit)
        rows[row] = resized(images, side)
    return rows


def rest_of(generator: Generator, driving: Actor) -> Latent | None:
    """What a generator that is driven by differences takes off everything that somebody does: the face at rest.

    None for one that is not driven so.
    """
    return at_rest(generator, performance_of(driving.known)) if generator.relative else None


def performance_of(views: Sequence[View]) -> Performance:
    """What some views act."""
    frames, faces, _ = zip(*views, strict=True)
    return Performance(frames, faces)


def told_poses(
    judge: Judge, generator: Generator, control: Control, driving: Actor
) -> dict[str, Values]:
    """The row of the poses that a control reads off the latents of the driving views; it has no other scores."""
    read = control.poses(latents(generator, performance_of(driving.driving)))
    errors = np.abs(read - judge.poses(driving))
    undefined = dict.fromkeys(judge.scores, np.full(1, np.nan))
    return {CONTROL: undefined | dict(zip(ANGLES, errors.T, strict=True))}


def nearest(known: Sequence[View], driving: Sequence[View]) -> Int[np.ndarray, "n"]:
    """Which of the known views does most nearly what each driving view does, in expression and pose."""
    # [driving, known, signals]
    differences = _signals(driving)[:, None] - _signals(known)[None]
    # What is not known, as gaze without irises, tells nothing.
    return np.nansum(np.square(differences), axis=2).argmin(1)


def _signals(views: Sequence[View]) -> Float[np.ndarray, "n 22"]:
    """Expression about the person's mean, in spreads, and the pose in turns; both count alike."""
    landmarks = np.stack([view.face.landmarks for view in views])
    irises = np.stack([view.face.irises for view in views])
    spreads = np.array(list(MEASURES.values()))
    expression = measures(landmarks, irises) / spreads
    expression -= expression.mean(0)
    pose = np.stack([head_pose(points) for points in landmarks]) / TURN
    return np.concatenate([expression / np.sqrt(len(spreads)), pose / np.sqrt(3)], axis=1)


def resized(images: Frames, side: int) -> Frames:
    """Square images at another side."""
    return np.stack([align.resize(image, side) for image in images])


def similarity(images: Frames, truth: Frames) -> dict[str, PerFrame]:
    """L1, PSNR, SSIM and sharpness of whole crops against the truth."""
    everywhere = np.ones(images.shape[:3], np.float32)
    compared = scores.compare(images, truth, everywhere)
    differences = images.astype(np.float32) - truth
    l1 = np.abs(differences).mean((1, 2, 3)) / 255
    return {"l1": l1, **{name: compared[name] for name in ("psnr", "ssim", "sharpness")}}


def keypoints(points: Landmarks, truth: Landmarks) -> dict[str, PerFrame]:
    """How far landmarks are from the truth's, in percent of the distance of its eyes, and whether there are any.

    Eyes are as far apart as in the frame where they are farthest: in profile they are close together.
    """
    distances = np.linalg.norm(points - truth, axis=-1).mean(-1)
    eyes = [np.subtract(*align.eye_centres(face)) for face in truth]
    apart = np.nanmax(np.linalg.norm(eyes, axis=-1), initial=0)
    # Nothing is known where the truth shows no face.
    known = np.isfinite(truth[:, 0, 0])
    found = np.isfinite(points[:, 0, 0])
    return {
        "keypoints": np.where(known, 100 * distances / max(apart, 1), np.nan).astype(np.float32),
        "found": np.where(known, 100.0 * found, np.nan),
    }


def lines_of(
    source: Actor, driving: Actor, rows: Mapping[str, Frames], truth: Frames
) -> UInt8[np.ndarray, "lines columns h w 3"]:
    """Lines of the grid: the source's picture, the driving frame, rows but for these two, the truth."""
    shown = [images for name, images in rows.items() if name not in (COPY, DRIVING_FRAME)]
    lines = []
    for i in spread(SHOWN, len(driving.driving)):
        cells: list[Image] = [source.picture.frame.image, driving.driving[i].frame.image]
        cells += [images[i] for images in shown]
        cells.append(truth[i])
        lines.append(np.stack([align.resize(cell, SHOWN_SIDE) for cell in cells]))
    return np.stack(lines)
