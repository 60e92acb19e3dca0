"""Swapped clips that are scored: every persona of a run, or of the folder, in every clip of somebody else."""

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from rich.console import Console

from data_pipelines.clips import Clip
from faceswap_jax.evaluation.frames import Performer, Swapped, first_of_each
from faceswap_jax.evaluation.report import Comparison, Score, Scored
from faceswap_jax.faces import video
from faceswap_jax.faces.encode import video_writer
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.people import Person, find_people
from faceswap_jax.inference.clip import Count, Place, Replacement, blend_side, generate_frames
from faceswap_jax.inference.generator import Generator, Identity
from faceswap_jax.inference.who import who_is

TOGETHER = 4
"""Personas whose results are written at a time: an encoder of 1080p holds 125 MiB."""


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
    ) -> dict[str, Comparison]:
        """Scores a clip with the faces of personas, by persona. Several clips may be compared at once, in threads.

        Args:
            clip: the target.
            generator: what made the faces.
            performer: whose faces were swapped.
            swapped: the results.
        """
        ...

    def columns(self, methods: Sequence[str]) -> list[str]:
        """What the images of a comparison show, column by column."""
        ...


def score_swaps(
    bench: Bench,
    generator: Generator,
    pairs: Sequence[tuple[str, Clip]],
    methods: Sequence[str],
    folder: Path,
) -> Scored:
    """Swaps and scores.

    Args:
        bench: scores them.
        generator: makes the faces.
        pairs: of a persona and somebody else's clip.
        methods: of blending.
        folder: for the swapped clips.
    """
    identities = _identities(bench, generator, [persona for persona, _ in pairs])
    compared = _compare_all(bench, generator, identities, pairs, methods, folder)
    results: dict[str, list[Comparison]] = {}
    for persona, clip in pairs:
        name = f"{clip.persona} as {persona}"
        results.setdefault(name, []).append(compared[clip.name][persona])
    return Scored(results, bench.scores, bench.floor, bench.columns(methods))


def _identities(bench: Bench, generator: Generator, personas: Iterable[str]) -> dict[str, Identity]:
    """The identities of personas: by name, or of people whom the generator does not know by their first clip."""
    first = {clip.persona: clip for clip in first_of_each(bench.clips)}
    identities = {}
    for persona in dict.fromkeys(personas):
        known = persona in generator.personas
        sources = [] if known else [first[persona].path]
        identities[persona] = generator.identity(
            who_is(generator, persona if known else None, sources)
        )
    return identities


def _compare_all(
    bench: Bench,
    generator: Generator,
    identities: Mapping[str, Identity],
    pairs: Sequence[tuple[str, Clip]],
    methods: Sequence[str],
    folder: Path,
) -> dict[str, dict[str, Comparison]]:
    """Swaps and scores target after target, several at once; by the name of the target, by persona."""
    personas: dict[Clip, list[str]] = {}
    for persona, clip in pairs:
        personas.setdefault(clip, []).append(persona)

    def swap(clip: Clip) -> tuple[Person, Swapped]:
        shown = {persona: identities[persona] for persona in personas[clip]}
        return _swap_all(generator, shown, clip, methods, folder)

    # Threads: OpenCV, LiteRT, dlib, XLA and FFmpeg let others run while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            # The longest first, so that none is left at the end.
            order = sorted(personas, key=lambda clip: -video.probe(clip.path).frames)
            swapping = {pool.submit(swap, clip): clip for clip in order}
            comparing = {}
            for number, future in enumerate(as_completed(swapping), 1):
                clip = swapping[future]
                performer, swapped = future.result()
                parts = [swapped] if bench.shares else [{name: swapped[name]} for name in swapped]
                for part in parts:
                    task = pool.submit(bench.compare, clip, generator, performer.faces, part)
                    comparing[task] = clip
                _tell(number, len(swapping), "swapped", clip, swapped)

            compared: dict[str, dict[str, Comparison]] = {clip.name: {} for clip in personas}
            for number, future in enumerate(as_completed(comparing), 1):
                clip = comparing[future]
                compared[clip.name] |= future.result()
                _tell(number, len(comparing), "scored", clip, future.result())
        finally:
            # After an error or Ctrl-C nothing else is begun.
            pool.shutdown(cancel_futures=True)
    return compared


def _tell(number: int, count: int, done: str, clip: Clip, personas: Iterable[str]) -> None:
    """Says how far the bench is."""
    line = f"{number} of {count} {done}: {clip.name} as {', '.join(personas)}"
    Console(stderr=True, markup=False).print(line, highlight=False, soft_wrap=True)


def _swap_all(
    generator: Generator,
    identities: Mapping[str, Identity],
    clip: Clip,
    methods: Sequence[str],
    folder: Path,
) -> tuple[Person, Swapped]:
    """Writes all results of a clip; returns who performs in it, and the files."""
    with contextlib.closing(open_landmarker(clip.path)) as landmarker:
        performer = find_people(clip.path, landmarker)[0]
    replacements = {}
    swapped = {}
    for persona, identity in identities.items():
        replacements[persona] = Replacement(performer, identity)
        # Names of clips may have folders: "ann/monday.mp4".
        stem = f"{clip.name.replace('/', '_')}_as_{persona}"
        swapped[persona] = {method: folder / f"{stem}_{method}.mp4" for method in methods}

    names = list(replacements)
    for start in range(0, len(names), TOGETHER):
        group = names[start : start + TOGETHER]
        _swap(
            generator,
            [replacements[name] for name in group],
            clip.path,
            [swapped[n] for n in group],
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
                place = Place(frame.image, points, generator.alignment, side)
            for number, by_method in enumerate(writers):
                for method, write in by_method.items():
                    # Without a face it passes unchanged.
                    made = place.put(images[number], method) if place else frame.image
                    write(replace(frame, image=made))
