"""The bench: a trained run swaps clips that it has not seen, and every result is scored."""

import contextlib
import os
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.console import Console

from data_pipelines.clips import Clip
from data_pipelines.puppets.dataset import CLIPS, PuppetClips
from data_pipelines.records import MANIFEST
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.frames import Performer, Swapped
from faceswap_jax.evaluation.report import Comparison, Score, Summary, summarise
from faceswap_jax.faces import blend, video
from faceswap_jax.faces.encode import write_video
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.faces.people import find_people
from faceswap_jax.faces.picture import save_grid
from faceswap_jax.inference.clip import Count, Role, blended_frames, generate_frames
from faceswap_jax.inference.generator import Generator, Who
from faceswap_jax.inference.trained import load
from faceswap_jax.reporting.board import Board


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


def evaluate(
    workdir: Path,
    data: Path,
    methods: Sequence[str] = (blend.DEFAULT_METHOD,),
    embedder: Path | None = None,
) -> Path:
    """Swaps every clip to every other persona that has a clip in the folder, and writes scores and images.

    Args:
        workdir: folder of a trained run.
        data: folder of clips: puppets (`faceswap puppets`), whose perfect swaps are rendered, or a folder of clips for
            each person, which are scored without a truth.
        methods: of blending.
        embedder: what compares identities where there is no truth, see `embedder.load`; dlib's network and SFace when
            None.

    Returns:
        A folder in `workdir`: scores.json and scores.md, grid.png, and the swapped clips. A run that is shown in W&B
        has the table of means there too.

    Raises:
        InputError: there is no checkpoint, no clip, or no pair of a persona and somebody else's clip; a clip shows no
            face; or the embedder cannot be used.
    """
    # What is wrong is said before anything is loaded or swapped.
    for method in methods:
        blend.check_method(method)
    bench = open_bench(data, embedder)
    generator = load(workdir)
    if generator.placement != "blended":
        raise InputError(
            f"'{workdir}' makes whole images, and the bench scores faces blended into clips; give "
            "the folder of another run."
        )
    pairs = bench.pairs(generator.personas)
    if not pairs:
        raise InputError(
            f"'{data}' has no persona of '{workdir}' ({', '.join(generator.personas)}) beside a "
            "clip of somebody else; add both."
        )
    output = workdir / "evaluation" / data.resolve().name / f"step_{generator.step}"
    (output / "clips").mkdir(parents=True, exist_ok=True)

    compared = _compare_all(bench, generator, pairs, methods, output / "clips")
    results: dict[str, list[Comparison]] = {}
    for persona, clip in pairs:
        name = f"{clip.persona} as {persona}"
        results.setdefault(name, []).append(compared[clip.name][persona])
    summary = summarise(results, bench.scores, bench.floor, generator.step)
    _publish(summary, results, bench.columns(methods), output)
    _show_on_board(summary, workdir, output.parent.name)
    return output


def open_bench(data: Path, embedder: Path | None = None) -> Bench:
    """The way to score the clips of a folder.

    Raises:
        InputError: `data` holds no clips, or the embedder cannot be used with them.
    """
    if not data.is_dir():
        raise InputError(
            f"'{data}' is no folder; give one with clips of puppets, or with clips of each person."
        )
    # Imported here: one way needs the oracle, the other MediaPipe and an identity network.
    if (data / CLIPS).exists():
        if embedder:
            raise InputError(
                f"'{data}' holds puppets, whose identity the oracle reads; leave --embedder out."
            )
        from faceswap_jax.evaluation.with_truth import PuppetBench

        return PuppetBench(data, PuppetClips.load(data))
    if (data / MANIFEST).exists():
        raise InputError(
            f"'{data}' holds prepared faces; give a folder with clips of each person, as 'faceswap prepare' takes them."
        )
    from faceswap_jax.evaluation.without_truth import ClipBench

    return ClipBench(data, embedder)


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


def _publish(
    summary: Summary,
    results: Mapping[str, Sequence[Comparison]],
    columns: Sequence[str],
    output: Path,
) -> None:
    """Writes tables and grid, prints the table, and names the files."""
    summary.save(output / "scores")
    # A label for each line of the grid
    lines = []
    labels = []
    for pair, comparisons in results.items():
        for comparison in comparisons:
            lines.append(comparison.images)
            labels += [pair] * len(comparison.images)
    save_grid(output / "grid.png", np.concatenate(lines) / 255, labels, columns)

    # Where nothing tells the width, all columns are shown.
    console = Console(stderr=True, markup=False, width=None if sys.stderr.isatty() else 120)
    console.print(summary.table())
    meanings = {
        "grid.png": "faces of every pair, to look at",
        "clips": "the swapped clips",
        "scores.md": "all tables, with intervals; scores.json has all digits",
    }
    for name, what in meanings.items():
        console.print(f"{output / name}: {what}", highlight=False, soft_wrap=True)


def _show_on_board(summary: Summary, workdir: Path, name: str) -> None:
    """Adds the table of means to the run in W&B, if it is shown there."""
    config = configs.load(workdir / "config.json")
    if config.run.wandb:
        with Board(workdir, config) as board:
            board.table(f"bench/{name}", *summary.means())
