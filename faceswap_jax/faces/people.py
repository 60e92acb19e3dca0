"""Who is in a clip: faces linked into tracks, and tracks into people.

While every frame is looked at, for shot changes, faces and landmarks, some faces of each track are put aside. They tell
whose track it is. A track that ends and goes on in its place is one person's. So are tracks of one identity, over any
number of shots. A track whose identity changes, because somebody steps before somebody else, is two people's.
"""

import bisect
import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import UInt8

from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, tracking, video
from faceswap_jax.faces.ahead import ahead, mapped
from faceswap_jax.faces.embedding import Embedding, SFaceEmbedder, template_crop
from faceswap_jax.faces.face import Face, Image, Landmarker
from faceswap_jax.faces.landmarks import SidecarLandmarker
from faceswap_jax.faces.pose import head_pose

CUT = 20.0
"""Change of content from one frame to the next that is a shot change, 0..255; see `tracking.ShotCuts`."""

READ_AHEAD = 2
"""Frames that are decoded before anybody looks at them."""

LOST = 1.0
"""For how many seconds a face may be lost and found again in its place."""

STRETCH = 50
"""Of so many frames of a track, one face is looked at to tell whose it is. That takes as long as two more frames."""

SPARSE = 10
"""The same where frames are far apart."""

SMALLEST = 8.0
"""Distance of the eyes in pixels below which a face does not tell whose it is."""

TURNED = 60.0
"""Yaw and pitch together, degrees, from which on a face says nothing about a change of identity."""

SAME = 0.5
"""Cosine of two identities of a clip, by SFace, from which on they are one person's, whatever the shots.

Six real clips, a look every 50 frames: looks at one person have 0.64 and more, 0.84 on average, also 0.54 where the
eyes are 8 pixels apart; looks at two people have 0.27 and less, 0.04 on average, 0.35 at 8 pixels. Puppets are much
alike: looks at one have 0.48 and more, 0.78 on average, but looks at two 0.52 on average, so that half of the pairs of
puppets are not told apart, if they never share a frame.
"""

ALIKE = 0.36
"""The same where something else speaks for one person, and below which two are known to be two.

It is the value with which OpenCV publishes the network. In one place of one shot a face may be covered for a while: in
the same clips it then has 0.59 and more with half of it hidden, 0.44 without its eyes, 0.80 without all below them.
Between two clips or pictures, which are said to show one person, other light and other years may lie.
"""


@dataclasses.dataclass(frozen=True)
class Look:
    """A face that tells whose track it is: of its stretch the one that looks most to the front.

    Attributes:
        frame: its number.
        turned: yaw and pitch together, degrees.
        image: of the face, as the network wants it.
    """

    frame: int
    turned: float
    image: UInt8[np.ndarray, "112 112 3"]

    @functools.cached_property
    def embedding(self) -> Embedding:
        """Whose face it is.

        Raises:
            InputError: the network is not installed.
        """
        return embedder().embed(self.image)

    def moved(self, frames: int) -> "Look":
        """The same, of a clip that begins so many frames earlier."""
        moved = dataclasses.replace(self, frame=self.frame + frames)
        # What is known of it stays known.
        vars(moved).update({name: vars(self)[name] for name in vars(self) if name == "embedding"})
        return moved


@functools.cache
def embedder() -> SFaceEmbedder:
    """What tells identities, loaded when the first is asked for: a picture of one person needs none.

    Raises:
        InputError: the network is not installed.
    """
    return SFaceEmbedder()


@dataclasses.dataclass(frozen=True)
class Person:
    """One person of a clip.

    Attributes:
        tracks: of the person, in order of time; no two share a frame.
        looks: faces of these that tell who it is, in order of time.
    """

    tracks: Sequence[tracking.Track]
    looks: Sequence[Look] = ()

    @functools.cached_property
    def faces(self) -> Mapping[int, Face]:
        """One in each frame that shows the person, by number of the frame, in order."""
        faces = {}
        for track in self.tracks:
            faces.update(zip(track.frames, track.faces, strict=True))
        return faces

    @functools.cached_property
    def area(self) -> float:
        """Sum of the areas of the faces' boxes, square pixels."""
        return sum(map(tracking.area, self.faces.values()))

    @functools.cached_property
    def identity(self) -> Embedding | None:
        """The mean direction of what the looks tell, of unit length; None without looks.

        Raises:
            InputError: the network is not installed.
        """
        if not self.looks:
            return None
        together = np.sum([look.embedding for look in self.looks], axis=0)
        return together / np.linalg.norm(together)

    def joined(self, other: "Person") -> "Person":
        """This person and one who is the same."""
        tracks = sorted([*self.tracks, *other.tracks], key=lambda track: track.frames[0])
        looks = sorted([*self.looks, *other.looks], key=lambda look: look.frame)
        return Person(tracks, looks)


def find_people(
    clip: Path,
    landmarker: Landmarker,
    progress: Callable[[Iterable[video.Frame]], Iterable[video.Frame]] = iter,
    colorspace: str | None = None,
) -> list[Person]:
    """The people of a picture or clip, first the one that fills most of it. Users know person N as 'face N'.

    Args:
        clip: picture or clip.
        landmarker: of this clip, as returned by `landmarks.open_landmarker`. A file of landmarks beside the clip
            describes one person.
        progress: wraps the frames of the reading.
        colorspace: of the clip, see `video.read_frames`.

    Raises:
        InputError: no frame shows a face, the size of the frames changes, the clip cannot be read, or identities have
            to be compared and the network for it is not installed.
    """

    def look(frame: video.Frame) -> tuple[video.Frame, list[Face]]:
        return frame, landmarker(frame.image, frame.index)

    is_cut = tracking.ShotCuts(CUT)
    watcher = Watcher()
    frames = ahead(progress(_alike(clip, colorspace)), READ_AHEAD)
    with contextlib.closing(frames), contextlib.closing(mapped(look, frames)) as looked:
        for frame, faces in looked:
            cut = is_cut(frame.image) is not None
            watcher(frame.image, faces, cut)
    if not watcher.tracks:
        none = f"{clip} shows no face"
        if watcher.frames > 1:
            none = f"None of the {watcher.frames} frames shows a face in {clip}"
        raise InputError(f"{none}; give another one, or landmarks beside it.")

    if isinstance(landmarker, SidecarLandmarker):
        return [Person(watcher.tracks, watcher.looks)]
    return watcher.people(round(LOST * video.probe(clip).rate))


def _alike(clip: Path, colorspace: str | None) -> Iterator[video.Frame]:
    """The frames of a clip.

    Raises:
        InputError: their size changes, or what their numbers stand for where these are kept.
    """
    size = None
    for frame in video.read_frames(clip, colorspace=colorspace):
        kind = frame.decoded and frame.decoded.kind
        if size is None:
            first_kind = kind
        if kind != first_kind:
            raise InputError(
                f"From frame {frame.index} on {clip} has another depth or other colours; export it with one of them."
            )
        height, width, _ = frame.image.shape
        size = size or (width, height)
        if size != (width, height):
            raise InputError(
                f"From frame {frame.index} on {clip} has {width} x {height} pixels instead of {size[0]} x {size[1]}; "
                "export it at one size."
            )
        yield frame


def identity_of(picture: Path, landmarker: Landmarker) -> Embedding:
    """The identity of the person who fills most of a picture or clip.

    Args:
        picture: picture or clip.
        landmarker: of it, as for `find_people`.

    Raises:
        InputError: it cannot be read, shows no face, or one that is too small to tell whose it is.
    """
    identity = find_people(picture, landmarker)[0].identity
    if identity is None:
        raise InputError(
            f"The face in {picture} is too small to tell whose it is: its eyes are less than {SMALLEST:.0f} pixels "
            "apart; give a picture that shows it larger."
        )
    return identity


def nearest(people: Sequence[Person], identity: Embedding) -> int:
    """The number of the person whose identity is nearest to a given one."""
    known = [number for number, person in enumerate(people) if person.looks]
    return max(known, key=lambda number: float(people[number].identity @ identity), default=0)


def person_of(source: Path, people: Sequence[Person], number: int) -> Person:
    """The person of that number.

    Raises:
        InputError: there is none.
    """
    if 0 <= number < len(people):
        return people[number]
    known = "only face 0" if len(people) == 1 else f"faces 0 to {len(people) - 1}"
    raise InputError(
        f"{source} has no face {number}, {known}; 'faceswap people {source} --output people.png' "
        "shows who has which number."
    )


class Watcher:
    """Links the faces of a clip's frames into tracks, and puts aside some that tell whose they are.

    Args:
        stretch: of so many frames one face of a track is put aside; 0: none is, as one person is shown.
        first: number of the first frame; stretches count from frame 0.

    Attributes:
        frames: how many were watched.
    """

    def __init__(self, stretch: int = STRETCH, first: int = 0) -> None:
        self.frames = 0
        self._stretch = stretch
        self._first = first
        self._linker = tracking.Linker()
        self._cuts: list[int] = []
        self._looks: list[list[Look]] = []  # of each track

    def __call__(self, image: Image, faces: Sequence[Face], cut: bool) -> None:
        """Watches the next frame.

        Args:
            image: of the frame.
            faces: in it.
            cut: whether another shot begins with it.
        """
        if cut:
            self._cuts.append(self.frames)
        numbers = self._linker(faces, cut)
        self._looks += [[] for _ in range(len(self.tracks) - len(self._looks))]
        if self._stretch:
            for number, face in zip(numbers, faces, strict=True):
                self._look(image, face, number)
        self.frames += 1

    def _look(self, image: Image, face: Face, number: int) -> None:
        """Puts the face aside if it looks most to the front in its stretch of its track so far."""
        right, left = align.eye_centres(face.landmarks)
        if np.linalg.norm(left - right) < SMALLEST:
            return
        yaw, pitch, _ = np.abs(head_pose(face.landmarks))
        turned = float(yaw + pitch)
        # Few are, and cutting a crop takes longer than all else here.
        if self._is_better(self.frames, turned, number):
            crop = template_crop(image, face.landmarks)
            self._put_aside(Look(self.frames, turned, crop), number)

    def _is_better(self, frame: int, turned: float, number: int) -> bool:
        """Whether a face of a track is the first of its stretch, or more to the front than that which is put aside."""
        looks = self._looks[number]
        return not looks or self._begins(frame, looks) or turned < looks[-1].turned

    def _begins(self, frame: int, looks: Sequence[Look]) -> bool:
        """Whether a frame lies in another stretch than the last look."""
        stretches = [(self._first + number) // self._stretch for number in (looks[-1].frame, frame)]
        return stretches[0] < stretches[1]

    def _put_aside(self, look: Look, number: int) -> None:
        """Puts a better look at a track aside, in place of that of its stretch."""
        looks = self._looks[number]
        if looks and not self._begins(look.frame, looks):
            looks.pop()
        looks.append(look)

    def append(self, later: "Watcher") -> None:
        """Goes on with what another one has watched, which began where this one has ended."""
        cut = later._cuts[:1] == [0]
        self._cuts += [self.frames + frame for frame in later._cuts]
        numbers = self._linker.append(later._linker, cut)
        self._looks += [[] for _ in range(len(self.tracks) - len(self._looks))]
        for number, looks in zip(numbers, later._looks, strict=True):
            for look in looks:
                moved = look.moved(self.frames)
                if self._is_better(moved.frame, moved.turned, number):
                    self._put_aside(moved, number)
        self.frames += later.frames

    @property
    def tracks(self) -> list[tracking.Track]:
        """Of all faces, by first frame."""
        return self._linker.tracks

    @property
    def looks(self) -> list[Look]:
        """At all faces."""
        return [look for looks in self._looks for look in looks]

    def people(self, longest_gap: int) -> list[Person]:
        """Whose the tracks are; who fills most of the clip comes first.

        Args:
            longest_gap: for how many frames a face may be lost and found again in its place.

        Raises:
            InputError: identities have to be compared, and the network for it is not installed.
        """
        parts = []
        for track, looks in zip(self.tracks, self._looks, strict=True):
            parts += split(track, looks)
        parts.sort(key=lambda part: part.tracks[0].frames[0])
        return recognise(reunite(parts, self._cuts, longest_gap))


def split(track: tracking.Track, looks: Sequence[Look]) -> list[Person]:
    """Divides a track where its identity changes: between two looks, at the frame where the face moves most."""
    begins = [0]
    clear = [look for look in looks if look.turned <= TURNED]
    for before, after in itertools.pairwise(clear):
        if before.embedding @ after.embedding < ALIKE:
            first, last = (look.frame - track.frames[0] for look in (before, after))
            begins.append(first + 1 + int(np.argmax(_moves(track.faces[first : last + 1]))))

    parts = []
    for begin, end in itertools.pairwise([*begins, len(track.frames)]):
        part = tracking.Track(track.frames[begin:end], track.faces[begin:end])
        seen = [look for look in looks if part.frames[0] <= look.frame <= part.frames[-1]]
        parts.append(Person([part], seen))
    return parts


def _moves(faces: Sequence[Face]) -> list[float]:
    """How far the landmarks move from each face to the next, mean of all points, pixels."""
    return [
        float(np.linalg.norm(after.landmarks - before.landmarks, axis=1).mean())
        for before, after in itertools.pairwise(faces)
    ]


def reunite(parts: Sequence[Person], cuts: Sequence[int], longest_gap: int) -> list[Person]:
    """Joins tracks that end and go on in their place, in one shot, unless they look like two people's.

    Args:
        parts: each of one track, by first frame.
        cuts: numbers of the frames at which another shot begins, in order.
        longest_gap: for how many frames a face may be lost.
    """
    people: list[Person] = []
    for part in parts:
        (track,) = part.tracks
        first = track.frames[0]
        shot = bisect.bisect(cuts, first)
        waiting = []
        for number, person in enumerate(people):
            last = person.tracks[-1].frames[-1]
            if last < first <= last + longest_gap + 1 and bisect.bisect(cuts, last) == shot:
                waiting.append(number)

        # The nearest of them, if one is near
        ends = [people[number].tracks[-1].faces[-1] for number in waiting]
        found = tracking.match(ends, track.faces[:1])
        number = waiting[found[0]] if found else None
        if found and not likeness(people[number], part) < ALIKE:
            people[number] = people[number].joined(part)
        else:
            people.append(part)
    return people


def recognise(people: Sequence[Person]) -> list[Person]:
    """Joins those who look the same and never share a frame; who fills most of the clip is asked and comes first."""
    joined: list[Person] = []
    for person in sorted(people, key=lambda person: -person.area):
        alike = [
            number
            for number, other in enumerate(joined)
            if likeness(person, other) >= SAME and apart(person, other)
        ]
        if alike:
            best = max(alike, key=lambda number: likeness(person, joined[number]))
            joined[best] = joined[best].joined(person)
        else:
            joined.append(person)
    return sorted(joined, key=lambda person: person.area, reverse=True)


def likeness(person: Person, other: Person) -> float:
    """The cosine of two identities; NaN if one is not known."""
    if not (person.looks and other.looks):
        return math.nan
    return float(person.identity @ other.identity)


def apart(person: Person, other: Person) -> bool:
    """Whether two people share no frame."""
    return person.faces.keys().isdisjoint(other.faces)
