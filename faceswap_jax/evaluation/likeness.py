"""What a comparison of two faces says: verdicts, tables, files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from faceswap_jax.editing.control import ANGLES
from faceswap_jax.evaluation import expression
from faceswap_jax.evaluation.clip_world import FOLLOWING
from faceswap_jax.evaluation.pairing import Pair
from faceswap_jax.evaluation.report import Score, Values, markdown, without_nan
from faceswap_jax.faces import people
from faceswap_jax.faces.embedding import DLIB_SAME
from faceswap_jax.files import write_json

TOLD = 5  # blendshapes in the table, those that differ most

_PIXELS: Mapping[str, Score] = {
    "psnr": Score("PSNR of the {} (dB)", "higher", range=(0, 100)),
    "ssim": Score("SSIM of the {}", "higher", 3, (-1, 1)),
    "ms_ssim": Score("MS-SSIM of the {}", "higher", 3, (0, 1)),
    "sharpness": Score("sharpness of the {}, B over A", "1"),
}

SIMILARITY: Mapping[str, Score] = {
    f"{place} {name}": replace(score, title=score.title.format(place))
    for place in ("face", "frame")
    for name, score in _PIXELS.items()
}
"""How alike the pixels are, of aligned faces and of whole frames."""

SCORES: Mapping[str, Score] = {
    "cosine by SFace": Score("cosine by SFace", "higher", 3, (-1, 1)),
    "cosine by dlib": Score("cosine by dlib", "higher", 3, (-1, 1)),
    "distance by dlib": Score("distance by dlib", "lower", 3),
    **FOLLOWING,
    **{angle: Score(f"{angle} difference (deg)", "lower") for angle in ANGLES},
    **SIMILARITY,
}
"""What is measured of B against A: whose face it is, what it does, how it looks."""


class Verdict(NamedTuple):
    """What a judge of identity says.

    Attributes:
        judge: its name.
        same: whether it takes both for one person.
        reason: the mean that it goes by, and the published threshold.
    """

    judge: str
    same: bool
    reason: str


class Signal(NamedTuple):
    """What both do: an angle of the head in degrees, or a blendshape.

    Attributes:
        a: its mean in A.
        b: its mean in B.
        difference: the mean of the absolute differences.
    """

    a: float
    b: float
    difference: float


@dataclass(frozen=True)
class Likeness:
    """What was measured.

    Attributes:
        a: picture or clip.
        b: the other one.
        pairs: the frames that were compared.
        values: of each of `SCORES`, its value in every pair, or once for a clip.
        signals: angles, then blendshapes, by name.
    """

    a: Path
    b: Path
    pairs: Sequence[Pair]
    values: Values
    signals: Mapping[str, Signal]

    @property
    def verdicts(self) -> list[Verdict]:
        """Whether both show one person, by each judge of whom a threshold is published."""
        cosine = mean_of(self.values["cosine by SFace"])
        distance = mean_of(self.values["distance by dlib"])
        return [
            Verdict(
                "SFace",
                cosine >= people.ALIKE,
                f"cosine {cosine:.3f}, one person from {people.ALIKE} on",
            ),
            Verdict(
                "dlib",
                distance < DLIB_SAME,
                f"distance {distance:.3f}, one person below {DLIB_SAME}",
            ),
        ]

    def save(self, folder: Path) -> None:
        """Writes scores.json with all digits (null where a number is not defined), and scores.md for people."""
        measured = {
            name: {"title": score.title, **_spread(self.values[name])}
            for name, score in SCORES.items()
        }
        content = {
            "a": str(self.a),
            "b": str(self.b),
            "pairs": len(self.pairs),
            "seconds": [self.pairs[0].time, self.pairs[-1].time],
            "same_person": {verdict.judge: verdict.same for verdict in self.verdicts},
            "scores": measured,
            "signals": {name: signal._asdict() for name, signal in self.signals.items()},
        }
        write_json(folder / "scores.json", without_nan(content))

        sections = ["# A and B compared", f"A: {self.a}\\\nB: {self.b}", *self.sentences()]
        sections += [markdown(*table) for table in self.tables()]
        (folder / "scores.md").write_text("\n\n".join(sections) + "\n", encoding="utf-8")

    def sentences(self) -> list[str]:
        """Whether both show one person."""
        called = {True: "the same person", False: "two people"}
        return [f"{judge}: {called[same]} ({reason})" for judge, same, reason in self.verdicts]

    def tables(self) -> list[tuple[list[str], list[list[str]]]]:
        """Heads and lines of the scores that are defined, and of what both do where that differs most."""
        columns = ["mean", "least", "most"] if len(self.pairs) > 1 else ["mean"]
        lines = []
        for name, score in SCORES.items():
            spread = _spread(self.values[name])
            if np.isfinite(spread["mean"]):
                cells = [score.text(spread[column]) for column in columns]
                # What is told once for a clip has no range.
                if len(self.values[name]) == 1:
                    cells[1:] = [""] * len(cells[1:])
                lines.append([score.title, score.better, *cells])
        # Of one pair there is no mean.
        heads = ["score", "better", *(columns if len(columns) > 1 else ["value"])]

        deeds = []
        for name in self._told():
            signal = self.signals[name]
            unit, digits = (" (deg)", 1) if name in ANGLES else ("", 2)
            deeds.append([name + unit, *(f"{value:.{digits}f}" for value in signal)])
        return [(heads, lines), (["what it does", "A", "B", "difference"], deeds)]

    def _told(self) -> list[str]:
        """The angles, and those blendshapes that differ most, if they do."""
        shapes = [name for name in self.signals if name not in ANGLES]
        # What is not known does not differ.
        differing = [name for name in shapes if self.signals[name].difference > expression.STILL]
        differing.sort(key=lambda name: -self.signals[name].difference)
        return [*ANGLES, *differing[:TOLD]]


def _spread(values: Float[np.ndarray, "n"]) -> dict[str, float]:
    """The mean, the least and the most of what is defined; NaN of nothing."""
    defined = values[np.isfinite(values)]
    if not len(defined):
        return dict.fromkeys(("mean", "least", "most"), np.nan)
    return {
        "mean": float(defined.mean()),
        "least": float(defined.min()),
        "most": float(defined.max()),
    }


def mean_of(values: Float[np.ndarray, "n"]) -> float:
    """The mean of what is defined; NaN of nothing."""
    return _spread(values)["mean"]
