"""Swapped clips that are scored: personas of a run, or people who lend features, in the clips of others."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple, Protocol

from rich.console import Console

from data_pipelines.clips import Clip
from faceswap_jax.evaluation.frames import Performer, Swapped, first_of_each
from faceswap_jax.evaluation.report import Comparison, Score, Scored
from faceswap_jax.evaluation.wanted import Pair, Wanted
from faceswap_jax.faces import video
from faceswap_jax.faces.encode import video_writer
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.people import Person, find_people
from faceswap_jax.inference.batching import Lent
from faceswap_jax.inference.clip import Count, Place, Replacement, blend_side, generate_frames
from faceswap_jax.inference.generator import Generator, Identity
from faceswap_jax.inference.who import who_is
from faceswap_jax.roles.lending import acted

TOGETHER = 4
"""Results that are written at a time: an encoder of 1080p holds 125 MiB."""


class Given(NamedTuple):
    """What the generator is given of others for a result.

    Attributes:
        identity: as its `identity` gave it; {} if the performer stays.
        expression: None if it stays the performer's.
    """

    identity: Identity
    expression: Lent | None


class Bench(Protocol):
    """One way to score swapped clips.

    Attributes:
        scores: what it measures.
        floor: what the measure itself gets wrong on average, of those scores where that is known.
        shares: whether the results of a target share measures, and are best compared in one call.
        clips: of the folder.
    """

    scores: Mapping[str, Score]
    floor: Mapping[str, float]
    shares: bool
    clips: Sequence[Clip]

    def compare(
        self, clip: Clip, generator: Generator, performer: Performer, swapped: Swapped
    ) -> dict[Wanted, Comparison]:
        """Scores results of a clip, each by what it is to show. Several clips may be compared at once, in threads.

        Args:
            clip: the target.
            generator: what made the faces.
            performer: whose faces were swapped.
            swapped: the results.
        """
        ...

    def columns(self, roles: Sequence[str], methods: Sequence[str]) -> list[str]:
        """What the images of a comparison show, column by column; `roles`: what others lend."""
        ...


def score_swaps(
    bench: Bench,
    generator: Generator,
    pairs: Sequence[Pair],
    methods: Sequence[str],
    folder: Path,
) -> Scored:
    """Swaps and scores.

    Args:
        bench: scores them.
        generator: makes the faces.
        pairs: of one kind: the same roles are played by others in all.
        methods: of blending.
        folder: for the swapped clips.
    """
    given = _given(bench, generator, [wanted for wanted, _ in pairs])
    compared = _compare_all(bench, generator, given, pairs, methods, folder)
    results: dict[str, list[Comparison]] = {}
    for wanted, clip in pairs:
        name = " ".join(wanted.words(clip.persona))
        results.setdefault(name, []).append(compared[clip.name][wanted])
    columns = bench.columns(pairs[0][0].roles, methods)
    return Scored(results, bench.scores, bench.floor, columns)


def _given(bench: Bench, generator: Generator, results: Sequence[Wanted]) -> dict[Wanted, Given]:
    """What the generator is given for each result; people whom it does not know by name lend by their first clip."""
    first = first_of_each(bench.clips)

    def identity_of(persona: str) -> Identity:
        if persona in generator.personas:
            return generator.identity(who_is(generator, persona, []))
        return generator.identity(who_is(generator, None, [first[persona].path]))

    # Once for each person
    shown = dict.fromkeys(wanted.identity for wanted in results)
    acting = dict.fromkeys(wanted.expression for wanted in results)
    identities = {name: {} if name is None else identity_of(name) for name in shown}
    expressions = {
        name: None if name is None else acted(generator, first[name].path) for name in acting
    }
    return {
        wanted: Given(identities[wanted.identity], expressions[wanted.expression])
        for wanted in results
    }


def _compare_all(
    bench: Bench,
    generator: Generator,
    given: Mapping[Wanted, Given],
    pairs: Sequence[Pair],
    methods: Sequence[str],
    folder: Path,
) -> dict[str, dict[Wanted, Comparison]]:
    """Swaps and scores target after target, several at once; by the name of the target, by what is shown."""
    results: dict[Clip, dict[Wanted, Given]] = {}
    for wanted, clip in pairs:
        results.setdefault(clip, {})[wanted] = given[wanted]

    def swap(clip: Clip) -> tuple[Person, Swapped]:
        return _swap_all(generator, results[clip], clip, methods, folder)

    # Threads: OpenCV, LiteRT, dlib, XLA and FFmpeg let others run while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            # The longest first, so that none is left at the end.
            order = sorted(results, key=lambda clip: -video.probe(clip.path).frames)
            swapping = {pool.submit(swap, clip): clip for clip in order}
            comparing = {}
            for number, future in enumerate(as_completed(swapping), 1):
                clip = swapping[future]
                performer, swapped = future.result()
                parts = [swapped] if bench.shares else [{one: swapped[one]} for one in swapped]
                for part in parts:
                    task = pool.submit(bench.compare, clip, generator, performer.faces, part)
                    comparing[task] = clip
                _tell(number, len(swapping), "swapped", clip, swapped)

            compared: dict[str, dict[Wanted, Comparison]] = {clip.name: {} for clip in results}
            for number, future in enumerate(as_completed(comparing), 1):
                clip = comparing[future]
                compared[clip.name] |= future.result()
                _tell(number, len(comparing), "scored", clip, future.result())
        finally:
            # After an error or Ctrl-C nothing else is begun.
            pool.shutdown(cancel_futures=True)
    return compared


def _tell(number: int, count: int, done: str, clip: Clip, results: Iterable[Wanted]) -> None:
    """Says how far the bench is."""
    shown = [" ".join(wanted.words("")[1:]) for wanted in results]
    line = f"{number} of {count} {done}: {clip.name} {', '.join(shown)}"
    Console(stderr=True, markup=False).print(line, highlight=False, soft_wrap=True)


def _swap_all(
    generator: Generator,
    given: Mapping[Wanted, Given],
    clip: Clip,
    methods: Sequence[str],
    folder: Path,
) -> tuple[Person, Swapped]:
    """Writes all results of a clip; returns who performs in it, and the files."""
    with contextlib.closing(open_landmarker(clip.path)) as landmarker:
        performer = find_people(clip.path, landmarker)[0]
    replacements = {}
    swapped = {}
    for wanted, (identity, expression) in given.items():
        replacements[wanted] = Replacement(performer, identity, expression=expression)
        # Names of clips may have folders: "ann/monday.mp4".
        stem = "_".join(wanted.words(clip.name.replace("/", "_")))
        swapped[wanted] = {method: folder / f"{stem}_{method}.mp4" for method in methods}

    results = list(replacements)
    for start in range(0, len(results), TOGETHER):
        group = results[start : start + TOGETHER]
        _swap(
            generator,
            [replacements[wanted] for wanted in group],
            clip.path,
            [swapped[wanted] for wanted in group],
        )
    return performer, swapped


def _swap(
    generator: Generator,
    replacements: Sequence[Replacement],
    clip: Path,
    results: Sequence[Mapping[str, Path]],
) -> None:
    """Writes results of one performer in one reading of the clip, each as `inference.clip.swap_clip` makes it.

    A face is generated once for all methods, and where it is put is found out once for all of them.

    Args:
        generator: makes the faces.
        replacements: of the performer.
        clip: the performer's.
        results: of each replacement, of each method.
    """
    performing = replacements[0].person.faces
    landmarks = {number: face.landmarks for number, face in performing.items()}
    side = blend_side(landmarks.values(), generator.alignment, generator.resolution)
    frames = iter(video.read_frames(clip))
    with contextlib.ExitStack() as stack:
        writers = [
            {
                method: stack.enter_context(video_writer(path, clip))
                for method, path in paths.items()
            }
            for paths in results
        ]
        for frame, images, _ in generate_frames(generator, replacements, frames, Count()):
            place = None
            if images:
                points = landmarks[frame.index]
                place = Place(frame.image, points, generator.alignment, side, generator.outline)
            for number, by_method in enumerate(writers):
                for method, write in by_method.items():
                    # Without a face it passes unchanged.
                    made = place.put(images[number], method) if place else frame.image
                    write(replace(frame, image=made))
