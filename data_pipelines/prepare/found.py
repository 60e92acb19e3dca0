"""Who was found in a clip, who of them is kept, and where its shots change."""

import base64
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Self

import cv2
import numpy as np
from jaxtyping import Float64, UInt8

from faceswap_jax.faces import tracking
from faceswap_jax.faces.people import ALIKE, Person

Identity = tuple[float, ...]
"""Whose face it is: 128 numbers of SFace, to three decimals: files hold exactly what decisions are made from."""

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
        people = [
            FoundPerson(**{**person, "identity": person["identity"] and tuple(person["identity"])})
            for person in content["people"]
        ]
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
    likeness = [_likeness(person.identity, wanted) for person in people]
    best = int(np.argmax(likeness)) if people else 0
    return best if people and likeness[best] >= ALIKE else None


def agree(clips: Sequence[Sequence[FoundPerson]]) -> Identity | None:
    """Who fills most of some clips, each of which counts alike; None if nobody is known.

    Args:
        clips: the people of each.
    """
    groups: list[_Group] = []
    for number, people in enumerate(clips):
        for person in people:
            if person.identity is None:
                continue
            # Two people of one clip are never one.
            others = [group for group in groups if group.clip != number]
            group = max(
                others, key=lambda group: _likeness(person.identity, group.mean), default=None
            )
            if group is None or _likeness(person.identity, group.mean) < ALIKE:
                group = _Group()
                groups.append(group)
            group.total = group.total + person.identity
            group.filling += person.filling
            group.clip = number
    if not groups:
        return None
    return rounded(max(groups, key=lambda group: group.filling).mean)


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


def rounded(identity: Float64[np.ndarray, "128"]) -> Identity:
    """An identity as files hold it."""
    return tuple(np.round(np.float64(identity), 3).tolist())


def _likeness(identity: Identity | None, other: Sequence[float]) -> float:
    """The cosine of two identities; -1 if one is not known."""
    return -1.0 if identity is None else float(np.dot(identity, other))


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
            identity=None if person.identity is None else rounded(person.identity),
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
