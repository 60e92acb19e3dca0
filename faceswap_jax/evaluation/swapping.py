"""Swapped clips that are scored: every persona of a run in every clip of somebody else."""

import contextlib
import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

from rich.console import Console

from data_pipelines.clips import Clip
from faceswap_jax.evaluation.frames import Performer, Swapped
from faceswap_jax.evaluation.report import Comparison, Score, Scored
from faceswap_jax.faces import video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.people import find_people
from faceswap_jax.inference.clip import Count, Role, blended_frames, generate_frames
from faceswap_jax.inference.generator import Generator, Who


class Bench(Protocol):
    """One way to score swapped clips.

    Attributes:
        scores: what it measures.
        floor: what the measure itself gets wrong on average, of those scores where that is known.
    """

    scores: Mapping[str, Score]
    floor: Mapping[str, float]

    def pairs(self, personas: Sequence[str]) -> list[tuple[str, Clip]]:
        """Every persona with every clip of somebody else."""
        ...

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
    compared = _compare_all(bench, generator, pairs, methods, folder)
    results: dict[str, list[Comparison]] = {}
    for persona, clip in pairs:
        name = f"{clip.persona} as {persona}"
        results.setdefault(name, []).append(compared[clip.name][persona])
    return Scored(results, bench.scores, bench.floor, bench.columns(methods))


def _compare_all(
    bench: Bench,
    generator: Generator,
    pairs: Sequence[tuple[str, Clip]],
    methods: Sequence[str],
    folder: Path,
) -> dict[str, dict[str, Comparison]]:
    """Swaps and scores target after target, several at once; by the name of the target, by persona."""
    personas: dict[Clip, list[str]] = {}
    for persona, clip in pairs:
        personas.setdefault(clip, []).append(persona)
    identities = {persona: generator.identity(Who({persona: 1.0})) for persona, _ in pairs}
    console = Console(stderr=True, markup=False)

    def compare(clip: Clip) -> dict[str, Comparison]:
        # Once for all faces that it gets
        with contextlib.closing(open_landmarker(clip.path)) as landmarker:
            performer = find_people(clip.path, landmarker)[0]
        swapped = {}
        for persona in personas[clip]:
            role = Role(performer, identities[persona])
            # Names of clips may have folders: "ann/monday.mp4".
            stem = f"{clip.name.replace('/', '_')}_as_{persona}"
            swapped[persona] = {method: folder / f"{stem}_{method}.mp4" for method in methods}
            for method, path in swapped[persona].items():
                _swap(generator, role, clip.path, path, method)
        return bench.compare(clip, generator, performer.faces, swapped)

    # Threads: OpenCV, LiteRT, XLA and FFmpeg let others run while they work.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        # The longest first, so that none is left at the end.
        order = sorted(personas, key=lambda clip: -video.probe(clip.path).frames)
        futures = {pool.submit(compare, clip): clip for clip in order}
        compared = {}
        try:
            for future in as_completed(futures):
                clip = futures[future]
                compared[clip.name] = future.result()
                faces = ", ".join(personas[clip])
                progress = f"{len(compared)} of {len(futures)}: {clip.name} as {faces}"
                console.print(progress, highlight=False, soft_wrap=True)
        finally:
            # After an error or Ctrl-C no other clip is begun.
            pool.shutdown(cancel_futures=True)
    return compared


def _swap(generator: Generator, role: Role, clip: Path, output: Path, method: str) -> None:
    """`inference.clip.swap_clip` without its bar, for several clips are swapped at once."""
    frames = iter(video.read_frames(clip))
    generated = generate_frames(generator, [role], frames, Count())
    write_video(output, clip, blended_frames(generated, [role], generator, method))
