"""Adjustment vectors: what is added to latents to open a mouth, to raise a brow (US 12,277,738).

A vector belongs to the weights that its latents come from. It lies in the run's folder, `vectors/NAME.json`.
"""

import dataclasses
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from jaxtyping import Float

from faceswap_jax.errors import InputError
from faceswap_jax.files import is_partial, make_folder, read_versioned, write_json
from faceswap_jax.inference.generator import Generator

FOLDER = "vectors"
"""In the folder of a run."""

VERSION = 1
"""Of the file."""

Latents = Float[np.ndarray, "n latent"]
Groups = Sequence[str]


@dataclass(frozen=True)
class Key:
    """A key picture.

    Attributes:
        name: its file, or the persona, clip and frame of a record.
        sha256: of the file or the record.
    """

    name: str
    sha256: str


@dataclass(frozen=True)
class Vector:
    """An adjustment vector.

    Attributes:
        name: what users call it.
        trait: what it changes: how its positive keys were found, and its negative ones.
        parts: of the latents that it changes, by name.
        method: how it was made, one of `METHODS`.
        step: how many steps the generator was trained that it belongs to.
        digest: of the weights of that generator.
        positive: key pictures of weight 1.
        negative: key pictures of weight 0.
        values: what weight 1 adds to the latents; 0 outside the parts.
        reach: how far faces go that are known, from the least to the most, as multiples of the values that their
            latents hold.
    """

    name: str
    trait: str
    parts: Sequence[str]
    method: str
    step: int
    digest: str
    positive: Sequence[Key]
    negative: Sequence[Key]
    values: Sequence[float]
    reach: tuple[float, float]

    def save(self, workdir: Path) -> Path:
        """Writes it into the folder of a run, and returns the file."""
        path = path_of(workdir, self.name)
        make_folder(path.parent)
        write_json(path, {"version": VERSION} | dataclasses.asdict(self))
        return path

    @classmethod
    def load(cls, workdir: Path, name: str) -> Self:
        """The vector of that name in the folder of a run.

        Raises:
            InputError: there is none, or its file is damaged or newer than this program.
        """
        path = path_of(workdir, name)
        files = path.parent.glob("*.json")
        known = sorted(other.stem for other in files if not is_partial(other))
        if name not in known:
            there = f"there are {', '.join(known)}" if known else "there is none yet"
            raise InputError(
                f"'{workdir}' has no vector '{name}', {there}; 'faceswap vector' makes them."
            )
        try:
            content = read_versioned(path, VERSION)
            for side in ("positive", "negative"):
                content[side] = [Key(**key) for key in content[side]]
            numbers = [*content["values"], *content["reach"]]
            if not np.isfinite(np.array(numbers, np.float32)).all():
                raise ValueError("a value is no number")
            content["reach"] = tuple(content["reach"])
            return cls(**content)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"{path} is damaged ({error!r}); make the vector again with 'faceswap vector'."
            ) from error

    def amounts(self, z: Latents) -> Float[np.ndarray, "n"]:
        """How many times the vector's values are in latents."""
        values = np.array(self.values)
        return z @ values / (values @ values)

    def possible(self, z: Latents, weight: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
        """The weights as far as they lead no face beyond what is known: further decoders make no faces.

        Args:
            z: latents that are edited.
            weight: for each of them.
        """
        least, most = self.reach
        amounts = self.amounts(z)
        # A face that is beyond already may stay.
        return np.clip(weight, np.minimum(least - amounts, 0), np.maximum(most - amounts, 0))

    def check(self, generator: Generator) -> None:
        """Raises InputError unless the vector was made with the generator's weights."""
        if self.digest != generator.digest:
            raise InputError(
                f"The vector '{self.name}' was made with the weights of step {self.step}, which are others than those "
                f"of step {generator.step} here; make it again with 'faceswap vector', or choose its checkpoint by "
                "--step."
            )
        if np.shape(self.values) != (latent_length(generator),):
            raise InputError(
                f"The vector '{self.name}' is as long as no latents of this model; make it again with 'faceswap "
                "vector'."
            )


def latent_length(generator: Generator) -> int:
    """Length of the latents of a generator that has some."""
    return max(part.stop for part in generator.parts.values())


def path_of(workdir: Path, name: str) -> Path:
    """Where a vector lies in the folder of a run.

    Raises:
        InputError: the name is no name of a file.
    """
    if not re.fullmatch(r"\w[\w.-]*", name):
        raise InputError(f"'{name}' cannot be the name of a vector; choose letters and digits.")
    return workdir / FOLDER / f"{name}.json"


def where(parts: Sequence[str], generator: Generator) -> Float[np.ndarray, "latent"]:
    """1 in the dimensions of some parts of the latents, 0 elsewhere.

    Raises:
        InputError: the generator has no such part, or no latents to edit.
    """
    if not generator.parts:
        raise InputError("This model has no latents that can be edited; give another --workdir.")
    inside = np.zeros(latent_length(generator), np.float32)
    for name in parts:
        if name not in generator.parts:
            raise InputError(
                f"This model has no part '{name}'; choose of {', '.join(generator.parts)}."
            )
        inside[generator.parts[name]] = 1
    return inside


def mean_difference(
    positive: Latents, negative: Latents, groups: tuple[Groups, Groups]
) -> Float[np.ndarray, "latent"]:
    """Mean of the positive latents minus that of the negative ones, within each group.

    A group with more keys on both sides counts more; one with keys on one side alone says nothing: what tells people
    apart would get into the vector.

    Args:
        positive: latents of key pictures.
        negative: of the others.
        groups: to which group each of the positive keys belongs, and each of the negative ones. Each has keys on both
            sides.
    """
    differences = []
    weights = []
    for of_positive, of_negative in _members(groups):
        differences.append(positive[of_positive].mean(0) - negative[of_negative].mean(0))
        weights.append(min(of_positive.sum(), of_negative.sum()))
    return np.average(differences, axis=0, weights=weights)


def first_component(
    positive: Latents, negative: Latents, groups: tuple[Groups, Groups]
) -> Float[np.ndarray, "latent"]:
    """First principal component of the latents about the middle of their group, from the negative to the positive.

    As long as the distance of the two sides' means along it, so that weights mean the same as those of the mean
    difference. Arguments as there.
    """
    centred = []
    for of_positive, of_negative in _members(groups):
        sides = positive[of_positive], negative[of_negative]
        middle = (sides[0].mean(0) + sides[1].mean(0)) / 2
        centred += [side - middle for side in sides]
    _, _, axes = np.linalg.svd(np.concatenate(centred), full_matrices=False)
    return axes[0] * (axes[0] @ mean_difference(positive, negative, groups))


def _members(groups: tuple[Groups, Groups]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Which keys, positive and negative, are of each group."""
    of_positive, of_negative = map(np.array, groups)
    return [(of_positive == name, of_negative == name) for name in sorted(set(groups[0]))]


METHODS = {"mean": mean_difference, "pca": first_component}
"""How vectors are made of the latents of keys."""
