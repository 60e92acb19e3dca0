"""Clips and pictures to a data set of aligned faces: `faceswap prepare INPUT... --output DIR`."""

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column, Table

from data_pipelines.records import MANIFEST, Clip, FaceRecord, Manifest, Persona, ShardWriter
from data_pipelines.tracks import face_tracks
from faceswap_jax.errors import InputError
from faceswap_jax.faces import landmarks, video

MIN_RESOLUTION, MAX_RESOLUTION = 16, 1024


def prepare(inputs: Sequence[Path], output: Path, resolution: int = 256) -> Manifest:
    """Finds, aligns and stores the faces of all inputs; reports progress and a table of counts on stderr.

    Args:
        inputs: a file is one persona, named by its stem; a folder is one persona, named by the folder, with all clips
            and pictures directly inside it.
        output: folder of the data set; it appears under this name only when it is complete.
        resolution: side of the aligned crops in pixels, a power of two in 16..1024.

    Raises:
        InputError: an input cannot be decoded, shows no face or shares its name with another; the output already
            holds something; the resolution is none of the above.
    """
    if resolution.bit_count() != 1 or not MIN_RESOLUTION <= resolution <= MAX_RESOLUTION:
        raise InputError(
            f"Resolution {resolution} is not a power of two between {MIN_RESOLUTION} and {MAX_RESOLUTION}; try 256."
        )
    if not inputs:
        raise InputError("There is no input; name at least one clip, or one folder of clips and pictures, per persona.")
    output = output.resolve()
    _check_free(output)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)  # names may hold any character
    clips = _clips_by_persona(inputs, console)
    # Reads the header of every file, so that a bad one is told before the first is worked through.
    frames = {name: sum(video.probe(clip).frames for clip in files) for name, files in clips.items()}

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        temporary = tempfile.TemporaryDirectory(dir=output.parent, prefix=f".{output.name}.")
    except OSError as error:
        raise InputError(f"{output} cannot be written ({error.strerror}); name a folder elsewhere.") from error
    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with (
        temporary as aside,
        Progress(*columns, console=console, disable=not console.is_terminal) as progress,
    ):
        directory = Path(aside) / output.name  # not `aside` itself, which only its owner may read
        directory.mkdir()
        personas = {}
        for name, files in clips.items():
            console.print(f"{name}: {frames[name]} frames in {len(files)} file(s)")
            advance = partial(progress.advance, progress.add_task(name, total=frames[name]))
            with ShardWriter(directory / f"{name}.arrayrecord") as writer:
                counts = [_prepare_clip(clip, name, resolution, writer, advance) for clip in files]
            if not writer.shard.records:
                raise InputError(
                    f"None of the {frames[name]} frames of persona {name} shows a whole face; give another clip, or "
                    f"landmarks beside it as {landmarks.sidecar_path(files[0]).name}."
                )
            personas[name] = Persona([writer.shard], counts)
        manifest = Manifest(resolution, personas)
        manifest.save(directory)
        directory.rename(output)
    console.print(_table(manifest))
    return manifest


def _prepare_clip(clip: Path, persona: str, resolution: int, writer: ShardWriter, advance: Callable[[], None]) -> Clip:
    """Writes the faces of one clip, calls `advance` after each frame, and returns the counts."""
    kept, dropped = 0, Counter()
    with contextlib.closing(landmarks.open_landmarker(clip)) as landmarker:
        for outcome in face_tracks(clip, persona, resolution, landmarker):
            if isinstance(outcome, FaceRecord):
                writer.write(outcome)
                kept += 1
            else:
                dropped[outcome.value] += 1
            advance()
    return Clip(clip.name, kept + dropped.total(), kept, dict(dropped))


def _check_free(output: Path) -> None:
    """Raises InputError if the output holds anything."""
    if (output / MANIFEST).exists():
        raise InputError(f"{output} already holds a finished data set; name another folder or remove it first.")
    if output.exists() and not (output.is_dir() and not any(output.iterdir())):
        raise InputError(f"{output} exists and is not an empty folder; name another folder for the data set.")


def _clips_by_persona(inputs: Sequence[Path], console: Console) -> dict[str, list[Path]]:
    """Maps persona names to their clips and pictures; files of unknown type in a folder are skipped and named."""
    clips: dict[str, list[Path]] = {}
    for path in inputs:
        name = path.resolve().name if path.is_dir() else path.stem
        if name in clips:
            raise InputError(f"{path} is the second input for persona {name}; rename one, or put both in one folder.")
        if path.is_dir():
            clips[name] = _clips_in_folder(path, console)
        elif path.exists():
            clips[name] = [path]
        else:
            raise InputError(f"{path} does not exist; check its name.")
    return clips


def _clips_in_folder(folder: Path, console: Console) -> list[Path]:
    """Returns the clips and pictures of a folder in the order of their names."""
    files = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    clips = [path for path in files if path.suffix.lower() in video.SUFFIXES]
    known = {*clips, *map(landmarks.sidecar_path, clips)}
    skipped = [path.name for path in files if path not in known]
    if skipped:
        console.print(f"{folder}: skipped {', '.join(skipped)} (neither clip nor picture)")
    if not clips:
        raise InputError(f"{folder} holds no clip or picture ({', '.join(sorted(video.SUFFIXES))}); add some.")
    return clips


def _table(manifest: Manifest) -> Table:
    """What became of the frames of every persona."""
    table = Table("persona", Column("frames", justify="right"), Column("kept", justify="right"), "dropped")
    for name, persona in manifest.personas.items():
        dropped = sum((Counter(clip.dropped) for clip in persona.clips), Counter())
        seen, kept = sum(clip.seen for clip in persona.clips), sum(clip.kept for clip in persona.clips)
        why = ", ".join(f"{count} {reason}" for reason, count in dropped.most_common())
        table.add_row(name, str(seen), str(kept), why)
    return table
