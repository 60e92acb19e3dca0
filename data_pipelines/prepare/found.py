"""Who was found in a clip, who of them is kept, and where its shots change."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import cv2
import numpy as np
from jaxtyping import Float, Float64, UInt8

from faceswap_jax.faces import tracking
from faceswap_jax.faces.people import ALIKE, Person

Identity = str
"""Whose face it is: the 128 numbers of SFace as signed bytes, 127 for 1, in base64.

Files hold what decisions are made from, so that a preparation that goes on decides the same.
"""

CUT_HEIGHT = 54
"""Height in pixels of the two frames of a shot change that are shown."""


@dataclasses.dataclass(frozen=True)
class FoundPerson:
    """Somebody in a clip.

    Attributes:
        frames: how many of those that were looked at show the person.
        share: the same as a fraction.
        filling: fraction of the area of all people's faces, over all frames.
        identity: None if all faces are too small to tell.
        image: a face, JPEG as base64 text; empty where nobody is to be told apart.
    """

    frames: int
    share: float
    filling: float
    identity: Identity | None
    image: str = ""


@dataclasses.dataclass(frozen=True)
class FoundCut:
    """A shot change.

    Attributes:
        before: number of the last frame of a shot.
        after: number of the first frame of the next.
        time: of that frame, seconds.
        change: of the content, 0..255.
        colours: correlation of the colours, at most 1.
        image: both frames side by side, JPEG as base64 text.
    """

    before: int
    after: int
    time: float
    change: float
    colours: float
    image: str = ""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a clip shows.

    Attributes:
        people: who fills most of the clip comes first; empty if they are not told apart.
        kept: number of the one whose faces become records; None if nobody's do, or people are not told apart.
        too_small: whether people are not told apart because all faces are too small.
        cuts: in order of time.
    """

    people: list[FoundPerson]
    kept: int | None
    too_small: bool
    cuts: list[FoundCut]

    @property
    def is_told(self) -> bool:
        """Whether there is something to tell: several people, nobody who is kept, or several shots."""
        return bool(self.cuts) or any(n != self.kept for n in range(len(self.people)))

    def without_images(self) -> "Found":
        """The same in a few numbers."""
        people = [dataclasses.replace(person, image="") for person in self.people]
        cuts = [dataclasses.replace(cut, image="") for cut in self.cuts]
        return dataclasses.replace(self, people=people, cuts=cuts)

    def summary(self) -> dict[str, Any]:
        """What the manifest says of the clip: neither images nor identities."""
        people = [
            {"frames": person.frames, "share": person.share, "kept": number == self.kept}
            for number, person in enumerate(self.people)
        ]
        cuts = [dataclasses.asdict(cut) for cut in self.without_images().cuts]
        for cut in cuts:
            del cut["image"]
        return {"people": people, "cuts": cuts}

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, through JSON."""
        people = [FoundPerson(**person) for person in content["people"]]
        cuts = [FoundCut(**cut) for cut in content["cuts"]]
        return cls(people, content["kept"], content["too_small"], cuts)


def shows_others(people: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the people of a clip, as the manifest lists them, are more than the one who is kept."""
    return not all(person["kept"] for person in people)


# Whom to keep


def pick(people: Sequence[FoundPerson], wanted: Identity | None) -> int | None:
    """The number of the person to keep; None if there is nobody like the one who is wanted.

    Args:
        people: of one clip.
        wanted: who; None: who fills most of the clip.
    """
    if wanted is None:
        return 0 if people else None
    known = [number for number, person in enumerate(people) if person.identity is not None]
    if not known:
        return None
    likeness = [float(_direction(people[number].identity) @ _direction(wanted)) for number in known]
    best = int(np.argmax(likeness))
    return known[best] if likeness[best] >= ALIKE else None


def agree(clips: Sequence[Sequence[FoundPerson]]) -> Identity | None:
    """Who fills most of some clips, each of which counts alike; None if nobody is known.

    Args:
        clips: the people of each.
    """
    groups: list[_Group] = []
    for number, people in enumerate(clips):
        for person in people:
            if person.identity is not None:
                identity = _direction(person.identity)
                group = _group_of(identity, number, groups)
                group.add(identity, person.filling, number)
    if not groups:
        return None
    return as_text(max(groups, key=lambda group: group.filling).mean)


@dataclasses.dataclass
class _Group:
    """One person of several clips.

    Attributes:
        total: sum of the identities.
        filling: sum over the clips.
        clip: number of the last one that shows the person.
    """

    total: Float64[np.ndarray, "128"] = dataclasses.field(default_factory=lambda: np.zeros(128))
    filling: float = 0.0
    clip: int = -1

    @property
    def mean(self) -> Float64[np.ndarray, "128"]:
        """The mean direction, of unit length."""
        return self.total / np.linalg.norm(self.total)

    def add(self, identity: Float64[np.ndarray, "128"], filling: float, clip: int) -> None:
        """Adds somebody in a clip."""
        self.total = self.total + identity
        self.filling += filling
        self.clip = clip


def _group_of(identity: Float64[np.ndarray, "128"], clip: int, groups: list[_Group]) -> _Group:
    """The group that somebody in a clip belongs to, which may be a new one."""
    # Two people of one clip are never one.
    others = [group for group in groups if group.clip != clip]
    if others:
        nearest = max(others, key=lambda group: float(identity @ group.mean))
        if identity @ nearest.mean >= ALIKE:
            return nearest
    groups.append(_Group())
    return groups[-1]


def as_text(identity: Float[np.ndarray, "128"]) -> Identity:
    """An identity of unit length as files hold it."""
    return base64.b64encode(np.rint(127 * identity).astype(np.int8).tobytes()).decode()


def _direction(identity: Identity) -> Float64[np.ndarray, "128"]:
    """What a file holds as a vector of unit length."""
    vector = np.frombuffer(base64.b64decode(identity), np.int8).astype(np.float64)
    return vector / np.linalg.norm(vector)


# What was seen


def found_people(people: Sequence[Person], frames: int) -> list[FoundPerson]:
    """What is told of the people of a clip.

    Args:
        people: who fills most of the clip comes first.
        frames: how many were looked at.
    """
    area = sum(person.area for person in people)
    return [
        FoundPerson(
            frames=len(person.faces),
            share=round(len(person.faces) / frames, 4),
            filling=round(person.area / area, 4),
            identity=None if person.identity is None else as_text(person.identity),
            image=_face(person),
        )
        for person in people
    ]


def _face(person: Person) -> str:
    """The face that looks most to the front."""
    if not person.looks:
        return ""
    return _jpeg(min(person.looks, key=lambda look: look.turned).image)


def found_cut(cut: tracking.Cut, after: int, time: float, aspect: float) -> FoundCut:
    """What is told of a shot change.

    Args:
        cut: the change.
        after: number of the first frame of the next shot.
        time: of that frame, seconds.
        aspect: width of a frame by its height.
    """
    size = max(round(CUT_HEIGHT * aspect), 1), CUT_HEIGHT
    both = [
        cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in (cut.before, cut.after)
    ]
    return FoundCut(
        before=after - 1,
        after=after,
        time=round(time, 3),
        change=round(cut.change, 1),
        colours=round(cut.colours, 3),
        image=_jpeg(np.hstack(both)),
    )


def _jpeg(image: UInt8[np.ndarray, "h w 3"]) -> str:
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, jpeg = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, 85])
    return base64.b64encode(jpeg.tobytes()).decode()
