"""Clips and pictures to a data set of aligned faces: `faceswap prepare INPUT... --output DIR`.

The clips are divided into jobs, one shard each (`jobs.py`), which local processes do in any order. A killed preparation
goes on where it stopped: jobs that are done are left alone. The manifest appears last.
"""

import contextlib
import dataclasses
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Column, Table

from data_pipelines.clips import Clip
from data_pipelines.prepare import draws, jobs, layouts
from data_pipelines.prepare.found import FoundPerson, Identity, agree, as_text, pick, shows_others
from data_pipelines.prepare.jobs import Job, Report
from data_pipelines.prepare.pool import run_all
from data_pipelines.prepare.report import REPORT, write_report
from data_pipelines.prepare.settings import Settings
from data_pipelines.records import (
    MANIFEST,
    SETTINGS,
    SHARDS,
    Counts,
    Manifest,
    Persona,
    load_settings,
)
from faceswap_jax.errors import InputError
from faceswap_jax.faces import film, landmarks, sequence, video
from faceswap_jax.faces.embedding import can_compare
from faceswap_jax.faces.people import identity_of
from faceswap_jax.files import is_partial, locked, make_folder, partial_files, write_json

ROWS = 40
"""Personas in the table that is printed."""


def prepare(
    inputs: Sequence[Path],
    output: Path,
    settings: Settings,
    processes: int = 1,
    people: Mapping[str, Path] = MappingProxyType({}),
) -> Manifest:
    """Finds, aligns and stores the faces of all inputs; reports progress and a table of counts on stderr.

    Started again after an interruption, it goes on. Started again when all is done, it does what is new: clips that
    were added or have changed, and those of which somebody else is wanted now.

    Of a clip that shows several people one is kept, over all shots: who fills most of the clips of the persona.

    Args:
        inputs: see `layouts.find_clips`.
        output: folder of the data set.
        settings: what to keep and how to store it.
        processes: how many work at once; 1 works in this process. With more, a clip that makes a process crash is left
            out.
        people: in place of who fills most: a picture or clip of the person, by name of the persona.

    Raises:
        InputError: an input is not understood, or is a file that cannot be read; nothing shows a face, or the person
            who is wanted; there is no such colour space; the output holds something else, is being written by another
            process, or cannot be written.
    """
    # Without markup: names may hold any character.
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    if settings.colorspace:
        film.check(settings.colorspace)
    found = layouts.find_clips(inputs)
    for path in inputs:
        # What was named must be good; one bad file in a folder is only told.
        if sequence.is_sequence(path) and not path.is_dir():
            sequence.check(path)
        elif path.suffix.lower() in video.SUFFIXES and path.is_file():
            video.probe(path)
    if found.skipped:
        names = ", ".join(path.name for path in found.skipped[:5])
        if len(found.skipped) > 5:
            names += ", ..."
        console.print(
            f"skipped {len(found.skipped)} that are no clip, no picture, or links to others: {names}"
        )
    clips = draws.draw_videos(found.clips, settings.max_videos, settings.seed)
    wanted = _identities(people, clips, settings)
    plan = [
        dataclasses.replace(job, wanted=wanted.get(job.persona))
        for job in jobs.plan(clips, settings.clips_per_shard)
    ]
    if not can_compare() and any(jobs.may_show_several(clip, settings) for clip in clips):
        console.print(
            "Telling people apart needs SFace, which is not installed: pip install 'faceswap-jax[faces]'. Without it "
            "the largest face at any time is kept."
        )
    return carry_out(plan, output, settings, processes, console, people)


def _identities(
    people: Mapping[str, Path], clips: Iterable[Clip], settings: Settings
) -> dict[str, Identity]:
    """Who is wanted, by name of the persona.

    Raises:
        InputError: a picture cannot be used, or its persona is none of the inputs'.
    """
    if people and settings.faces == "all":
        raise InputError(
            "--person says nothing about --faces=all, which keeps every face; leave one of them out."
        )
    known = sorted({clip.persona for clip in clips})
    wanted = {}
    for persona, picture in people.items():
        if persona not in known:
            names = ", ".join(known[:5]) + (", ..." if len(known) > 5 else "")
            raise InputError(
                f"--person names '{persona}', but the inputs show {names}; name one of these."
            )
        with contextlib.closing(landmarks.open_landmarker(picture)) as landmarker:
            wanted[persona] = as_text(identity_of(picture, landmarker))
    return wanted


def carry_out(
    plan: Sequence[Job],
    output: Path,
    settings: Settings,
    processes: int,
    console: Console,
    people: Mapping[str, Path] = MappingProxyType({}),
) -> Manifest:
    """Does the jobs of a plan that are not done yet, then writes the manifest and the report of the data set.

    Raises:
        InputError: see `prepare`.
    """
    with _claimed(output, settings, {job.persona for job in plan}):
        reports = [jobs.load_report(job, output, settings) for job in plan]
        _announce(plan, len(plan) - reports.count(None), console)
        _complete(plan, reports, output, settings, processes, console)

        # Now that all clips are known, those of a persona agree on who it is. Who is found in a clip does not depend on
        # who is kept: a preparation that is killed here finds the same again.
        plan = _agreed(plan, reports, people)
        for number, job in enumerate(plan):
            if not reports[number].is_of(job.wanted):
                reports[number] = None
        if None in reports:
            console.print(
                f"{reports.count(None)} shard(s) are made again, of the person who is wanted"
            )
            _complete(plan, reports, output, settings, processes, console)

        if not any(report.shard for report in reports):
            _discard(output)
            raise _no_face(plan, reports)
        manifest = _manifest(plan, reports, settings, people)
        if not _is_written(manifest, output):
            _finish(manifest, output, {job.name for job in plan})
        _tell(manifest, {job.persona for job in plan}, output, console)
        _tell_too_small(reports, console)
    return manifest


def _complete(
    plan: Sequence[Job],
    reports: list[Report | None],
    output: Path,
    settings: Settings,
    processes: int,
    console: Console,
) -> None:
    """Does the jobs that have no report, and fills it in."""
    left = [number for number, report in enumerate(reports) if report is None]
    if not left:
        return
    (output / MANIFEST).unlink(missing_ok=True)
    # The largest first: begun last, it would keep the other processes waiting.
    left.sort(key=lambda number: -jobs.size(plan[number]))
    todo = [plan[number] for number in left]
    try:
        for number, report in run_all(todo, output, settings, processes, console):
            reports[left[number]] = report
    except KeyboardInterrupt:
        done = len(plan) - reports.count(None)
        console.print(f"{done} of {len(plan)} shards are done; the same command goes on")
        raise


def _agreed(
    plan: Sequence[Job], reports: Sequence[Report], people: Mapping[str, Path]
) -> list[Job]:
    """The plan, with who is wanted of each persona: who fills most of its clips, unless that was said.

    Raises:
        InputError: the person who was named is in none of the clips.
    """
    shown: dict[str, list[list[FoundPerson]]] = {job.persona: [] for job in plan}
    for job, report in zip(plan, reports, strict=True):
        shown[job.persona] += [found.people for found in report.found.values()]

    wanted = {persona: agree(clips) for persona, clips in shown.items()}
    wanted |= {job.persona: job.wanted for job in plan if job.wanted}
    for persona, picture in people.items():
        if all(pick(clip, wanted[persona]) is None for clip in shown[persona]):
            raise InputError(
                f"--person {persona}={picture}: nobody in the clips of {persona} looks like that person; give another "
                "picture, or leave it out."
            )
    return [dataclasses.replace(job, wanted=wanted[job.persona]) for job in plan]


def _is_written(manifest: Manifest, output: Path) -> bool:
    """Whether the folder has this manifest; one that is damaged or of another schema counts as missing."""
    try:
        return Manifest.load(output) == manifest
    except InputError:
        return False


def _announce(plan: Sequence[Job], done: int, console: Console) -> None:
    """Prints how much there is to do."""
    clips = sum(len(job.clips) for job in plan)
    personas = len({job.persona for job in plan})
    before = f"; {done} done before" if done else ""
    console.print(f"{clips} clip(s) of {personas} persona(s) in {len(plan)} shard(s){before}")


@contextlib.contextmanager
def _claimed(output: Path, settings: Settings, personas: set[str]) -> Iterator[None]:
    """Makes the folder, or takes up the data set in it, for this process alone.

    Raises:
        InputError: it holds something else, other settings or further personas, or another process has it.
    """
    shards = output / SHARDS
    stored = load_settings(output)
    if stored is None and output.exists() and not is_empty(output):
        raise InputError(
            f"{output} exists and is not an empty folder; name another folder for the data set."
        )
    make_folder(output)
    with locked(output):
        differences = settings.differences(stored) if stored is not None else []
        if differences:
            raise InputError(
                f"{output} holds a data set made with other settings ({'; '.join(differences)}); use those, or name "
                "another folder."
            )
        there = {report.stem.rpartition("-")[0] for report in shards.glob("[!.]*.json")}
        others = sorted(there - personas)
        if others:
            raise InputError(
                f"{output} holds {', '.join(others[:5])} too, which these inputs do not; name all inputs of the data "
                "set, or another folder."
            )

        for partial_file in [*partial_files(shards), *partial_files(output)]:
            partial_file.unlink()
        if stored is None:
            write_json(output / SETTINGS, settings.to_json())
        shards.mkdir(exist_ok=True)
        yield


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process had not finished."""
    return folder.is_dir() and all(map(is_partial, folder.iterdir()))


def _discard(output: Path) -> None:
    """Removes a data set, and its folder unless someone keeps something else there."""
    for folder in (output / SHARDS, output / REPORT):
        shutil.rmtree(folder, ignore_errors=True)
    (output / SETTINGS).unlink()
    with contextlib.suppress(OSError):
        output.rmdir()


def _manifest(
    plan: Sequence[Job], reports: Sequence[Report], settings: Settings, people: Mapping[str, Path]
) -> Manifest:
    """The table of contents; personas of whom nothing was kept are left out."""
    made: dict[str, list[Report]] = {}
    unreadable = {}
    found = {}
    for job, report in zip(plan, reports, strict=True):
        made.setdefault(job.persona, []).append(report)
        unreadable |= report.unreadable
        for name, clip in report.found.items():
            if clip.is_told:
                found[name] = {"shard": job.name, **clip.summary()}

    splits = draws.identity_splits(sorted(made), settings.splits, settings.seed)
    personas = {}
    for name, own in sorted(made.items()):
        shards = [report.shard for report in own if report.shard]
        if shards:
            counts = _sum(count for report in own for count in report.clips.values())
            personas[name] = Persona(splits[name], shards, counts)
    chosen = {persona: picture.name for persona, picture in people.items()}
    return Manifest(settings.to_json(), personas, unreadable, found, chosen)


def _no_face(plan: Sequence[Job], reports: Sequence[Report]) -> InputError:
    """The error to raise when nothing was kept at all."""
    unreadable = [why for report in reports for why in report.unreadable.values()]
    counts = _sum(count for report in reports for count in report.clips.values())
    if not counts.seen:
        return InputError(
            f"No clip gave a face; {len(unreadable)} cannot be read, the first: {unreadable[0]}"
        )
    sidecar = landmarks.sidecar_path(plan[0].clips[0].path).name
    return InputError(
        f"None of the {counts.seen} frames shows a face that can be used ({_reasons(counts)}); give other clips, or "
        f"landmarks beside them as {sidecar}."
    )


def _sum(counts: Iterable[Counts]) -> Counts:
    seen = kept = 0
    dropped: Counter[str] = Counter()
    for count in counts:
        seen += count.seen
        kept += count.kept
        dropped.update(count.dropped)
    return Counts(seen, kept, dict(dropped.most_common()))


def _finish(manifest: Manifest, output: Path, names: set[str]) -> None:
    """Removes the shards of clips that are inputs no more, and makes the data set visible."""
    for path in (output / SHARDS).iterdir():
        if path.stem not in names:
            path.unlink()
    manifest.save(output)


def _reasons(counts: Counts) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in counts.dropped.items())


def _tell(manifest: Manifest, personas: set[str], output: Path, console: Console) -> None:
    """Prints what was made and what was not."""
    console.print(_table(manifest))
    for name in sorted(personas - manifest.personas.keys())[:ROWS]:
        console.print(f"{name}: no face could be used; left out")
    for name, why in list(manifest.unreadable.items())[:ROWS]:
        console.print(f"{name}: {why}")
    if len(manifest.unreadable) > ROWS:
        more = len(manifest.unreadable) - ROWS
        console.print(f"... and {more} more clips; {output / MANIFEST} names them all")
    _tell_people(manifest, console)
    console.print(f"{write_report(output)}: what the data set holds, to look at")


def _tell_people(manifest: Manifest, console: Console) -> None:
    """Prints who is in the clips that show several people, or nobody who is kept."""
    clips = {
        name: found["people"]
        for name, found in manifest.found.items()
        if shows_others(found["people"])
    }
    if not clips:
        return
    table = Table("clip", Column("people", justify="right"), "kept", "others")
    for name, people in list(clips.items())[:ROWS]:
        kept = [_percent(person) for person in people if person["kept"]]
        others = [_percent(person) for person in people if not person["kept"]]
        if len(others) > 5:
            others[5:] = ["..."]
        table.add_row(name, str(len(people)), kept[0] if kept else "nobody", ", ".join(others))
    console.print(
        "Several people were found; of each clip one is kept, --person says whom. Percent of the frames that show them:"
    )
    console.print(table)
    if len(clips) > ROWS:
        console.print(f"... and {len(clips) - ROWS} more clips; {MANIFEST} has them all")


def _percent(person: Mapping[str, Any]) -> str:
    return f"{100 * person['share']:.0f} %"


def _tell_too_small(reports: Sequence[Report], console: Console) -> None:
    """Prints which clips show only faces that are too small to tell whose they are."""
    small = [name for report in reports for name, found in report.found.items() if found.too_small]
    if small:
        console.print(
            f"In {len(small)} clip(s), such as {small[0]}, all faces are too small to tell people apart: of these the "
            "largest face at any time is kept"
        )


def _table(manifest: Manifest) -> Table:
    """What became of the frames of each persona, and of all."""
    numbers = [Column(name, justify="right") for name in ("frames", "kept", "tracks")]
    table = Table("persona", "split", *numbers, "dropped")
    for name, persona in sorted(manifest.personas.items())[:ROWS]:
        counts = persona.counts
        cells = (counts.seen, counts.kept, len(persona.tracks))
        table.add_row(name, persona.split, *map(str, cells), _reasons(counts))

    total = _sum(persona.counts for persona in manifest.personas.values())
    table.add_section()
    everybody = f"{len(manifest.personas)} in all"
    table.add_row(everybody, "", str(total.seen), str(total.kept), "", _reasons(total))
    return table
