"""The bench: a trained run swaps clips that it has not seen, and every result is scored."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
from rich.console import Console

from data_pipelines.clips import Clip
from data_pipelines.puppets.dataset import CLIPS, PuppetClips
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.frames import DEFAULT_BLEND
from faceswap_jax.evaluation.report import Comparison, Score, summarise
from faceswap_jax.faces import blend
from faceswap_jax.faces.picture import save_grid
from faceswap_jax.reporting.board import Board
from faceswap_jax.swap import Model, load_models, swap_clip


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
        self, persona: str, clip: Clip, model: Model, swapped: Mapping[str, Path]
    ) -> Comparison:
        """Scores a clip with a persona's face, swapped with one or more methods of blending."""
        ...

    def columns(self, methods: Sequence[str]) -> list[str]:
        """What the pictures of a comparison show."""
        ...


def evaluate(
    workdir: Path,
    data: Path,
    methods: Sequence[str] = (DEFAULT_BLEND,),
    embedder: Path | None = None,
) -> Path:
    """Swaps every clip to every other persona that has a clip in the folder, and writes scores and pictures.

    Args:
        workdir: folder of a trained run.
        data: folder of clips: puppets (`faceswap puppets`), whose perfect swaps are rendered, or a folder of clips for
            each person, which are scored without a truth.
        methods: of blending.
        embedder: what compares identities where there is no truth, see `embedder.load`; dlib's network when None.

    Returns:
        A folder in `workdir`: scores.json and scores.md, grid.png, and the swapped clips. A run that is shown in W&B
        has the table of means there too.

    Raises:
        InputError: there is no checkpoint, no clip, or no pair of a persona and somebody else's clip; a clip shows no
            face; or the embedder cannot be used.
    """
    for method in methods:
        if method not in blend.METHODS:
            raise InputError(
                f"There is no blending '{method}'; choose one of {', '.join(blend.METHODS)}."
            )
    bench, models = _open(data, embedder), load_models(workdir)
    pairs = bench.pairs(list(models))
    if not pairs:
        names = ", ".join(models)
        raise InputError(
            f"'{data}' has no persona of '{workdir}' ({names}) beside a clip of somebody else; add both."
        )
    console, step = Console(stderr=True, markup=False), next(iter(models.values())).step
    output = workdir / "evaluation" / data.resolve().name / f"step_{step}"
    clips = output / "clips"
    clips.mkdir(parents=True, exist_ok=True)

    results: dict[str, list[Comparison]] = {}
    for number, (persona, clip) in enumerate(pairs, 1):
        console.print(
            f"{number} of {len(pairs)}: {clip.name} as {persona}", highlight=False, soft_wrap=True
        )
        name = clip.name.replace("/", "_")
        swapped = {method: clips / f"{name}_as_{persona}_{method}.mp4" for method in methods}
        for method, path in swapped.items():
            swap_clip(models[persona], clip.path, path, method)
        comparison = bench.compare(persona, clip, models[persona], swapped)
        results.setdefault(f"{clip.persona} as {persona}", []).append(comparison)

    summary = summarise(results, bench.scores, bench.floor, step)
    summary.save(output / "scores")
    config = configs.load(workdir / "config.json")
    if config.run.wandb:
        with Board(workdir, config) as board:
            board.table(f"bench/{output.parent.name}", *summary.means())
    pictures = [
        comparison.pictures for comparisons in results.values() for comparison in comparisons
    ]
    save_grid(output / "grid.png", np.concatenate(pictures) / 255)
    console.print(summary.table())
    for path, what in (
        (output / "grid.png", ", ".join(bench.columns(methods))),
        (clips, "the swapped clips"),
        (output / "scores.md", "all tables, with intervals; scores.json has all digits"),
    ):
        console.print(f"{path}: {what}", highlight=False, soft_wrap=True)
    return output


def _open(data: Path, embedder: Path | None) -> Bench:
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
    from faceswap_jax.evaluation.without_truth import ClipBench

    return ClipBench(data, embedder)
