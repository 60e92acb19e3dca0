"""What becomes of what others lend, step by step: is it read, may it be made, is it made?

    python -m experiments.benchmarks.lent --workdir runs/attribute [--first_persona 5990] [--people 6] [--frames 30]

For a run of MC-AAD whose networks read identities and expressions, and for puppets that it has never seen, each of whom
is lent those of the next one. Two tables:

- What the losses say of the untouched face, of what is made, and of the truth, which is what should be made: attributes
  as the encoder sees them, and distances of features from those that are lent. A loss that counts the truth for much
  more than what is made forbids it.
- How each measure of the lender's face, as its landmarks have it, is followed over time (correlations, mean over the
  pairs): in what is read off the lender, off the truth, and off what is made. What is lost between the first and the
  last was read and not made.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from jaxtyping import Float

from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.renderer import Frame
from data_pipelines.puppets.tracks import Cast, Take, truth
from experiments.benchmarks.measuring import print_table, silence_orbax
from faceswap_jax import config as configs
from faceswap_jax.faces import align
from faceswap_jax.faces.expression import MEASURES
from faceswap_jax.inference import trained
from faceswap_jax.losses import attributes
from faceswap_jax.losses.expression import correlations, from_rest
from faceswap_jax.pretrained.features import FEATURES
from faceswap_jax.tasks.registry import load_task

WORKDIR = flags.DEFINE_string("workdir", None, "Folder of the run.", required=True)
WORLD = flags.DEFINE_integer("world_seed", 7, "Of the puppets.")
FIRST = flags.DEFINE_integer("first_persona", 5_990, "Of those that the run has never seen.")
PEOPLE = flags.DEFINE_integer("people", 6, "How many there are.", lower_bound=2)
FRAMES = flags.DEFINE_integer("frames", 30, "Of each.", lower_bound=3)

TRACK = 9  # which no data have
RATE = 10.0
SIDE = 96  # of the frames, pixels

EXPRESSION = "expression"


class Lending:
    """A run in use, on crops as it cuts them."""

    def __init__(self, workdir: Path):
        self.generator = trained.load(workdir)
        self.networks = load_task(configs.load(workdir / "config.json")).networks
        self.read = jax.jit(self._read)
        self.encode = jax.jit(self._encode)
        self.lend = jax.jit(self._lend)

    def transform(self, frame: Frame) -> Float[np.ndarray, "2 3"]:
        """From a frame to the crop of its face."""
        side, alignment = self.generator.resolution, self.generator.alignment
        return align.alignment_transform(frame.landmarks, side, alignment)

    def cut(self, frames: Sequence[Frame], like: Sequence[Frame]) -> jax.Array:
        """Crops of frames in [0, 1], cut where the faces of others are."""
        side = self.generator.resolution
        pairs = zip(frames, like, strict=True)
        crops = [align.crop(frame.image, self.transform(other), side) for frame, other in pairs]
        return jnp.asarray(np.stack(crops)) / 255

    def landmarks(self, frames: Sequence[Frame]) -> jax.Array:
        """Of the faces in their crops."""
        points = [
            align.transform_points(frame.landmarks, self.transform(frame)) for frame in frames
        ]
        return jnp.asarray(np.stack(points), jnp.float32)

    def _read(self, images):
        return self.networks.read(self.generator.variables["features"], images)

    def _encode(self, images, landmarks):
        params = self.generator.variables["params"]
        return self.networks.encode(params, images, self.networks.mask(landmarks))

    def _lend(self, images, landmarks, features):
        """What is made of images, by the role in which they are lent a feature."""
        params = self.generator.variables["params"]
        maps, own = self._encode(images, landmarks), self._read(images)
        return {
            role: self.networks.generate(params, maps, {**own, role: feature}).images
            for role, feature in features.items()
        }


def main(_: Sequence[str]) -> None:
    silence_orbax()
    people = range(FIRST.value, FIRST.value + PEOPLE.value)
    _check_unknown(Path(WORKDIR.value), people)
    run = Lending(Path(WORKDIR.value))
    prices: dict[str, list[list[float]]] = {}
    followed: dict[str, list[np.ndarray]] = {}

    for target, lender in zip(people, [*people[1:], people[0]], strict=True):
        takes = [(Take(target, TRACK, k), Take(lender, TRACK, k)) for k in range(FRAMES.value)]
        shown = [_render(Cast.swap(target, own)) for own, _ in takes]
        lent = [_render(Cast.swap(lender, other)) for _, other in takes]
        truths = {
            "identity": [_render(Cast.attribute(lender, own)) for own, _ in takes],
            "expression": [_render(Cast.attribute(target, own, other)) for own, other in takes],
        }
        targets, landmarks = run.cut(shown, shown), run.landmarks(shown)
        maps, wanted = run.encode(targets, landmarks), run.read(run.cut(lent, lent))
        made = run.lend(targets, landmarks, wanted)
        right = {role: run.cut(truths[role], shown) for role in made}

        # What the losses say
        for role in made:
            images = {"untouched": targets, "made": made[role], "truth": right[role]}
            for name, each in images.items():
                unlike = attributes.unlike(maps, run.encode(each, landmarks))
                told = run.read(each)[role]
                distance = FEATURES[role].distance(told, wanted[role]).mean()
                row = [float(unlike), float(distance)]
                prices.setdefault(f"{role} lent, {name}", []).append(row)

        # Whether the expression is followed
        if EXPRESSION in made:
            told = {
                "lender": wanted[EXPRESSION],
                "truth": run.read(right[EXPRESSION])[EXPRESSION],
                "made": run.read(made[EXPRESSION])[EXPRESSION],
            }
            for name, each in told.items():
                found = np.asarray(correlations(each, _measures(lent)))
                followed.setdefault(name, []).append(found)

    rows = [[name, *_numbers(np.mean(values, 0), 3)] for name, values in prices.items()]
    print_table(["", "attributes", "feature"], rows, title="What the losses say", width=80)
    if followed:
        means = np.stack([np.nanmean(values, 0) for values in followed.values()], 1)
        rows = [[measure, *_numbers(row, 2)] for measure, row in zip(MEASURES, means, strict=True)]
        print_table(["read off", *followed], rows, title="The lender's, followed", width=80)


def _check_unknown(workdir: Path, people: Sequence[int]) -> None:
    """Ends the program if the run was trained on one of these puppets."""
    trained = configs.load(workdir / "config.json").identities
    clips = PuppetClips.regular(WORLD.value, people, [TRACK], frames=1, size=SIDE, rate=RATE).clips
    known = sorted({clip.name for clip in clips} & set(trained))
    if known:
        raise app.UsageError(
            f"{', '.join(known)} are trained on; name the first of others by --first_persona."
        )


def _render(cast: Cast) -> Frame:
    return truth(WORLD.value, cast, SIDE, RATE)


def _measures(frames: Sequence[Frame]) -> jax.Array:
    """What the faces do, as their landmarks have it."""
    landmarks, irises = zip(*((frame.landmarks, frame.irises) for frame in frames), strict=True)
    return from_rest(jnp.asarray(np.stack(landmarks)), jnp.asarray(np.stack(irises)))


def _numbers(values: Iterable[float], digits: int) -> list[str]:
    return [f"{value:.{digits}f}" for value in values]


if __name__ == "__main__":
    app.run(main)
