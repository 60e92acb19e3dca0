"""What a clip is: one stretch of one file, or frames that are rendered, and whose faces it shows."""

import abc
import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path

from data_pipelines.records import FaceRecord


@dataclasses.dataclass(frozen=True, slots=True)
class Clip:
    """One stretch of one file, and whose faces it shows.

    Attributes:
        path: a video or a picture.
        persona: whose faces these are.
        name: of the clip, unique within the data set: the persona and where the file lies below the persona's folder,
            then, for a part of a file, its times as a media fragment: `ann/monday/a.mp4#t=1.5,3`. A file that is an
            input itself has its plain name.
        start: seconds from the start of the file.
        end: seconds from the start of the file, exclusive.
        video: the recording it belongs to, unique for the persona; `--max_videos` counts these. For utterances of
            VoxCeleb the YouTube identifier; for other pictures their folder; else the file.
    """

    path: Path
    persona: str
    name: str
    start: float = 0.0
    end: float = math.inf
    video: str = ""


@dataclasses.dataclass(frozen=True, slots=True)
class FollowedClip(Clip):
    """A clip through which somebody has followed one person already, as in VoxCeleb: nobody has to be told apart."""


@dataclasses.dataclass(frozen=True, slots=True)
class RenderedClip(Clip, abc.ABC):
    """Frames that are rendered when they are wanted, in place of a file.

    Attributes:
        frames: how many.
    """

    _: dataclasses.KW_ONLY
    frames: int

    @property
    def fingerprint(self) -> list[str]:
        """What tells the frames from all others."""
        return [str(value) for value in dataclasses.astuple(self)]

    @abc.abstractmethod
    def records(self, resolution: int) -> Iterator[FaceRecord]:
        """The face record of each frame, made for crops of `resolution` pixels."""


@dataclasses.dataclass(frozen=True)
class Collection:
    """What the inputs hold.

    Attributes:
        clips: sorted by persona, then name, then time.
        skipped: files in the folders that are neither clip nor picture nor belong to one, links that lead nowhere, and
            links to folders that are read already.
    """

    clips: list[Clip]
    skipped: list[Path]


def fragment(start: float, end: float) -> str:
    """A part of a file as a W3C media fragment, nothing for a whole file."""
    if (start, end) == (0.0, math.inf):
        return ""
    return f"#t={start:.15g}" + (f",{end:.15g}" if end < math.inf else "")
