"""The protocol of a thesis of 2023 on transfer: everybody is driven by everybody else, and systems are rows of a table.

The bench measures, see `acting`. Here stand who is compared, which of its scores are the thesis' columns, and the rows
that the thesis has published.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Column, Table

from faceswap_jax import config as configs
from faceswap_jax.artifacts.models import load
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.acting import (
    DRIVING_FRAME,
    NEAREST,
    SOURCES,
    Actor,
    Judge,
    copied,
    driven,
    identity_of,
    read_actors,
    rest_of,
)
from faceswap_jax.evaluation.action_units import ActionUnits
from faceswap_jax.evaluation.bench import (
    announce,
    check_folder,
    open_judge,
    save_pairs,
    show_on_board,
)
from faceswap_jax.evaluation.expression import FOUND
from faceswap_jax.evaluation.frames import spread
from faceswap_jax.evaluation.report import (
    Score,
    Scored,
    Summary,
    Values,
    markdown,
    summarise,
)
from faceswap_jax.files import make_folder
from faceswap_jax.inference.generator import Generator, Identity

NAME = "transfer"
"""Of the protocol, and of the folder of its results."""

COSINE = "identity by "
"""Cosines of identity are called so by those who judge real clips; the name of a network follows."""

PARTS = ("lids", "blink", "brows", "mouth")
"""Of a face, whose motion tells the expression; only puppets have lids, only real clips blinks."""


@dataclass(frozen=True)
class Measure:
    """A column of the table.

    Attributes:
        score: what its numbers mean.
        of: the judge's scores whose mean it is.
    """

    score: Score
    of: Sequence[str]


PUBLISHED: Mapping[str, Mapping[str, float]] = {
    "thesis: arithmetic, pSp": {"pose": 8.491, "aspects": 0.656, "units": 0.210, "cosine": 0.671},
    "thesis: arithmetic, e4e": {"pose": 8.720, "aspects": 0.621, "units": 0.113, "cosine": 0.563},
    "thesis: generator tuned": {"pose": 8.325, "aspects": 0.556, "units": 0.002, "cosine": 0.760},
    "thesis: with CosFace": {"pose": 7.968, "aspects": 0.528, "units": 0.082, "cosine": 0.762},
    "thesis: best": {"pose": 7.673, "aspects": 0.620, "units": 0.142, "cosine": 0.801},
}
"""The thesis' table 4.1: 120 people of VoxCeleb2."""

WARNING = (
    "The thesis' rows are of other data, 120 people of VoxCeleb2, and of other networks: HopeNet tells poses, dlib "
    "landmarks, OpenGraphAU action units, ArcFace identities. Its numbers do not compare with ours: compare our rows "
    "with one another, and their order with that of the thesis."
)


def evaluate_transfer(
    workdir: Path,
    data: Path,
    beside: Sequence[Path] = (),
    embedder: Path | None = None,
    units: Path | None = None,
    step: int | None = None,
    output: Path | None = None,
) -> Path:
    """Drives everybody in a folder by everybody else, and scores it as the thesis does.

    A system is given one picture of who is shown. One whose latents count from a face at rest, as those of latent
    arithmetic do, is given several, for this face is their mean.

    Args:
        workdir: folder of a trained run, or of an artifact, that makes whole images.
        data: folder of clips of people whom it was not trained on, see `bench.evaluate`.
        beside: likewise folders, for rows of the same table; the newest sound checkpoint of each run.
        embedder: what compares identities in real clips, see `embedder.load`; SFace when None.
        units: what reads action units in real clips, see `ActionUnits`; none when None.
        step: which checkpoint of the run in `workdir`; the newest sound one if not given.
        output: folder for the results; `evaluation` in `workdir` if not given.

    Returns:
        A folder in `output`: table.md with the thesis' rows, scores.json and scores.md with intervals and all pairs,
        grid.png.

    Raises:
        InputError: a run cannot be driven by frames, makes no whole images, or cuts faces otherwise than another; the
            folder shows fewer than two people; or what `bench.evaluate` raises.
    """
    are_puppets = check_folder(data, embedder)
    if units and are_puppets:
        raise InputError(
            f"'{data}' holds puppets, whose expression the oracle reads; leave --action_units out."
        )
    systems = _load_all(workdir, step, beside)
    first = next(iter(systems.values()))
    judge = open_judge(data, are_puppets, embedder, ActionUnits(units) if units else None)
    clips = judge.clips()
    if len(clips) < 2:
        raise InputError(
            f"'{data}' shows {clips[0].persona} alone, and people are driven by others here; give clips of two or more."
        )
    actors = read_actors(clips, list(systems.values()))
    folder = (output or workdir / "evaluation") / data.resolve().name / f"step_{first.step}" / NAME
    # Whether it can be written is told before the work.
    make_folder(folder)

    scored = score_transfer(judge, systems, actors)
    summary = summarise(scored, first.step)
    summary.save(folder / "scores")
    save_pairs(folder / "grid.png", scored)
    notes = [WARNING, *_not_held_out((workdir, *beside), actors)]
    heads, lines = table(summary)
    text = [f"# Transfer: {len(actors)} people, each driven by the others", markdown(heads, lines)]
    (folder / "table.md").write_text("\n\n".join([*text, *notes]) + "\n")

    announce(_for_terminal(heads, lines), folder)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    for note in notes:
        console.print(note)
    show_on_board(summary, workdir, f"{data.resolve().name}/{NAME}")
    return folder


def _load_all(workdir: Path, step: int | None, beside: Sequence[Path]) -> dict[str, Generator]:
    """Generators by the names of their rows.

    Raises:
        InputError: one makes no whole images, or two have one name.
    """
    systems: dict[str, Generator] = {}
    for folder in (workdir, *beside):
        generator = load(folder, step if not systems else None)
        if generator.placement != "whole":
            raise InputError(
                f"'{folder}' makes faces for others' frames, and the protocol drives whole images; give a run of "
                "transfer, of inversion or of X2Face."
            )
        # Of several checkpoints of a run each is a row of its own.
        name = f"{folder.resolve().name}, step {generator.step}"
        if name in systems:
            raise InputError(
                f"Two rows would be called '{name}', as '{folder}' is; give each once, in folders of other names."
            )
        systems[name] = generator
    return systems


def score_transfer(
    judge: Judge, systems: Mapping[str, Generator], actors: Sequence[Actor]
) -> Scored:
    """Every person driven by everybody else's clip.

    Args:
        judge: scores them.
        systems: make whole images, by the names of their rows.
        actors: of the judge's clips.
    """
    first = next(iter(systems.values()))
    measures = measures_of(judge)
    console = Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    rests = {name: [rest_of(system, actor) for actor in actors] for name, system in systems.items()}
    results = {}
    for source in actors:
        identities = {name: _shown(system, source) for name, system in systems.items()}
        for number, driving in enumerate(actors):
            if driving is source:
                continue
            rows = copied(source, driving)
            rows[DRIVING_FRAME] = np.stack([view.frame.image for view in driving.driving])
            for name, system in systems.items():
                shown, rest = {name: identities[name]}, rests[name][number]
                rows |= driven(system, shown, source, driving, rest)
            compared = judge.compare(rows, source, driving, first)
            told = {row: _measured(values, measures) for row, values in compared.rows.items()}
            name = f"{source.clip.persona} driven by {driving.clip.persona}"
            results[name] = [replace(compared, rows=told)]
        console.print(f"{source.clip.persona}: driven by {len(actors) - 1} clips")

    scores = {name: measure.score for name, measure in measures.items()}
    columns = ["source", "driving", NEAREST, *systems, "truth"]
    return Scored(results, scores, {}, columns)


def _shown(system: Generator, source: Actor) -> Identity:
    """What a system is told of somebody."""
    count = SOURCES[-1] if system.relative else 1
    return identity_of(system, [source.known[i] for i in spread(count, len(source.known))])


def measures_of(judge: Judge) -> dict[str, Measure]:
    """The thesis' columns in its order and with its abbreviations, and others that the judge has.

    MAE is the mean absolute error, CORR a mean correlation, CSIM the cosine of face embeddings.

    Of several networks that judge identity the last one is taken: of those that ship, SFace, which tells people further
    apart. What the judge cannot measure has no scores that it is the mean of.
    """
    networks = [name.removeprefix(COSINE) for name in judge.scores if name.startswith(COSINE)]
    network = networks[-1] if networks else ""
    by = f", {network}" if network else ""

    def correlation(title: str) -> Score:
        return Score(f"{title} (CORR)", "higher", 3, (-1, 1))

    cosine = Score(f"identity (CSIM{by})", "higher", 3, (-1, 1))
    found = Score("identity found (%)", "higher", 1, (0, 100))
    wanted = {
        "pose": Measure(Score("pose (MAE, deg)", "lower", 3), ("yaw", "pitch")),
        "aspects": Measure(correlation("aspect ratios"), ("aspects",)),
        "units": Measure(correlation("action units"), ("units",)),
        "cosine": Measure(cosine, (f"{COSINE}{network}",)),
        "parts": Measure(
            correlation("eyes, brows, mouth"), [f"{part} correlation" for part in PARTS]
        ),
        "identity": Measure(found, ("identity", f"found by {network}")),
        "found": Measure(FOUND, ("found",)),
    }
    return {
        name: replace(measure, of=[score for score in measure.of if score in judge.scores])
        for name, measure in wanted.items()
    }


def _measured(values: Values, measures: Mapping[str, Measure]) -> Values:
    """The columns of a row, from the scores of the judge; NaN where these are."""
    means = {}
    for name, measure in measures.items():
        scores = [values[score] for score in measure.of] or [np.full(1, np.nan)]
        means[name] = np.ma.masked_invalid(scores).mean(0).filled(np.nan)
    return means


def _not_held_out(folders: Sequence[Path], actors: Sequence[Actor]) -> list[str]:
    """A sentence for each run that was trained on people of these names."""
    told = []
    for folder in folders:
        trained = set(configs.load(folder / "config.json").get("identities", ()))
        known = [actor.clip.persona for actor in actors if actor.clip.persona in trained]
        if known:
            told.append(
                f"{folder.resolve().name} was trained on people of these names, whom the protocol wants held out: "
                f"{', '.join(known)}."
            )
    return told


def table(summary: Summary) -> tuple[list[str], list[list[str]]]:
    """Heads and lines in the form of the thesis: a line for each method, those of the thesis last."""
    arrows = {"higher": "\u2191", "lower": "\u2193"}
    heads = ["", *(f"{score.title} {arrows[score.better]}" for score in summary.scores.values())]
    rows = {
        row: {name: measured.mean for name, measured in of_row.items()}
        for row, of_row in summary.overall.items()
    }
    lines = []
    for row, means in {**rows, **PUBLISHED}.items():
        cells = [score.text(means.get(name, np.nan)) for name, score in summary.scores.items()]
        lines.append([row, *cells])
    return heads, lines


def _for_terminal(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    first, *others = heads
    columns = [
        Column(head, justify="right", min_width=max(map(len, head.split()))) for head in others
    ]
    shown = Table(Column(first, no_wrap=True), *columns, box=SIMPLE_HEAD, padding=(0, 0, 0, 1))
    for line in lines:
        shown.add_row(*line)
    return shown
