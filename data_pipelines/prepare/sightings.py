"""Whom the clips of a data set show, and where their shots change: a selection for the report's page.

The manifest lists all of it in numbers; the reports beside the shards have the images.
"""

import json
from collections.abc import Iterable
from pathlib import Path

from data_pipelines.prepare.catalogue import spread
from data_pipelines.prepare.found import Found, shows_others
from data_pipelines.prepare.page import CutRow, ShownPerson, Sightings
from data_pipelines.records import SHARDS, Manifest

CLIPS = 50
"""Most clips of which the page shows the people."""

PEOPLE = 10
"""Most people of a clip."""

CUTS = 100
"""Most shot changes."""


def read_sightings(directory: Path, manifest: Manifest) -> Sightings:
    """What the page shows, spread evenly over the clips and the shot changes of a data set.

    Clips whose reports are lost are left out.
    """
    several = [clip for clip, found in manifest.found.items() if shows_others(found["people"])]
    cuts = [(clip, i) for clip, found in manifest.found.items() for i in range(len(found["cuts"]))]
    shown_clips = [several[i] for i in spread(len(several), CLIPS)]
    shown_cuts = [cuts[i] for i in spread(len(cuts), CUTS)]
    found = _read(directory, manifest, {*shown_clips, *(clip for clip, _ in shown_cuts)})

    people = {clip: _people(found[clip]) for clip in shown_clips if clip in found}
    rows = []
    for clip, i in shown_cuts:
        if clip in found:
            cut = found[clip].cuts[i]
            rows.append(
                CutRow(
                    clip, cut.time, cut.before, cut.after, _uri(cut.image), cut.change, cut.colours
                )
            )
    return Sightings(people, len(several), rows, len(cuts))


def _people(found: Found) -> list[ShownPerson]:
    return [
        ShownPerson(_uri(person.image), person.share, number == found.kept)
        for number, person in enumerate(found.people)
        if number < PEOPLE or number == found.kept
    ]


def _read(directory: Path, manifest: Manifest, clips: Iterable[str]) -> dict[str, Found]:
    """What the reports beside the shards say of some clips."""
    found: dict[str, Found] = {}
    for shard in sorted({manifest.found[clip]["shard"] for clip in clips}):
        try:
            content = json.loads((directory / SHARDS / f"{shard}.json").read_text(encoding="utf-8"))
            found |= {clip: Found.from_json(values) for clip, values in content["found"].items()}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return found


def _uri(jpeg: str) -> str:
    return f"data:image/jpeg;base64,{jpeg}" if jpeg else ""
