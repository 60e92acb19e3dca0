"""From a clip to its face tracks: one plain function, so that a loop, a process pool or Beam can drive it.

The clip is read twice. First every frame is looked at: shot changes, faces, landmarks. The faces are linked into
tracks, these into people, and whose tracks to keep is chosen. Then the crops of these are cut, judged and given out,
track after track. Decoding twice costs little beside finding landmarks. However long a clip and its tracks are, only
one picture is held, and a small one of a face now and then.

A long clip is read in parts, whoever reads them: one process part after part, or several at once. A part is read from a
little earlier on, so that its first frame is compared with what came before.
"""

import bisect
import dataclasses
import enum
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Float64, Int16, UInt8, UInt16

from data_pipelines.clips import Clip
from data_pipelines.prepare import quality
from data_pipelines.prepare.found import Found, FoundCut, Identity, found_cut, found_people, pick
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import FaceRecord, stored_side
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, tracking, video
from faceswap_jax.faces.audio import RATE as AUDIO_RATE
from faceswap_jax.faces.audio import read_audio
from faceswap_jax.faces.face import Face, Landmarker
from faceswap_jax.faces.people import LOST, SPARSE, STRETCH, Person, Watcher
from faceswap_jax.faces.picture import is_silent
from faceswap_jax.faces.pose import head_pose

PART = 30.0
"""Seconds that a part of a long clip lasts, about."""

OVERLAP = 1.0
"""Seconds before a part that are read again, to compare with."""

Each = Callable[[Callable[[Any], Iterable[Any]], Iterable[Any]], Iterator[Any]]
"""What a function yields for each of some items, one after the other. Several processes may do it."""


def in_turn(function: Callable[[Any], Iterable[Any]], items: Iterable[Any]) -> Iterator[Any]:
    """See `Each`: one item after the other, in this process."""
    for item in items:
        yield from function(item)


class Dropped(enum.StrEnum):
    """Why a frame or a face gives no record."""

    NO_FACE = "no face"
    ANOTHER = "a larger face is kept"
    SOMEBODY_ELSE = "somebody else"
    CONFIDENCE = "low confidence"
    SMALL = "small"
    OUTSIDE = "leaves the frame"
    POSE = "extreme pose"
    BLURRED = "blurred"
    DUPLICATE = "near-duplicate"


def face_tracks(
    clip: Clip,
    settings: Settings,
    landmarker: Landmarker,
    tells_apart: bool = False,
    wanted: Identity | None = None,
    finish: Callable[[FaceRecord], FaceRecord] = lambda record: record,
    each: Each = in_turn,
) -> Iterator[Found | FaceRecord | Dropped]:
    """Yields whom a clip shows, then its records, track after track, and why other faces and faceless frames give none.

    Args:
        clip: what to read.
        settings: which frames and faces to keep, and how large.
        landmarker: of this clip, as returned by `landmarks.open_landmarker`.
        tells_apart: whether one person's faces are kept, rather than the largest at any time, or all.
        wanted: that person; None: who fills most of the clip.
        finish: what becomes of a record where it is cut.
        each: reads the parts of the clip. Where other processes do, the arguments go to them.

    Raises:
        InputError: the file cannot be decoded, or landmarks that someone supplied describe no face.
    """
    parts = list(each(partial(parts_of, settings=settings), [clip]))
    look = partial(_look, settings=settings, landmarker=landmarker, tells_apart=tells_apart)
    seen = _joined(clip, settings, each(look, parts))

    people = seen.people() if tells_apart else []
    found, kept = _choose(seen, people, settings, wanted)
    yield found
    yield from itertools.repeat(Dropped.NO_FACE, seen.faceless)
    reason = Dropped.SOMEBODY_ELSE if found.people else Dropped.ANOTHER
    yield from itertools.repeat(reason, _faces(seen.watcher.tracks) - _faces(kept))
    if not kept:
        return
    sound = np.zeros(0, np.int16)
    if settings.sound:
        hear = partial(_heard, start=seen.times[0], end=seen.times[-1] + seen.spacing)
        (sound,) = each(hear, [clip.path])
    cut = partial(_records, settings=settings, finish=finish)
    for layer in _layers(kept):
        yield from _with_sound(each(cut, _pieces(parts, layer, seen)), sound, seen)


@dataclasses.dataclass(frozen=True)
class Part:
    """A stretch of a clip.

    Attributes:
        clip: all of it.
        before: seconds, from where on it is read.
        start: seconds, the first frame time that belongs to it.
        end: seconds; frames before it belong to it.
    """

    clip: Clip
    before: float
    start: float
    end: float

    def read(self, settings: Settings, depth: int = 8) -> Iterator[video.Frame]:
        """Its frames, and those just before; none where there are none."""
        is_all = (self.start, self.end) == (self.clip.start, self.clip.end)
        try:
            yield from video.read_frames(
                self.clip.path,
                start=self.before,
                end=self.end,
                depth=depth,
                colorspace=settings.colorspace or None,
            )
        except video.NoFrames:
            # As in a file that has lost its end
            if is_all:
                raise


def parts_of(clip: Clip, settings: Settings) -> Iterator[Part]:
    """The parts in which a clip is read: one, unless it is long, all of its frames are wanted, and any can be found.

    Raises:
        InputError: the file cannot be decoded.
    """
    bounds = [clip.start, clip.end]
    if not is_silent(clip.path) and not settings.interval and not settings.frames:
        end = min(video.probe(clip.path).duration, clip.end)
        count = round((end - clip.start) / PART)
        middle = (clip.start + end) / 2
        keyframe = video.keyframe_time(clip.path, middle) if count > 1 else None
        # Where keyframes are rare, a part would be read from the beginning of the file.
        if keyframe is not None and middle - keyframe <= PART:
            bounds[1:1] = np.linspace(clip.start, end, count + 1)[1:-1].tolist()
    for start, stop in itertools.pairwise(bounds):
        before = start if start == clip.start else start - OVERLAP
        yield Part(clip, before, start, stop)


def _choose(
    seen: "_Seen", people: Sequence[Person], settings: Settings, wanted: Identity | None
) -> tuple[Found, Sequence[tracking.Track]]:
    """What is told of a clip, and the tracks to keep."""
    if any(person.looks for person in people):
        told = found_people(people, len(seen.frames))
        kept = pick(told, wanted)
        tracks = [] if kept is None else people[kept].tracks
        return Found(told, kept, False, seen.cuts), tracks

    tracks = seen.watcher.tracks
    if settings.faces == "largest":
        tracks = tracking.largest(tracks)
    return Found([], None, bool(people), seen.cuts), tracks


@dataclasses.dataclass
class _Seen:
    """What the frames that were looked at show.

    Attributes:
        watcher: of their faces; it counts positions in these lists.
        frames: index in the file of each.
        times: of each, seconds.
        faceless: how many show no face.
        cuts: between any two frames of the file.
        joints: how many frames had been looked at where each of the parts begins.
    """

    watcher: Watcher
    frames: list[int] = dataclasses.field(default_factory=list)
    times: list[float] = dataclasses.field(default_factory=list)
    faceless: int = 0
    cuts: list[FoundCut] = dataclasses.field(default_factory=list)
    joints: list[int] = dataclasses.field(default_factory=lambda: [0])

    @property
    def spacing(self) -> float:
        """Typical seconds from one frame to the next, 0 for a single one."""
        return float(np.median(np.diff(self.times))) if len(self.times) > 1 else 0.0

    def people(self) -> list[Person]:
        """Who is seen; who fills most comes first."""
        return self.watcher.people(round(LOST / self.spacing) if self.spacing else 0)

    def append(self, later: "_Seen") -> None:
        """Goes on with what the next part shows."""
        self.joints.append(len(self.frames))
        self.watcher.append(later.watcher)
        self.frames += later.frames
        self.times += later.times
        self.faceless += later.faceless
        self.cuts += later.cuts


def _joined(clip: Clip, settings: Settings, parts: Iterator[_Seen]) -> _Seen:
    """What all parts show.

    Raises:
        InputError: there are no frames.
    """
    seen = next(parts)
    for part in parts:
        seen.append(part)
    if not seen.frames:
        raise InputError(f"{clip.path} has no frame where its header says; export it again.")
    return seen


def _look(
    part: Part, settings: Settings, landmarker: Landmarker, tells_apart: bool
) -> Iterator[_Seen]:
    """First reading: landmarks at the wanted interval, shot changes between any two frames."""
    stretch = SPARSE if settings.interval else STRETCH
    seen = None
    find_cut = tracking.ShotCuts(settings.cut)
    is_cut = False
    due = -math.inf
    for frame in part.read(settings):
        cut = find_cut(frame.image)
        if part.before < part.start and frame.time < part.start:
            continue
        # Stretches are those of the file, in whatever part a frame is.
        seen = seen or _Seen(Watcher(stretch if tells_apart else 0, frame.index))
        if cut is not None:
            height, width = frame.image.shape[:2]
            seen.cuts.append(found_cut(cut, frame.index, frame.time, width / height))
            is_cut = True
        if frame.time < due:
            continue

        faces = landmarker(frame.image, frame.index)
        seen.watcher(frame.image, faces, is_cut)
        seen.faceless += not faces
        seen.frames.append(frame.index)
        seen.times.append(frame.time)
        is_cut = False
        if len(seen.frames) == settings.frames:
            break
        if settings.interval:
            # Half a millisecond of slack: frame times are rounded.
            due = seen.times[0] + len(seen.times) * settings.interval - 5e-4

    seen = seen or _Seen(Watcher())
    for look in seen.watcher.looks:
        # Told here, where others may work beside
        _ = look.embedding
    yield seen


def _faces(tracks: Sequence[tracking.Track]) -> int:
    return sum(len(track.frames) for track in tracks)


def _layers(tracks: Sequence[tracking.Track]) -> list[list[tuple[int, tracking.Track]]]:
    """Divides numbered tracks such that no two of a layer share a frame; each layer is in order of time."""
    layers: list[list[tuple[int, tracking.Track]]] = []
    for number, track in sorted(enumerate(tracks), key=lambda item: item[1].frames[0]):
        for layer in layers:
            _, before = layer[-1]
            if before.frames[-1] < track.frames[0]:
                layer.append((number, track))
                break
        else:
            layers.append([(number, track)])
    return layers


class _Piece(NamedTuple):
    """Faces to be cut from a part.

    Attributes:
        part: of a clip.
        wanted: track and face by index of the frame, in order; no two of one frame.
        first: index of the first frame that gives a record; those before it are for comparison.
    """

    part: Part
    wanted: dict[int, tuple[int, Face]]
    first: int


def _pieces(
    parts: Sequence[Part], layer: Sequence[tuple[int, tracking.Track]], seen: _Seen
) -> Iterator[_Piece]:
    """What to cut of one layer, part after part."""
    faces = {}
    for number, track in layer:
        for position, face in zip(track.frames, track.faces, strict=True):
            faces[position] = number, face

    ends = [*seen.joints[1:], len(seen.frames)]
    for part, begin, end in zip(parts, seen.joints, ends, strict=True):
        # Positions from a little earlier on
        earlier = bisect.bisect_left(seen.times, part.before, hi=begin)
        wanted = {seen.frames[i]: faces[i] for i in range(earlier, end) if i in faces}
        if any(i in faces for i in range(begin, end)):
            yield _Piece(part, wanted, seen.frames[begin])


def _records(
    piece: _Piece, settings: Settings, finish: Callable[[FaceRecord], FaceRecord]
) -> Iterator[FaceRecord | Dropped]:
    """Second reading: the faces of one layer, cut and judged; without sound."""
    wanted = piece.wanted
    clip = piece.part.clip
    left = len(wanted)
    # Track, landmarks and grey crop of the latest record
    latest_track, latest_landmarks, latest_grey = -1, None, None
    depth = 16 if settings.image == "png16" else 8
    for frame in piece.part.read(settings, depth):
        if frame.index not in wanted:
            continue
        number, face = wanted[frame.index]
        try:
            grey = quality.analysis_crop(frame.image, face.landmarks)
            record = face_record(
                frame.image,
                face,
                settings.resolution,
                time=frame.time,
                frame=frame.index,
                persona=clip.persona,
                clip=clip.name,
                track=number,
                sharpness=quality.sharpness(grey),
            )
        # No such face exists, but a hand-made file of landmarks may hold one.
        except ValueError as error:
            raise InputError(
                f"Frame {frame.index} of {clip.path}: {error} Correct or remove them."
            ) from error

        flaw = _flaw(record, face, settings)
        if flaw is None and number == latest_track:
            # Cut in the same place: landmarks tremble on a repeated frame, and would follow a head that moves.
            again = quality.analysis_crop(frame.image, latest_landmarks)
            if quality.change(again, latest_grey) < settings.min_change:
                flaw = Dropped.DUPLICATE
        if flaw is None:
            latest_track, latest_landmarks, latest_grey = number, face.landmarks, grey
        if frame.index >= piece.first:
            yield flaw or finish(record)

        left -= 1
        if not left:
            return


def _flaw(record: FaceRecord, face: Face, settings: Settings) -> Dropped | None:
    """Why a record is not worth keeping by itself."""
    if record.confidence < settings.min_confidence:
        return Dropped.CONFIDENCE

    right, left = align.eye_centres(face.landmarks)
    if np.linalg.norm(left - right) < settings.min_size:
        return Dropped.SMALL

    polygon = align.face_polygon(face.landmarks)
    if quality.outside(polygon, record.frame_size) > settings.max_outside:
        return Dropped.OUTSIDE

    # A limit of 0 is none.
    yaw, pitch, _ = np.abs(record.pose)
    if yaw > (settings.max_yaw or math.inf) or pitch > (settings.max_pitch or math.inf):
        return Dropped.POSE

    if record.sharpness < settings.min_sharpness:
        return Dropped.BLURRED
    return None


def _heard(path: Path, start: float, end: float) -> Iterator[Int16[np.ndarray, "n"]]:
    """The sound of a clip, all of it at once."""
    yield read_audio(path, start=start, end=end)


def _with_sound(
    outcomes: Iterable[FaceRecord | Dropped], sound: Int16[np.ndarray, "n"], seen: _Seen
) -> Iterator[FaceRecord | Dropped]:
    """Gives each record the sound from its time to that of the next record of its track, or for one frame."""

    def sounding(record: FaceRecord, end: float) -> FaceRecord:
        first = round((record.time - seen.times[0]) * AUDIO_RATE)
        last = round((end - seen.times[0]) * AUDIO_RATE)
        return dataclasses.replace(record, sound=sound[first:last])

    waiting = None
    for outcome in outcomes:
        if isinstance(outcome, Dropped):
            yield outcome
            continue
        if waiting is not None:
            goes_on = waiting.track == outcome.track
            yield sounding(waiting, outcome.time if goes_on else waiting.time + seen.spacing)
        waiting = outcome
    if waiting is not None:
        yield sounding(waiting, waiting.time + seen.spacing)


def record_transform(
    landmarks: Float[np.ndarray, "68 2"], resolution: int
) -> Float64[np.ndarray, "2 3"]:
    """Scale and shift from frame pixels to those of a record's image.

    The crop of `stable` lies in the middle of the image and has `resolution` pixels, so that turned heads keep their
    size. The image stays as upright as the frame: the alignment `box` shows a tilted head tilted.

    Raises:
        ValueError: the landmarks coincide.
    """
    to_crop = align.alignment_transform(landmarks, resolution, "stable")
    scale = align.transform_scale(to_crop)
    to_frame = align.invert(to_crop)
    centre = to_frame @ [(resolution - 1) / 2, (resolution - 1) / 2, 1]
    middle = (stored_side(resolution) - 1) / 2
    return np.column_stack([scale * np.eye(2), middle - scale * centre])


def face_record(
    image: UInt8[np.ndarray, "h w 3"] | UInt16[np.ndarray, "h w 3"],
    face: Face,
    resolution: int,
    *,
    time: float,
    frame: int,
    persona: str,
    clip: str,
    track: int,
    sharpness: float = math.nan,
) -> FaceRecord:
    """Cuts one face from an image; the other arguments are copied into the record, which has no sound.

    Raises:
        ValueError: the landmarks coincide.
    """
    transform = record_transform(face.landmarks, resolution)
    landmarks = align.transform_points(face.landmarks, transform)
    return FaceRecord(
        image=align.crop(image, transform, stored_side(resolution)),
        landmarks=landmarks,
        irises=align.transform_points(face.irises, transform),
        polygon=align.face_polygon(landmarks),
        transform=transform,
        pose=head_pose(face.landmarks),
        frame_size=(image.shape[0], image.shape[1]),
        time=float(time),
        frame=int(frame),
        confidence=float(face.confidence),
        sharpness=float(sharpness),
        persona=persona,
        clip=clip,
        track=track,
        sound=np.zeros(0, np.int16),
    )
