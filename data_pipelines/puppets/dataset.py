"""Data sets of puppets: folders of clips with `puppets.json`, which tells how to render their truth, and face records.

    puppets.json             world, size, rate, and each clip's persona and track; see PuppetClips
    ada/00.mp4               clips, with ada/00.mp4.landmarks.csv

Both kinds are made by processes side by side, and a killed run goes on where it stopped.
"""

import dataclasses
import json
import multiprocessing
from collections.abc import Sequence
from concurrent.futures import as_completed
from pathlib import Path, PurePosixPath
from typing import Self

from pebble import ProcessExpired, ProcessPool
from rich.console import Console
from rich.progress import track

from data_pipelines.prepare import jobs
from data_pipelines.prepare.pool import begin_worker
from data_pipelines.prepare.prepare import carry_out, is_empty
from data_pipelines.prepare.settings import Settings
from data_pipelines.puppets.clips import write_clip
from data_pipelines.puppets.parameters import check_index, sample_stylist
from data_pipelines.puppets.renderer import MAX_SIZE, MIN_SIZE
from data_pipelines.puppets.source import PuppetTrack
from data_pipelines.puppets.tracks import check_rate
from data_pipelines.records import Manifest
from faceswap_jax.errors import InputError
from faceswap_jax.files import locked, make_folder, partial_files, write_json

CLIPS = "puppets.json"

MOST_CLIPS = 100_000
"""Of a data set."""

MOST_FRAMES = 100_000
"""Of a clip: an hour at 25 frames/s."""


@dataclasses.dataclass(frozen=True)
class PuppetClip:
    """One clip of a folder.

    Attributes:
        file: path within the folder.
        name: whom it shows.
        persona: the number of that persona in the world.
        track: number of the track.
        frames: how many.
    """

    file: str
    name: str
    persona: int
    track: int
    frames: int


@dataclasses.dataclass(frozen=True)
class PuppetClips:
    """What `puppets.json` says of a folder of clips: all that it takes to render them, or their truth, again.

    Attributes:
        world_seed: of the puppets' world.
        size: side of a frame in pixels.
        rate: frames per second.
        clips: in any order.
    """

    world_seed: int
    size: int
    rate: float
    clips: tuple[PuppetClip, ...]

    def __post_init__(self) -> None:
        """Raises InputError, naming the value, if one makes no sense."""
        check_index(world_seed=self.world_seed)
        if self.size % 2 or not MIN_SIZE <= self.size <= MAX_SIZE:
            raise InputError(
                f"The size of puppet clips is {self.size} px; it must be even and between {MIN_SIZE} and {MAX_SIZE}."
            )
        if not 1 <= len(self.clips) <= MOST_CLIPS:
            raise InputError(
                f"There are {len(self.clips)} puppet clips; there must be 1 to {MOST_CLIPS}."
            )
        check_rate(self.rate)
        for clip in self.clips:
            path = PurePosixPath(clip.file)
            if path.is_absolute() or ".." in path.parts or path.suffix != ".mp4":
                raise InputError(
                    f"The puppet clip '{clip.file}' is no .mp4 file within its folder."
                )
            _check_track(clip.persona, clip.track, clip.frames)

    @classmethod
    def regular(
        cls,
        world_seed: int,
        personas: Sequence[int],
        tracks: Sequence[int],
        frames: int,
        size: int,
        rate: float,
    ) -> Self:
        """The same tracks of each persona, with their usual names.

        Raises:
            InputError: a value makes no sense.
        """
        clips = [
            PuppetClip(
                file=f"{clip.name}.mp4",
                name=clip.persona,
                persona=clip.puppet,
                track=clip.track,
                frames=clip.frames,
            )
            for clip in _tracks(world_seed, personas, tracks, frames, rate)
        ]
        return cls(world_seed, size, rate, tuple(clips))

    def save(self, folder: Path) -> None:
        """Writes `puppets.json`.

        Raises:
            InputError: it cannot be written.
        """
        write_json(folder / CLIPS, dataclasses.asdict(self))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """What a finished folder of clips holds.

        Raises:
            InputError: `puppets.json` is missing or damaged, or a clip is missing.
        """
        puppets = cls._read(folder)
        for clip in puppets.clips:
            if not (folder / clip.file).is_file():
                raise InputError(
                    f"{folder / clip.file} is missing; run the `faceswap puppets` that made it again."
                )
        return puppets

    @classmethod
    def _read(cls, folder: Path) -> Self:
        path = folder / CLIPS
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            clips = [
                PuppetClip(
                    file=str(clip["file"]),
                    name=str(clip["name"]),
                    persona=int(clip["persona"]),
                    track=int(clip["track"]),
                    frames=int(clip["frames"]),
                )
                for clip in content["clips"]
            ]
            return cls(
                world_seed=int(content["world_seed"]),
                size=int(content["size"]),
                rate=float(content["rate"]),
                clips=tuple(clips),
            )
        except FileNotFoundError as error:
            raise InputError(
                f"{folder} has no {CLIPS}; make puppets with `faceswap puppets --output DIR`."
            ) from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}); correct that.") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}); make the puppets anew in another folder."
            ) from error


def write_clips(folder: Path, puppets: PuppetClips, processes: int = 1) -> None:
    """Writes the clips, their landmarks and `puppets.json`; clips that are there already are left alone.

    Args:
        folder: made if it is not there.
        puppets: what to write.
        processes: how many work at once; 1 works in this process.

    Raises:
        InputError: the folder holds something else, another process writes it, or it cannot be written.
    """
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    begun = (folder / CLIPS).exists()
    if not begun and folder.exists() and not is_empty(folder):
        raise InputError(
            f"{folder} exists and is not an empty folder; name another folder for the puppets."
        )
    if begun and PuppetClips._read(folder) != puppets:
        raise InputError(f"{folder} holds other puppets; name another folder, or ask for the same.")

    make_folder(folder)
    with locked(folder):
        puppets.save(folder)
        parents = {(folder / clip.file).parent for clip in puppets.clips}
        for parent in parents:
            make_folder(parent)

        left = [clip for clip in puppets.clips if not (folder / clip.file).exists()]
        done = len(puppets.clips) - len(left)
        before = f"; {done} done before" if done else ""
        names = {clip.name for clip in puppets.clips}
        console.print(f"{len(puppets.clips)} clip(s) of {len(names)} puppet(s){before}")
        try:
            _write(folder, puppets, left, processes, console)
        finally:
            # What a killed process had not finished.
            for parent in parents:
                for aside in partial_files(parent):
                    aside.unlink(missing_ok=True)


def _write(
    folder: Path,
    puppets: PuppetClips,
    clips: Sequence[PuppetClip],
    processes: int,
    console: Console,
) -> None:
    """Writes clips in this process, or in several, and shows how far they are."""
    todo = [_arguments(folder, puppets, clip) for clip in clips]
    bar = {"console": console, "transient": True, "disable": not console.is_terminal}
    if processes == 1:
        for arguments in track(todo, "clips", **bar):
            write_clip(*arguments)
        return

    spawning = multiprocessing.get_context("spawn")
    pool = ProcessPool(processes, initializer=begin_worker, context=spawning)
    try:
        futures = [pool.schedule(write_clip, args=arguments) for arguments in todo]
        for future in track(as_completed(futures), "clips", len(futures), **bar):
            future.result()
    except ProcessExpired as error:
        raise InputError(
            f"A process that renders ended with exit code {error.exitcode}, perhaps for want of memory; run the same "
            "command again with fewer --processes."
        ) from error
    finally:
        pool.stop()
        pool.join()


def _arguments(folder: Path, puppets: PuppetClips, clip: PuppetClip) -> tuple:
    """What `write_clip` is given for a clip of a folder."""
    path = folder / clip.file
    numbers = (clip.persona, clip.track, clip.frames)
    return path, puppets.world_seed, *numbers, puppets.size, puppets.rate


def write_records(
    output: Path,
    world_seed: int,
    personas: Sequence[int],
    tracks: Sequence[int],
    frames: int,
    rate: float,
    resolution: int,
    processes: int = 1,
    together: int = 1,
    restyled: bool = False,
    alike: int = 1,
) -> Manifest:
    """Writes the data set that `faceswap prepare` would make of clips, with exact landmarks, irises, poses and audio.

    Args:
        output: folder of the data set; an unfinished one is continued.
        world_seed: of the puppets' world.
        personas: their numbers in it.
        tracks: their numbers; the same of each persona.
        frames: of each track.
        rate: frames per second.
        resolution: side of the aligned crops in pixels.
        processes: how many work at once; 1 works in this process.
        together: so many neighbours show the same performances, those of the first of them, in the same scenes.
        restyled: in every track a puppet has the glasses, hair, beard and skin tone of another one.
        alike: so many neighbours differ in face and expression alone: they have pose and scene of the first of them,
            and the looks of somebody else.

    Raises:
        InputError: a value makes no sense, the output holds something else, or it cannot be written.
    """
    if alike > 1 and (together > 1 or restyled):
        raise InputError(
            "Puppets who are alike have the same performances and looks; leave out --together and --restyled."
        )
    if len(personas) % together:
        raise InputError(
            f"{len(personas)} puppets cannot perform {together} together; choose a divisor of their number."
        )
    if len(personas) % alike:
        raise InputError(
            f"{len(personas)} puppets are no groups of {alike} who are alike; choose a divisor of their number."
        )
    settings = Settings(resolution=resolution)
    clips = _tracks(world_seed, personas, tracks, frames, rate, together, restyled, alike)
    plan = jobs.plan(clips, settings.clips_per_shard)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    return carry_out(plan, output, settings, processes, console)


def _tracks(
    world_seed: int,
    personas: Sequence[int],
    tracks: Sequence[int],
    frames: int,
    rate: float,
    together: int = 1,
    restyled: bool = False,
    alike: int = 1,
) -> list[PuppetTrack]:
    count = len(personas) * len(tracks)
    if not 1 <= count <= MOST_CLIPS:
        raise InputError(
            f"{len(personas)} puppets with {len(tracks)} tracks are {count}; make 1 to {MOST_CLIPS}."
        )
    check_rate(rate)
    _check_track(min(personas), min(tracks), frames)
    found = []
    for i, persona in enumerate(personas):
        performer = personas[i - i % max(together, alike)]
        actor = persona if alike > 1 else performer
        for number in tracks:
            stylist = persona
            if alike > 1:
                stylist = sample_stylist(world_seed, performer, number)
            elif restyled:
                stylist = sample_stylist(world_seed, persona, number)
            clip = PuppetTrack.of(
                world_seed, persona, number, frames, rate, performer, stylist, actor
            )
            found.append(clip)
    return found


def _check_track(persona: int, number: int, frames: int) -> None:
    check_index(persona=persona, track=number)
    if not 1 <= frames <= MOST_FRAMES:
        raise InputError(f"A puppet's track has {frames} frames; it must have 1 to {MOST_FRAMES}.")
