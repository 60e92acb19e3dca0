"""Who is in a clip: faces linked into tracks, and tracks into people.

The clip is read twice. First every frame is looked at: shot changes, faces, landmarks. A track that ends and goes on in
its place is one person's. So are tracks of one identity, over any number of shots: to tell identities, a few faces of
each are read again.
"""

import bisect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float32

from faceswap_jax.errors import InputError
from faceswap_jax.faces import tracking, video
from faceswap_jax.faces.embedding import DlibEmbedder, Embedding
from faceswap_jax.faces.face import Face, Landmarker
from faceswap_jax.faces.landmarks import SidecarLandmarker
from faceswap_jax.faces.pose import head_pose

CUT = 20.0
"""Change of content from one frame to the next that is a shot change, 0..255; see `tracking.ShotCuts`."""

LOST = 1.0
"""For how many seconds a face may be lost and found again in its place."""

LOOKS = 3
"""How many faces of a track its identity is measured on."""

SAME = 0.94
"""Cosine of the identities of two tracks from which on they are one person's.

In six real clips halves of one person's have 0.992 and more, two people 0.929 and less.
"""

Identities = Float32[np.ndarray, "n 128"]


@dataclass(frozen=True)
class Person:
    """One person of a clip.

    Attributes:
        faces: one in each frame that shows the person, by number of the frame, in order.
    """

    faces: Mapping[int, Face]

    @property
    def area(self) -> float:
        """Sum of the areas of the faces' boxes, square pixels."""
        return sum(map(tracking.area, self.faces.values()))


def find_people(
    clip: Path,
    landmarker: Landmarker,
    progress: Callable[[Iterable[video.Frame]], Iterable[video.Frame]] = iter,
) -> list[Person]:
    """The people of a picture or clip, first the one that fills most of it. Users know person N as 'face N'.

    Args:
        clip: picture or clip.
        landmarker: of this clip, as returned by `landmarks.open_landmarker`. A file of landmarks beside the clip
            describes one person.
        progress: wraps the frames of the first reading.

    Raises:
        InputError: no frame shows a face, the size of the frames changes, or the clip cannot be read.
    """
    is_cut = tracking.ShotCuts(CUT)
    faces = []
    cuts = []
    size = None
    for frame in progress(video.read_frames(clip)):
        height, width, _ = frame.image.shape
        size = size or (width, height)
        if size != (width, height):
            raise InputError(
                f"From frame {frame.index} on {clip} has {width} x {height} pixels instead of {size[0]} x {size[1]}; "
                "export it at one size."
            )
        if is_cut(frame.image):
            cuts.append(frame.index)
        faces.append(landmarker(frame.image, frame.index))
    if not any(faces):
        none = f"{clip} shows no face"
        if len(faces) > 1:
            none = f"None of the {len(faces)} frames shows a face in {clip}"
        raise InputError(f"{none}; give another one, or landmarks beside it.")

    if isinstance(landmarker, SidecarLandmarker):
        return [Person({number: found[0] for number, found in enumerate(faces) if found})]
    longest_gap = round(LOST * video.probe(clip).rate)
    people = reunite(tracking.link(faces, cuts), cuts, longest_gap)
    if len(people) > 1:
        people = recognise(people, identities_of(clip, people))
    return sorted(people, key=lambda person: person.area, reverse=True)


def nearest(clip: Path, people: Sequence[Person], identity: Embedding) -> int:
    """The number of the person of a clip whose identity is nearest to a given one."""
    likeness = identities_of(clip, people) @ identity
    return int(likeness.argmax())


def reunite(
    tracks: Sequence[tracking.Track], cuts: Sequence[int], longest_gap: int
) -> list[Person]:
    """Joins tracks that end and go on in their place, in one shot.

    Args:
        tracks: by first frame, as `tracking.link` returns them.
        cuts: numbers of the frames at which another shot begins, in order.
        longest_gap: for how many frames a face may be lost.
    """
    people: list[dict[int, Face]] = []
    for track in tracks:
        first = track.frames[0]
        shot = bisect.bisect(cuts, first)
        waiting = []
        for faces in people:
            last = max(faces)
            if last < first <= last + longest_gap + 1 and bisect.bisect(cuts, last) == shot:
                waiting.append(faces)

        # The nearest of them, if one is near
        found = tracking.match([faces[max(faces)] for faces in waiting], track.faces[:1])
        if found:
            faces = waiting[found[0]]
        else:
            faces = {}
            people.append(faces)
        faces.update(zip(track.frames, track.faces, strict=True))
    return [Person(faces) for faces in people]


def recognise(people: Sequence[Person], identities: Identities) -> list[Person]:
    """Joins those who look the same and never share a frame; who fills most of the clip is asked first.

    Args:
        people: each of one shot.
        identities: of each, of unit length.
    """
    joined: list[dict[int, Face]] = []
    members: list[list[int]] = []
    for number in sorted(range(len(people)), key=lambda i: -people[i].area):
        faces = people[number].faces
        likeness = [
            identities[group].mean(0) @ identities[number] if apart(faces, others) else -1.0
            for group, others in zip(members, joined, strict=True)
        ]
        best = int(np.argmax(likeness)) if likeness else 0
        if likeness and likeness[best] >= SAME:
            joined[best].update(faces)
            members[best].append(number)
        else:
            joined.append(dict(faces))
            members.append([number])
    return [Person(dict(sorted(faces.items()))) for faces in joined]


def apart(faces: Mapping[int, Face], others: Mapping[int, Face]) -> bool:
    """Whether two people share no frame."""
    return faces.keys().isdisjoint(others)


def identities_of(clip: Path, people: Sequence[Person]) -> Identities:
    """The identity of each person of a clip: the mean direction of some embeddings, of unit length."""
    embed = DlibEmbedder()
    wanted: dict[int, list[int]] = {}
    for number, person in enumerate(people):
        for frame in _looks(person):
            wanted.setdefault(frame, []).append(number)

    sums = np.zeros((len(people), 128), np.float32)
    for frame in video.read_frames(clip):
        for number in wanted.pop(frame.index, ()):
            sums[number] += embed(frame.image, people[number].faces[frame.index].landmarks)
        if not wanted:
            break
    return sums / np.linalg.norm(sums, axis=1, keepdims=True)


def _looks(person: Person) -> list[int]:
    """The frames whose faces tell who it is: of each of LOOKS stretches the one that looks most to the front."""

    def turned(frame: int) -> float:
        yaw, pitch, _ = np.abs(head_pose(person.faces[frame].landmarks))
        return yaw + pitch

    frames = list(person.faces)
    count = min(LOOKS, len(frames))
    stretches = np.array_split(frames, count)
    return [min(stretch.tolist(), key=turned) for stretch in stretches]
