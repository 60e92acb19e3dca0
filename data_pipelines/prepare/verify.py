"""`faceswap verify DIR`: is a data set what its manifest says, down to the last record?"""

import dataclasses
import hashlib
import itertools
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from array_record.python.array_record_data_source import ArrayRecordDataSource
from rich.console import Console
from rich.progress import track

from data_pipelines.prepare import draws
from data_pipelines.prepare.jobs import report_of
from data_pipelines.prepare.report import write_report
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import (
    MANIFEST,
    SHARDS,
    SPLITS,
    Counts,
    FaceRecord,
    Manifest,
    Persona,
    Shard,
    ShardWriter,
    decode,
)
from faceswap_jax.errors import InputError
from faceswap_jax.files import locked

BROKEN = "broken"
"""What the counts call records that a repair has dropped."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a shard really holds.

    Attributes:
        shard: facts about the file; its records are those that can be used.
        broken: number of those that cannot; None if the file cannot be read at all.
        clips: names of the clips that they come from.
        faults: one text for each thing that is wrong.
    """

    shard: Shard
    broken: int | None
    clips: set[str]
    faults: list[str]


def verify(directory: Path, repair: bool = False) -> bool:
    """Reads every record of a data set, compares it with the manifest, and prints what is wrong on stderr.

    Args:
        directory: of the data set.
        repair: whether to drop what is broken: a shard with broken records is written anew without them, a lost shard
            or persona leaves the manifest, and the manifest is corrected. Shards without broken records are not
            touched. `faceswap prepare` makes anew what was dropped.

    Returns:
        Whether the data set is sound now.

    Raises:
        InputError: there is no finished data set, or its manifest is damaged.
    """
    manifest = Manifest.load(directory)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    listed = [
        (name, shard) for name, persona in manifest.personas.items() for shard in persona.shards
    ]
    with ThreadPoolExecutor(
        len(os.sched_getaffinity(0))
    ) as threads:  # hashing and decoding run side by side
        findings = threads.map(lambda item: _examine(directory, manifest, *item), listed)
        found = list(
            track(
                findings,
                "shards",
                len(listed),
                console=console,
                transient=True,
                disable=not console.is_terminal,
            )
        )
    faults = [fault for finding in found for fault in finding.faults]
    faults += _contradictions(manifest, listed, found)
    strangers = {path.name for path in (directory / SHARDS).glob("*.arrayrecord")} - {
        shard.file for _, shard in listed
    }
    faults += [
        f"{name} is not in {MANIFEST}; run the `faceswap prepare` that made it again"
        for name in sorted(strangers)
    ]
    records = sum(finding.shard.records for finding in found if finding.broken is not None)
    for fault in faults:
        console.print(fault)
    what = f"{directory}: {records} sound records of {len(manifest.personas)} personas in {len(listed)} shards"
    console.print(f"{what}, {len(faults)} fault(s)" if faults else f"{what}, no fault")
    if not (faults and repair):
        return not faults
    with locked(directory):
        _repair(directory, manifest, listed, found, console)
    return verify(directory)


def _examine(directory: Path, manifest: Manifest, persona: str, listed: Shard) -> Finding:
    """Compares one shard with what the manifest says about it."""
    path = directory / SHARDS / listed.file
    faults, tracks, clips = [], [], set()
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for number, content in enumerate(_contents(path, persona, manifest)):
            if isinstance(content, str):
                faults.append(f"{listed.file}, record {number}: {content}")
            else:
                _, (clip, track) = content
                tracks.append((clip, track))
                clips.add(clip)
    except OSError as error:
        return Finding(listed, None, set(), [f"{listed.file} cannot be read ({error.strerror})"])
    except (RuntimeError, ValueError) as error:
        return Finding(listed, None, set(), [f"{listed.file} is damaged: {_first_part(error)}"])
    lengths = [len(list(group)) for _, group in itertools.groupby(tracks)]
    shard, broken = Shard(listed.file, len(tracks), digest, lengths), len(faults)
    if not faults and shard != listed:
        faults = [
            f"{listed.file} is another file than the one that {MANIFEST} describes, though its records are sound"
        ]
    return Finding(shard, broken, clips, faults)


def _contents(
    path: Path, persona: str, manifest: Manifest
) -> Iterator[tuple[bytes, tuple[str, int]] | str]:
    """Of each record of a shard: its bytes and the key of its track, or what is wrong with it."""
    source = ArrayRecordDataSource(os.fspath(path))
    for number in range(len(source)):
        try:
            data = source[number]
            record = decode(data)
            _check(record, persona, manifest)
        except (RuntimeError, ValueError, InputError) as error:
            yield _first_part(error)
        else:
            yield data, (record.clip, record.track)


def _first_part(error: Exception) -> str:
    """What ArrayRecord says, without where in its code it says so."""
    return str(error).partition(";")[0]


def _check(record: FaceRecord, persona: str, manifest: Manifest) -> None:
    """Raises ValueError if a record that can be decoded does not belong here."""
    side, bits = (
        manifest.resolution,
        np.uint16 if manifest.settings["image"] == "png16" else np.uint8,
    )
    if record.image.shape != (side, side, 3) or record.image.dtype != bits:
        raise ValueError(
            f"the picture is {record.image.dtype} {record.image.shape}, not {bits.__name__} {side} px"
        )
    if record.persona != persona:
        raise ValueError(f"it shows {record.persona!r}, not {persona!r}")
    for name in ("landmarks", "polygon", "transform", "pose"):
        if not np.isfinite(getattr(record, name)).all():
            raise ValueError(f"its {name} is not finite")


def _lengths(keys: Sequence[tuple[str, int]]) -> list[int]:
    """Number of records of each track, given the track of each record."""
    return [len(list(group)) for _, group in itertools.groupby(keys)]


def _contradictions(
    manifest: Manifest, listed: Sequence[tuple[str, Shard]], found: Sequence[Finding]
) -> list[str]:
    """What is wrong between shards: counts of a persona, splits, clips in two splits."""
    faults, kept, split_of = [], Counter(), {}
    for (name, _), finding in zip(listed, found, strict=True):
        kept[name] += finding.shard.records if finding.broken is not None else 0
        split = manifest.personas[name].split
        for clip in sorted(finding.clips):
            other = split_of.setdefault(clip, split)
            if other != split:
                faults.append(f"clip {clip} is in the splits {other} and {split}")
    for name, persona in manifest.personas.items():
        counts = persona.counts
        if persona.split not in SPLITS:
            faults.append(
                f"persona {name} is in the split {persona.split!r}, which is none of {', '.join(SPLITS)}"
            )
        if counts.kept != kept[name] or counts.seen != counts.kept + sum(counts.dropped.values()):
            faults.append(
                f"persona {name} has {kept[name]} sound records, but {MANIFEST} says {counts.kept} of {counts.seen}, "
                f"{sum(counts.dropped.values())} dropped"
            )
    return faults


def _repair(
    directory: Path,
    manifest: Manifest,
    listed: Sequence[tuple[str, Shard]],
    found: Sequence[Finding],
    console: Console,
) -> None:
    """Writes the manifest anew from what was found, and shards with broken records without these."""
    shards: dict[str, list[Shard]] = {name: [] for name in manifest.personas}
    for (name, listed_shard), finding in zip(listed, found, strict=True):
        path = directory / SHARDS / listed_shard.file
        shard = finding.shard
        if finding.broken != 0:
            report_of(path).unlink(
                missing_ok=True
            )  # without it the shard counts as not yet prepared
            if finding.broken is None or not shard.records:
                path.unlink(missing_ok=True)
                continue
            with ShardWriter(path) as writer:
                for content in _contents(path, name, manifest):
                    if not isinstance(content, str):
                        writer.write(*content)
            shard = writer.shard
        shards[name].append(shard)
    left = {name: of for name, of in shards.items() if of}
    if not left:
        raise InputError(
            f"Nothing in {directory} can be used; remove it and prepare the data set again."
        )
    settings = Settings.from_json(manifest.settings)
    valid = all(manifest.personas[name].split in SPLITS for name in left)
    drawn = draws.identity_splits(sorted(left), settings.splits, settings.seed)
    personas = {}
    for name, of in left.items():
        old, kept = manifest.personas[name], sum(shard.records for shard in of)
        dropped = dict(old.counts.dropped)
        broken = old.counts.seen - kept - sum(dropped.values())
        if broken > 0:
            dropped[BROKEN] = dropped.get(BROKEN, 0) + broken
        counts = Counts(kept + sum(dropped.values()), kept, dropped)
        personas[name] = Persona(old.split if valid else drawn[name], of, counts)
    Manifest(manifest.settings, personas, manifest.unreadable).save(directory)
    write_report(directory)
    console.print(
        "repaired; what was dropped is made anew by the `faceswap prepare` that made the data set"
    )
