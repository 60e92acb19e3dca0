"""The bench: a trained run is given clips that it has not seen, and every result is scored."""

import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from data_pipelines.clips import Clip
from data_pipelines.puppets.dataset import CLIPS, PuppetClips
from data_pipelines.records import MANIFEST
from faceswap_jax import config as configs
from faceswap_jax.artifacts.models import load
from faceswap_jax.editing.control import FILE, Control
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.acting import Judge, read_actors, score_all
from faceswap_jax.evaluation.action_units import ActionUnits
from faceswap_jax.evaluation.detection import check_detector
from faceswap_jax.evaluation.frames import spread
from faceswap_jax.evaluation.report import Scored, Summary, summarise
from faceswap_jax.evaluation.speaking import score_speech
from faceswap_jax.evaluation.swapping import Bench, score_swaps
from faceswap_jax.evaluation.wanted import Pair, pairs_by_role, pairs_of
from faceswap_jax.faces import blend
from faceswap_jax.faces.picture import save_grid
from faceswap_jax.files import make_folder
from faceswap_jax.inference.audience import tell
from faceswap_jax.inference.generator import Generator
from faceswap_jax.reporting.board import Board

SHOWN = 8
"""Pairs in a grid: more would be too many to look at."""


def evaluate(
    workdir: Path,
    data: Path,
    methods: Sequence[str] = (blend.DEFAULT_METHOD,),
    embedder: Path | None = None,
    step: int | None = None,
    output: Path | None = None,
    detector: Path | None = None,
    inception: Path | None = None,
) -> Path:
    """Shows every persona, or everybody who has a clip in the folder, with the performance of the clips, and scores it.

    Faces of a run that makes such are blended into the clips of others. A run that knows nobody by name, but can be
    lent features, is lent those of everybody in the folder, each by the first clip: identities, expressions, and
    both by two people, in a table of each. A run that makes whole images is given pictures of everybody, who is driven
    by the own clip and by those of the others.

    Args:
        workdir: folder of a trained run, or of an artifact.
        data: folder of clips: puppets (`faceswap puppets`), whose perfect results are rendered, or a folder of clips
            for each person, which are scored without a truth.
        methods: of blending.
        embedder: what compares identities where there is no truth, see `embedder.load`; dlib's network and SFace when
            None.
        step: which checkpoint of the run, by its number of steps; the newest sound one if not given.
        output: folder for the results; `evaluation` in `workdir` if not given.
        detector: folder of a run of experiments/detector.py that tells swapped faces from the real ones of the folder.
        inception: file of Inception's weights, see `pretrained.inception`: adds KID where there is no truth.

    Returns:
        A folder in `output`: scores.json and scores.md, grid.png, and the swapped clips. Of lent features it has a
        folder of these for each role, `identity`, `expression` and `both`; of whole images two of tables and grid,
        `self` and `cross`, and `sound` where a control and clips have some. A run that is shown in W&B has the tables
        of means there too.

    Raises:
        InputError: there is no checkpoint, no clip, or no pair of a persona and somebody else's clip; a clip shows no
            face; or a network, or the run's control, cannot be used.
    """
    # What is wrong is said before anything is loaded or swapped.
    for method in methods:
        blend.check_method(method)
    are_puppets = check_folder(data, embedder, inception)
    if detector:
        check_detector(detector)
    generator = load(workdir, step)
    output = output or workdir / "evaluation"
    output = output / data.resolve().name / f"step_{generator.step}"

    if generator.placement == "whole":
        if list(methods) != [blend.DEFAULT_METHOD]:
            raise InputError(
                f"'{workdir}' makes whole images, which are not blended; leave --blend out."
            )
        if detector:
            raise InputError(
                f"'{workdir}' makes whole images, and --detector is asked about swapped faces alone; leave it out, and "
                "score clips of 'faceswap reenact' as config.fakes of experiments/detector.py."
            )
        control = _find_control(workdir, generator)
        judge = open_judge(data, are_puppets, embedder, inception=inception)
        _tell_of_known(workdir, generator, judge.clips())
        actors = read_actors(judge.clips(), [generator])
        # Whether it can be written is told before the work.
        make_folder(output)
        driven = score_all(judge, generator, actors, control)
        if control and control.by_sound:
            driven |= score_speech(generator, control, actors)
        tables = driven.items()
    else:
        lends = bool(generator.roles)
        bench = _open_bench(data, are_puppets, embedder, lends, detector, inception)
        _tell_of_known(workdir, generator, bench.clips)
        pairs = _pairs(workdir, data, generator, bench)
        tables = _score_tables(bench, generator, pairs, methods, output)

    for name, scored in tables:
        summary = summarise(scored, generator.step)
        _publish(name, summary, scored, output / name)
        show_on_board(summary, workdir, "/".join(filter(None, (output.parent.name, name))))
    return output


def check_folder(data: Path, embedder: Path | None, inception: Path | None = None) -> bool:
    """Whether a folder holds puppets.

    Raises:
        InputError: it holds no clips, or the networks cannot be used with them.
    """
    if not data.is_dir():
        raise InputError(
            f"'{data}' is no folder; give one with clips of puppets, or with clips of each person."
        )
    if (data / CLIPS).exists():
        if embedder:
            raise InputError(
                f"'{data}' holds puppets, whose identity the oracle reads; leave --embedder out."
            )
        if inception:
            raise InputError(
                f"'{data}' holds puppets, whose perfect results are known; leave --inception out."
            )
        return True
    if (data / MANIFEST).exists():
        raise InputError(
            f"'{data}' holds prepared faces; give a folder with clips of each person, as 'faceswap prepare' takes them."
        )
    return False


def _tell_of_known(workdir: Path, generator: Generator, clips: Sequence[Clip]) -> None:
    """Says which people of the clips a run that takes anybody may have been trained on, as their names tell."""
    if generator.personas:
        return
    trained = configs.load(workdir / "config.json").get("identities", ())
    known = sorted({clip.persona for clip in clips} & set(trained))
    if known:
        tell(
            f"{', '.join(known)}: people of these names were trained on. If these are they, the scores say nothing of "
            "people never seen."
        )


def _pairs(workdir: Path, data: Path, generator: Generator, bench: Bench) -> dict[str, list[Pair]]:
    """What is swapped, by table: personas of a run in one without a name, lent features in one for each role.

    Raises:
        InputError: there is nothing to swap.
    """
    if generator.roles:
        tables = pairs_by_role(generator.roles, bench.clips)
        whom = "nobody"
    else:
        pairs = pairs_of(generator.personas, bench.clips)
        tables = {"": pairs} if pairs else {}
        whom = f"no persona of '{workdir}' ({', '.join(generator.personas)})"
    if not tables:
        raise InputError(f"'{data}' has {whom} beside a clip of somebody else; add both.")
    return tables


def _score_tables(
    bench: Bench,
    generator: Generator,
    pairs: Mapping[str, Sequence[Pair]],
    methods: Sequence[str],
    output: Path,
) -> Iterator[tuple[str, Scored]]:
    """Swaps and scores table after table, so that one is written before the next is begun."""
    for name, of_table in pairs.items():
        clips = output / name / "clips"
        make_folder(clips)
        yield name, score_swaps(bench, generator, of_table, methods, clips)


def _find_control(workdir: Path, generator: Generator) -> Control | None:
    """The control of a run, if one was fitted.

    Raises:
        InputError: it was fitted to other weights, or its file is damaged.
    """
    if not (workdir / FILE).exists():
        return None
    control = Control.load(workdir)
    control.check(generator)
    if control.by_sound:
        control.check_sound(workdir)
    return control


# Imported where needed: puppets need the oracle, real clips MediaPipe and an identity network.
def _open_bench(
    data: Path,
    are_puppets: bool,
    embedder: Path | None,
    lends: bool,
    detector: Path | None,
    inception: Path | None,
) -> Bench:
    """The way to score the swapped clips of a folder; `lends`: of people who are lent features and keep all else."""
    if are_puppets:
        from faceswap_jax.evaluation.with_truth import PuppetBench

        return PuppetBench(data, PuppetClips.load(data), lends, detector)
    from faceswap_jax.evaluation.without_truth import ClipBench

    return ClipBench(data, embedder, detector, inception)


def open_judge(
    data: Path,
    are_puppets: bool,
    embedder: Path | None,
    units: ActionUnits | None = None,
    inception: Path | None = None,
) -> Judge:
    """The way to score whole images of the people of a folder; `units` reads those of real ones, if they are wanted."""
    if are_puppets:
        from faceswap_jax.evaluation.whole_with_truth import WholePuppets

        return WholePuppets(data, PuppetClips.load(data))
    from faceswap_jax.evaluation.whole_without_truth import WholeClips

    return WholeClips(data, embedder, units, inception)


def _publish(name: str, summary: Summary, scored: Scored, output: Path) -> None:
    """Writes tables and grid, prints the table, and names the files."""
    make_folder(output)
    summary.save(output / "scores")
    save_pairs(output / "grid.png", scored)

    announce(summary.table(name), output)


def announce(table: Table, output: Path) -> None:
    """Prints a table, and names the files that were written."""
    # Where nothing tells the width, all columns are shown.
    console = Console(stderr=True, markup=False, width=None if sys.stderr.isatty() else 120)
    console.print(table)
    meanings = {
        "grid.png": f"faces of up to {SHOWN} pairs, to look at",
        "clips": "the swapped clips",
        "table.md": "this table, and what its rows and columns are",
        "scores.md": "all tables, with intervals; scores.json has all digits",
    }
    for name, what in meanings.items():
        if (output / name).exists():
            console.print(f"{output / name}: {what}", highlight=False, soft_wrap=True)


def save_pairs(path: Path, scored: Scored) -> None:
    """Draws some pairs, evenly over all, a clip of each."""
    pairs = list(scored.results)
    if len(pairs) > SHOWN:
        pairs = [pairs[i] for i in spread(SHOWN, len(pairs))]
    lines = []
    # A label for each line
    labels = []
    for pair in pairs:
        images = scored.results[pair][0].images
        lines.append(images)
        labels += [pair] * len(images)
    save_grid(path, np.concatenate(lines) / 255, labels, scored.columns)


def show_on_board(summary: Summary, workdir: Path, name: str) -> None:
    """Adds the table of means to the run in W&B, if it is shown there."""
    config = configs.load(workdir / "config.json")
    if config.run.wandb:
        with Board(workdir, config) as board:
            board.table(f"bench/{name}", *summary.means())
