"""The verb `compare`: how alike the faces of two pictures or clips are, and where they differ.

Every measure is one of the bench's. Identity, pose and pixels are measured by the landmarks that a swap would use,
which a file beside the clip may give; expression is read by MediaPipe's face landmarker v2. Faces are compared in one
crop, each aligned by its own landmarks, where either shows the face.
"""

import contextlib
import sys
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from faceswap_jax.editing.control import ANGLES
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import expression, identity, scores
from faceswap_jax.evaluation.clip_world import LOOKS, expression_values
from faceswap_jax.evaluation.difference import Aligned, draw_differences
from faceswap_jax.evaluation.frames import Landmarks, PerFrame
from faceswap_jax.evaluation.likeness import SIMILARITY, Likeness, Signal, mean_of
from faceswap_jax.evaluation.pairing import Pair, frames_at, pairs_by_time
from faceswap_jax.faces import align, people, video
from faceswap_jax.faces.blendshapes import NAMES, BlendshapeReader
from faceswap_jax.faces.embedding import DlibEmbedder, SFaceEmbedder
from faceswap_jax.faces.face import Image
from faceswap_jax.faces.picture import write_picture
from faceswap_jax.faces.pose import head_pose
from faceswap_jax.files import new_folder
from faceswap_jax.inference.audience import tell, watched
from faceswap_jax.inference.clip import find_people
from faceswap_jax.losses.ssim import WINDOW

SIDE = 256  # of the crops that are compared, pixels
ALIGNMENT = "stable"  # neither a turned head nor an open mouth moves it
UPSIDE_DOWN = 120  # degrees of roll between two faces; nobody performs so


class Networks(NamedTuple):
    """What faces are read with."""

    reader: BlendshapeReader
    sface: SFaceEmbedder
    dlib: DlibEmbedder


@dataclass(frozen=True)
class Side:
    """One of the two that are compared.

    Attributes:
        path: picture or clip.
        person: whose face is compared.
    """

    path: Path
    person: people.Person

    def frames(self, numbers: Iterable[int]) -> Iterator[video.Frame]:
        """See `frames_at`."""
        return frames_at(self.path, numbers)

    def aligned(self, frame: video.Frame) -> Aligned:
        """The face of a frame, in the crop that both sides share."""
        points = self.person.faces[frame.index].landmarks
        transform = align.alignment_transform(points, SIDE, ALIGNMENT)
        crop = align.crop(frame.image, transform, SIDE)
        return Aligned(crop, align.transform_points(points, transform))


class Seen(NamedTuple):
    """What a side shows in the frames that are compared; NaN where a network does not look.

    Attributes:
        landmarks: in pixels of the frame.
        blendshapes: also NaN where the network sees no face.
        sface: embeddings by SFace, of unit length.
        dlib: dlib's descriptors as they are.
    """

    landmarks: Landmarks
    blendshapes: expression.Blendshapes
    sface: identity.Embeddings
    dlib: identity.Embeddings


def compare(
    a: Path, b: Path, output: Path | None = None, faces: tuple[int, int] | None = None
) -> Likeness:
    """Compares the faces of two pictures or clips, prints tables, and draws where they differ.

    Frames of two clips are compared by their times, a picture with every frame of a clip. Identity and whole frames,
    which take long, are looked at `LOOKS` times a second.

    Args:
        a: picture or clip.
        b: the other one.
        output: folder to write, which is not there yet: scores.json, scores.md, difference.png.
        faces: numbers of the people who are compared, of A and of B; who fills most of each if not given.

    Raises:
        InputError: a file cannot be used, no moment shows both faces, or a package is not installed. Nothing is
            written then.
    """
    with new_folder(output) if output else contextlib.nullcontext() as folder:
        # What is not installed is told before the work.
        networks = Networks(BlendshapeReader(), SFaceEmbedder(), DlibEmbedder())
        number_a, number_b = faces or (None, None)
        side_a = _side(a, number_a)
        side_b = _side(b, number_b)
        pairs = _pairs(side_a, side_b)
        likeness = _measure(side_a, side_b, pairs, networks)

        _print(likeness)
        if folder:
            likeness.save(folder)
            write_picture(folder / "difference.png", _draw(side_a, side_b, likeness))
    if output:
        tell(f"{output / 'difference.png'}: both faces, and where they differ")
        tell(f"{output / 'scores.md'}: the tables; scores.json has all digits")
    return likeness


def _side(path: Path, number: int | None) -> Side:
    """Who is compared of a picture or clip; says so if somebody else could have been meant.

    Raises:
        InputError: it shows no face, or none of that number.
    """
    found = find_people(path)
    if number is None and len(found) > 1:
        tell(
            f"{path} shows {len(found)} people; face 0, who fills most of it, is compared. "
            f"'faceswap people {path} --output people.png' shows their numbers; --face chooses."
        )
    return Side(path, people.person_of(path, found, number or 0))


def _pairs(a: Side, b: Side) -> list[Pair]:
    """The frames that are compared: of one time, and with both faces. Says what is left out.

    Raises:
        InputError: there are none.
    """
    times_a = video.frame_times(a.path)
    times_b = video.frame_times(b.path)
    pairs = pairs_by_time(times_a, times_b)
    both = [pair for pair in pairs if pair.a in a.person.faces and pair.b in b.person.faces]
    if not both:
        raise InputError(
            f"At no time do {a.path} and {b.path} both show their faces; give pictures, or clips of the same moments."
        )
    # The last frames of clips of one length lie less than a frame apart.
    longest = max(np.diff(times).max(initial=0) for times in (times_a, times_b))
    are_clips = len(times_a) > 1 and len(times_b) > 1
    if are_clips and abs(times_a[-1] - times_b[-1]) > longest:
        tell(
            f"{a.path} ends at {times_a[-1]:.2f} s, {b.path} at {times_b[-1]:.2f} s; what only one of them shows is "
            "left out."
        )
    if len(pairs) > 1:
        tell(f"{len(both)} of {len(pairs)} pairs of frames show both faces and are compared.")
    return both


def _measure(a: Side, b: Side, pairs: Sequence[Pair], networks: Networks) -> Likeness:
    """Everything that is measured of B against A."""
    seconds = pairs[-1].time - pairs[0].time
    every = max(1, round(len(pairs) / (LOOKS * seconds))) if seconds else 1
    looked = pairs[::every]

    seen_a = _see(a, [pair.a for pair in pairs], {pair.a for pair in looked}, networks)
    seen_b = _see(b, [pair.b for pair in pairs], {pair.b for pair in looked}, networks)
    errors = expression.pose_errors(seen_b.landmarks, seen_a.landmarks)
    upside_down = (errors[:, ANGLES.index("roll")] > UPSIDE_DOWN).sum()
    if upside_down:
        tell(
            f"In {upside_down} of {len(pairs)} pairs one face stands on its head beside the other: landmarks may be "
            "wrong there, and all scores count these pairs, too."
        )
    values = {
        "cosine by SFace": identity.cosine(seen_b.sface, seen_a.sface),
        "cosine by dlib": identity.cosine(_unit(seen_b.dlib), _unit(seen_a.dlib)),
        "distance by dlib": np.linalg.norm(seen_b.dlib - seen_a.dlib, axis=1),
        **dict(zip(ANGLES, errors.T, strict=True)),
        **expression_values(seen_b.blendshapes, seen_a.blendshapes),
        **_similarities(a, b, pairs, set(looked)),
    }
    return Likeness(a.path, b.path, pairs, values, _signals(seen_a, seen_b, errors))


def _see(side: Side, numbers: Sequence[int], looked: Collection[int], networks: Networks) -> Seen:
    """What the frames of these numbers show; whose face it is, in those that are looked at."""
    # A picture is compared with many frames, and seen once.
    distinct, places = np.unique(numbers, return_inverse=True)
    frames = side.frames(distinct.tolist())
    rows = []
    for frame in watched(frames, f"{side.path.name}: expression", len(distinct)):
        points = side.person.faces[frame.index].landmarks
        windows = expression.windows_of(networks.reader, [frame.image], [points])
        read = expression.read_faces(networks.reader, [frame.image], windows)
        embedded = described = np.full(networks.dlib.size, np.nan, np.float32)
        if frame.index in looked:
            embedded = networks.sface(frame.image, points)
            described = networks.dlib.describe(frame.image, points)
        rows.append((points, read.blendshapes[0], embedded, described))
    return Seen(*(np.stack(column)[places] for column in zip(*rows, strict=True)))


def _similarities(
    a: Side, b: Side, pairs: Sequence[Pair], looked: Collection[Pair]
) -> dict[str, PerFrame]:
    """How alike the pixels of the faces are, and those of whole frames that are looked at, if these have one size."""
    values = {name: np.full(len(pairs), np.nan, np.float32) for name in SIMILARITY}
    for i, (one, other) in enumerate(_side_by_side(a, b, pairs)):
        face_a = a.aligned(one)
        face_b = b.aligned(other)
        measured = _similarity("face", face_a.image, face_b.image, _mask(face_a, face_b))
        if pairs[i] in looked and _fit(one.image, other.image):
            everywhere = np.ones(one.image.shape[:2], np.float32)
            measured |= _similarity("frame", one.image, other.image, everywhere)
        for name, value in measured.items():
            values[name][i] = value
    return values


def _similarity(place: str, a: Image, b: Image, mask: Float[np.ndarray, "h w"]) -> dict[str, float]:
    """Scores of B against A inside a mask, by the names of `SIMILARITY`."""
    compared = scores.compare(b[None], a[None], mask[None])
    return {f"{place} {name}": value.item() for name, value in compared.items()}


def _side_by_side(
    a: Side, b: Side, pairs: Sequence[Pair]
) -> Iterator[tuple[video.Frame, video.Frame]]:
    """The frames of pairs."""
    frames_a = a.frames(pair.a for pair in pairs)
    frames_b = b.frames(pair.b for pair in pairs)
    return iter(watched(zip(frames_a, frames_b, strict=True), "pixels", len(pairs)))


def _fit(a: Image, b: Image) -> bool:
    """Whether whole frames can be compared as they are."""
    return a.shape == b.shape and min(a.shape[:2]) >= WINDOW


def _mask(a: Aligned, b: Aligned) -> Float[np.ndarray, "h w"]:
    """Where either shows the face, 0..1: that one reaches further is a difference, too."""
    outlines = [align.face_polygon(face.landmarks) for face in (a, b)]
    return np.maximum(*(align.polygon_mask(outline, SIDE, SIDE) for outline in outlines))


def _signals(a: Seen, b: Seen, errors: Float[np.ndarray, "n 3"]) -> dict[str, Signal]:
    """What both do, by name."""
    poses_a = np.stack([head_pose(face) for face in a.landmarks])
    poses_b = np.stack([head_pose(face) for face in b.landmarks])
    apart = np.abs(b.blendshapes - a.blendshapes)
    columns = zip(
        (*ANGLES, *NAMES),
        np.hstack([poses_a, a.blendshapes]).T,
        np.hstack([poses_b, b.blendshapes]).T,
        np.hstack([errors, apart]).T,
        strict=True,
    )
    signals = {}
    for name, in_a, in_b, difference in columns:
        signals[name] = Signal(mean_of(in_a), mean_of(in_b), mean_of(difference))
    return signals


def _draw(a: Side, b: Side, likeness: Likeness) -> Image:
    """The picture: of clips the moments at which the faces are most alike, least, and between."""
    alike = likeness.values["face ssim"]
    order = np.argsort(-alike, kind="stable").tolist()
    words = {order[0]: "most alike", order[-1]: "least alike"}
    chosen = sorted({order[0], order[len(order) // 2], order[-1]})
    labels = []
    for i in chosen:
        time = likeness.pairs[i].time
        moment = f"{time:.2f} s, {words.get(i, 'between')}: " if len(order) > 1 else ""
        labels.append(f"{moment}SSIM {alike[i]:.3f}")

    pairs = [likeness.pairs[i] for i in chosen]
    faces = [(a.aligned(one), b.aligned(other)) for one, other in _side_by_side(a, b, pairs)]
    masks = [_mask(*pair) for pair in faces]
    return draw_differences(faces, masks, (f"A: {a.path.name}", f"B: {b.path.name}"), labels)


def _print(likeness: Likeness) -> None:
    """The tables, for the terminal."""
    # Where nothing tells the width, all columns are shown.
    console = Console(stderr=True, markup=False, width=None if sys.stderr.isatty() else 120)
    for heads, lines in likeness.tables():
        first, *others = heads
        columns = [Column(head, justify="right") for head in others]
        table = Table(Column(first, no_wrap=True), *columns, box=SIMPLE_HEAD)
        for line in lines:
            table.add_row(*line)
        console.print(table)
    for sentence in likeness.sentences():
        tell(sentence)


def _unit(embeddings: identity.Embeddings) -> identity.Embeddings:
    return embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
