"""`faceswap verify DIR`: compares a data set with its manifest, down to the last record."""

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
    stored_side,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces.ahead import cores
from faceswap_jax.files import is_partial, locked

BROKEN = "broken"
"""The reason under which counts name the records that a repair has dropped."""


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a listed shard really holds.

    Attributes:
        persona: whose shard it is.
        listed: what the manifest says about it.
        shard: what the file holds; its records are those that can be used. None if the file cannot
            be read at all.
        broken: number of its records that cannot be used.
        clips: names of the clips that its records come from.
        faults: one text for each thing that is wrong.
    """

    persona: str
    listed: Shard
    shard: Shard | None
    broken: int
    clips: set[str]
    faults: list[str]

    @property
    def records(self) -> int:
        """How many records can be used."""
        return self.shard.records if self.shard else 0


def verify(directory: Path, repair: bool = False) -> bool:
    """Reads every record of a data set, compares it with the manifest, and prints what is wrong.

    Args:
        directory: of the data set.
        repair: whether to drop what is broken. A shard with broken records is written anew without
            them, a lost shard or persona leaves the manifest, and the manifest is corrected. Shards
            without broken records are not touched. `faceswap prepare` makes anew what was dropped.

    Returns:
        Whether the data set is sound now.

    Raises:
        InputError: there is no finished data set, or its manifest is damaged.
    """
    manifest = Manifest.load(directory)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    findings = _examine_all(directory, manifest, console)

    faults = [fault for finding in findings for fault in finding.faults]
    faults += _contradictions(manifest, findings)
    faults += _strangers(directory, findings)
    for fault in faults:
        console.print(fault)

    records = sum(finding.records for finding in findings)
    count = f"{len(faults)} fault(s)" if faults else "no fault"
    console.print(
        f"{directory}: {records} intact records of {len(manifest.personas)} personas in "
        f"{len(findings)} shards, {count}"
    )
    if not (faults and repair):
        return not faults
    with locked(directory):
        _repair(directory, manifest, findings)
    console.print(
        "repaired; what was dropped is made anew by the `faceswap prepare` that made the data set"
    )
    return verify(directory)


def _examine_all(directory: Path, manifest: Manifest, console: Console) -> list[Finding]:
    """Examines all shards, with progress on a terminal."""
    listed = [
        (name, shard) for name, persona in manifest.personas.items() for shard in persona.shards
    ]
    # Hashing and decoding run side by side.
    with ThreadPoolExecutor(cores()) as threads:
        findings = threads.map(lambda item: _examine(directory, manifest, *item), listed)
        return list(
            track(
                findings,
                "shards",
                len(listed),
                console=console,
                transient=True,
                disable=not console.is_terminal,
            )
        )


def _examine(directory: Path, manifest: Manifest, persona: str, listed: Shard) -> Finding:
    """Compares one shard with what the manifest says about it."""
    path = directory / SHARDS / listed.file
    faults = []
    tracks = []  # clip and track of each intact record
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        for number, content in enumerate(_contents(path, persona, manifest)):
            if isinstance(content, str):
                faults.append(f"{listed.file}, record {number}: {content}")
            else:
                _, track_key = content
                tracks.append(track_key)
    except OSError as error:
        fault = f"{listed.file} cannot be read ({error.strerror})"
        return Finding(persona, listed, None, 0, set(), [fault])
    except (RuntimeError, ValueError) as error:
        fault = f"{listed.file} is damaged: {_first_part(error)}"
        return Finding(persona, listed, None, 0, set(), [fault])

    # A track is a run of records with the same clip and number.
    lengths = [len(list(group)) for _, group in itertools.groupby(tracks)]
    shard = Shard(listed.file, len(tracks), digest, lengths)
    broken = len(faults)
    if not faults and shard != listed:
        faults = [
            f"{listed.file} is another file than the one that {MANIFEST} describes, though its "
            "records are intact"
        ]
    return Finding(persona, listed, shard, broken, {clip for clip, _ in tracks}, faults)


def _contents(
    path: Path, persona: str, manifest: Manifest
) -> Iterator[tuple[bytes, tuple[str, int]] | str]:
    """Yields, for each record of a shard, its bytes and the key of its track, or what is wrong."""
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
    """Returns what ArrayRecord says, without where in its code it says so."""
    return str(error).partition(";")[0]


def _check(record: FaceRecord, persona: str, manifest: Manifest) -> None:
    """Raises ValueError if a record that can be decoded does not belong here."""
    side = stored_side(manifest.resolution)
    bits = np.uint16 if manifest.settings["image"] == "png16" else np.uint8
    if record.image.shape != (side, side, 3) or record.image.dtype != bits:
        raise ValueError(
            f"the picture is {record.image.dtype} {record.image.shape}, not {bits.__name__} "
            f"{side} px"
        )
    if record.persona != persona:
        raise ValueError(f"it shows {record.persona!r}, not {persona!r}")
    for name in ("landmarks", "polygon", "transform", "pose"):
        if not np.isfinite(getattr(record, name)).all():
            raise ValueError(f"its {name} is not finite")


def _strangers(directory: Path, findings: Sequence[Finding]) -> list[str]:
    """Returns a fault for each finished shard that the manifest does not list."""
    files = {
        path.name for path in (directory / SHARDS).glob("*.arrayrecord") if not is_partial(path)
    }
    listed = {finding.listed.file for finding in findings}
    return [
        f"{name} is not in {MANIFEST}; run the `faceswap prepare` that made it again"
        for name in sorted(files - listed)
    ]


def _contradictions(manifest: Manifest, findings: Sequence[Finding]) -> list[str]:
    """Returns what is wrong between shards: counts of a persona, splits, clips in two splits."""
    faults = []
    kept = Counter()
    split_of: dict[str, str] = {}
    for finding in findings:
        kept[finding.persona] += finding.records
        split = manifest.personas[finding.persona].split
        for clip in sorted(finding.clips):
            other = split_of.setdefault(clip, split)
            if other != split:
                faults.append(f"clip {clip} is in the splits {other} and {split}")

    for name, persona in manifest.personas.items():
        if persona.split not in SPLITS:
            faults.append(
                f"persona {name} is in the split {persona.split!r}, which is none of "
                f"{', '.join(SPLITS)}"
            )
        counts = persona.counts
        dropped = sum(counts.dropped.values())
        if counts.kept != kept[name] or counts.seen != counts.kept + dropped:
            faults.append(
                f"persona {name} has {kept[name]} intact records, but {MANIFEST} says {counts.kept} "
                f"of {counts.seen}, {dropped} dropped"
            )
    return faults


# Repair


def _repair(directory: Path, manifest: Manifest, findings: Sequence[Finding]) -> None:
    """Writes shards with broken records without these, then the manifest and the report anew."""
    shards: dict[str, list[Shard]] = {}
    for finding in findings:
        shard = _repair_shard(directory, manifest, finding)
        if shard:
            shards.setdefault(finding.persona, []).append(shard)
    if not shards:
        raise InputError(
            f"Nothing in {directory} can be used; remove it and prepare the data set again."
        )

    # Personas keep their splits; only if one of these is no split, all are drawn again.
    splits = {name: manifest.personas[name].split for name in shards}
    if not set(splits.values()) <= set(SPLITS):
        settings = Settings.from_json(manifest.settings)
        splits = draws.identity_splits(sorted(shards), settings.splits, settings.seed)
    personas = {}
    for name, of_persona in shards.items():
        kept = sum(shard.records for shard in of_persona)
        counts = _correct_counts(manifest.personas[name].counts, kept)
        personas[name] = Persona(splits[name], of_persona, counts)
    dataclasses.replace(manifest, personas=personas).save(directory)
    write_report(directory)


def _repair_shard(directory: Path, manifest: Manifest, finding: Finding) -> Shard | None:
    """Drops the broken records of a shard; returns what is left, None if that is nothing."""
    if finding.shard and not finding.broken:
        return finding.shard

    path = directory / SHARDS / finding.listed.file
    # Without its report the shard counts as not yet prepared.
    report_of(path).unlink(missing_ok=True)
    if not finding.records:
        path.unlink(missing_ok=True)
        return None
    with ShardWriter(path) as writer:
        for content in _contents(path, finding.persona, manifest):
            if not isinstance(content, str):
                writer.write(*content)
    return writer.shard


def _correct_counts(counts: Counts, kept: int) -> Counts:
    """Returns counts in which records that are kept no more are dropped as BROKEN."""
    dropped = dict(counts.dropped)
    broken = counts.seen - kept - sum(dropped.values())
    if broken > 0:
        dropped[BROKEN] = dropped.get(BROKEN, 0) + broken
    return Counts(kept + sum(dropped.values()), kept, dropped)
