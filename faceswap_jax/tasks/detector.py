"""Whether a face is real or was made by one of some systems; and whether that tells fakes of other systems.

It learns from some people and is judged by others, real and fake. The network is the discriminator of the GANs here,
and an image's verdict is the mean of those on its patches: above 0 it counts as real.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property

import grain
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Bool, Float, PRNGKeyArray, PyTree, UInt8

from data_pipelines import datasets
from data_pipelines.batches.assembly import batches
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.batches.described import Described
from data_pipelines.batches.roles import Identities
from data_pipelines.sources import PersonaSource
from faceswap_jax.config import Demand, at_least, check, multiple, one_of, positive
from faceswap_jax.errors import InputError
from faceswap_jax.losses import adversarial
from faceswap_jax.losses.measures import roc_area
from faceswap_jax.models import discriminator
from faceswap_jax.ops import augmentation, optimizers, precision, schedules
from faceswap_jax.state import State
from faceswap_jax.tasks.base import (
    Batch,
    Evaluator,
    Metrics,
    Phase,
    Preview,
    Step,
    mean_of,
    with_data,
)
from faceswap_jax.tasks.open_set import DEMANDS, OpenSetTask, trained_identities

LOSS = adversarial.ADVERSARIES["cross_entropy"].discriminator

PREVIEW_COLUMNS = 8
BAR = 1 / 12
"""Height of the bar that shows a verdict, in image heights."""
GREEN, RED = (0.1, 0.8, 0.2), (0.9, 0.1, 0.1)

Images = Float[Array, "b r r 3"]


class Task(OpenSetTask):
    """One phase. A batch is "real" images and, of each system, as many "fakes"."""

    def __init__(self, config: ml_collections.ConfigDict):
        super().__init__(config)
        _check(config)
        model = config.model
        self.model = discriminator.DiscriminatorConfig(
            channels=discriminator.channels_of(model.halvings, model.width),
            scales=model.scales,
            dtype=precision.dtype(config.precision),
        )
        self.phases = [Phase(f"{config.resolution} px", 0, config.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the people to train on from the real faces; the last ones are held out, and their fakes with them.

        Raises:
            InputError: a value makes no sense, or data are missing or without fakes of people that are trained on, or
                of others.
        """
        _check(config)
        identities = trained_identities(datasets.open_data(config.data), config.data.held_out)
        for name, fakes in _open_fakes(config).items():
            _check_people(name, fakes, identities, name in config.trained_on)

        config = config.copy_and_resolve_references()
        config.data.manifest = config.data.manifest or _digests(config)
        return with_data(config, identities=identities)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights."""
        params = discriminator.init(self.model, key)
        opt = optimizers.init(optimizers.ADAM, params)
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=opt)

    def steps(self, phase: Phase) -> Mapping[str, Step]:
        """There is one step."""
        return {"train": self._train_step}

    def _train_step(self, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on the cross entropy of all patches; "accuracy" is that of the images of the batch."""
        c = self.config
        key = jax.random.fold_in(state.key, state.step)
        real_key, *fake_keys = jax.random.split(key, 1 + len(batch["fakes"]))
        real = self._network_input(real_key, batch["real"])
        fakes = [
            self._network_input(key, images)
            for key, images in zip(fake_keys, batch["fakes"].values(), strict=True)
        ]

        # One after the other: to join them would move images between devices.
        def loss(params):
            of_real = discriminator.apply(self.model, params, real)
            of_fakes = [discriminator.apply(self.model, params, fake) for fake in fakes]
            losses = [adversarial.mean(LOSS, of_real, of_fake) for of_fake in of_fakes]
            accuracies = [
                _accuracy(adversarial.of_images(of_real), adversarial.of_images(of_fake))
                for of_fake in of_fakes
            ]
            return jnp.stack(losses).mean(), jnp.stack(accuracies).mean()

        # Update step
        gradient = jax.value_and_grad(loss, has_aux=True)
        (value, accuracy), gradients = gradient(state.params)
        rate = schedules.warm_up_cosine(state.step, c.learning_rate, c.warm_up, c.steps)
        params, opt = optimizers.apply(optimizers.ADAM, gradients, state.opt, state.params, rate)

        metrics = {"loss": value, "accuracy": accuracy, "learning_rate": rate}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _network_input(self, key: PRNGKeyArray, batch: Batch) -> Images:
        """What training shows of a batch: soft and in other light, so that neither tells."""
        c = self.config
        blur_key, light_key = jax.random.split(key)
        x = precision.from_bytes(batch["image"])
        x = augmentation.photometric(light_key, x, c.augment)
        return augmentation.blurred(blur_key, x, c.blur * c.resolution)

    # Held-out people

    def evaluators(self, phase: Phase) -> Sequence[Evaluator]:
        """How well people never seen are told from the fakes of each system."""
        return (mean_of(self._scores),)

    def _scores(self, state: State, batch: Batch) -> Metrics:
        """Of real faces, "real": the fraction that counts as real.

        Of each system, "accuracy": the mean of that and of the fraction of its fakes that counts as fake; "area": how
        often a real face has a higher verdict than a fake one, whatever the threshold. 0.5 is chance in both.
        """
        real = self.verdicts(state.params, batch["real"]["image"])
        metrics = {"real": _is_real(real).mean()}
        for name, images in batch["fakes"].items():
            fake = self.verdicts(state.params, images["image"])
            scores = jnp.concatenate([real, fake])
            of_real = jnp.arange(len(scores)) < len(real)
            metrics[f"{name}/accuracy"] = _accuracy(real, fake)
            metrics[f"{name}/area"] = roc_area(scores, of_real, ~of_real)
        return metrics

    def verdicts(
        self, params: Mapping[str, PyTree], images: UInt8[Array, "b r r 3"]
    ) -> Float[Array, "b"]:
        """The verdict on each image as it is: the higher, the more real."""
        x = precision.from_bytes(images)
        return adversarial.of_images(discriminator.apply(self.model, params, x))

    def preview(self, phase: Phase) -> Preview:
        """Held-out faces, from those that look most fake to those that look most real.

        The green part of the bar below a face is the probability that it is real.
        """
        rows = ["real"]
        for name, _ in _systems(self.config):
            learned = "learned" if name in self.config.trained_on else "never learned"
            rows.append(f"fake: {name}, {learned}")
        columns = ("looks most fake", *[""] * (PREVIEW_COLUMNS - 2), "looks most real")
        return Preview(self._preview, rows, columns)

    def _preview(self, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        rows = []
        for images in (batch["real"], *batch["fakes"].values()):
            verdicts = self.verdicts(state.params, images["image"])
            places = jnp.linspace(0, len(verdicts) - 1, PREVIEW_COLUMNS).round().astype(int)
            shown = jnp.argsort(verdicts)[places]
            faces = precision.from_bytes(images["image"][shown])
            rows.append(_with_bars(faces, jax.nn.sigmoid(verdicts[shown])))
        return jnp.stack(rows)

    # Data

    @cached_property
    def fakes(self) -> Mapping[str, Sequence[PersonaSource]]:
        """The fakes of each system, of everybody.

        Raises:
            InputError: a folder holds no sound data set, or its images are too small.
        """
        fakes = _open_fakes(self.config)
        for name, sources in fakes.items():
            _check_size(name, sources, self.config.resolution)
        return fakes

    def data_summary(self) -> str:
        """How many images there are, real and of each system."""
        counts = [
            f"{sum(map(len, sources)):,} fakes of {name}" for name, sources in self.fakes.items()
        ]
        return ", ".join([super().data_summary(), *counts])

    @property
    def corrupt(self) -> int:
        """Number of corrupt records that were met and skipped so far, real and fake."""
        sources = (source for of_system in self.fakes.values() for source in of_system)
        return super().corrupt + sum(len(source.corrupt) for source in sources)

    @property
    def augmentation(self) -> Augmentation:
        """See `OpenSetTask`."""
        return Augmentation(mirror=True, **self.config.data.jitter)

    def batches_of(self, identities, phase, trained, **options) -> grain.MapDataset:
        """Real images of them, and fakes: of the same people if they are trained on, of all others if not."""
        known = set(self.config.identities)
        systems = self.config.trained_on if trained else self.fakes

        def images(sources: Sequence[PersonaSource]) -> grain.MapDataset:
            return batches(
                sources,
                Identities(),
                fields=("image", "record"),
                alignment=self.config.alignment,
                resolution=self.config.resolution,
                **options,
            )

        # Systems count alike, however many people each shows.
        fakes = {
            name: images(
                [source for source in self.fakes[name] if (source.name in known) == trained]
            )
            for name in systems
        }
        return _side_by_side({"real": images(identities), "fakes": _side_by_side(fakes)})


# Verdicts


def _is_real(verdicts: Float[Array, "b"]) -> Bool[Array, "b"]:
    return verdicts > 0


def _accuracy(real: Float[Array, "b"], fake: Float[Array, "b"]) -> Float[Array, ""]:
    """Fraction of right verdicts, as if there were as many real images as fake ones."""
    return (_is_real(real).mean() + (~_is_real(fake)).mean()) / 2


def _with_bars(images: Images, probabilities: Float[Array, "b"]) -> Images:
    """A bar over the foot of each image, whose left part is green up to its probability."""
    height, width = images.shape[1:3]
    foot = jnp.arange(height) >= height - max(1, round(BAR * height))
    filled = jnp.arange(width) < probabilities[:, None] * width
    bars = jnp.where(filled[:, None, :, None], jnp.array(GREEN), jnp.array(RED))
    return jnp.where(foot[:, None, None], bars, images)


# Data sets


def _systems(config: ml_collections.ConfigDict) -> Iterator[tuple[str, Sequence[str]]]:
    """The systems that have fakes, and the folders of these."""
    for name, folders in sorted(config.fakes.items()):
        if folders:
            yield name, folders


def _of_fakes(config: ml_collections.ConfigDict, folder: str) -> ml_collections.ConfigDict:
    """What `config.data` would be for a folder of fakes: they are stored as the real faces are."""
    data = config.data.copy_and_resolve_references()
    data.path = folder
    return data


def _open_fakes(config: ml_collections.ConfigDict) -> dict[str, list[PersonaSource]]:
    """Everybody's fakes, by system.

    Raises:
        InputError: a folder holds no sound data set.
    """
    fakes = {}
    for name, folders in _systems(config):
        fakes[name] = []
        for folder in folders:
            opened = datasets.open_data(_of_fakes(config, folder))
            fakes[name] += [source for source in opened.values() if len(source)]
    return fakes


def _check_size(name: str, fakes: Sequence[PersonaSource], resolution: int) -> None:
    least = min(source.resolution for source in fakes)
    if least < resolution:
        raise InputError(
            f"config.fakes.{name} has images of {least} px, but {resolution} px are wanted; make them with "
            f"--resolution {resolution}, or train at config.resolution={least}."
        )


def _check_people(
    name: str, fakes: Sequence[PersonaSource], identities: Sequence[str], learned: bool
) -> None:
    """Raises InputError unless fakes show somebody who is held out and, to be learned, somebody trained on."""
    folders = f"config.fakes.{name}"
    shown = {source.name for source in fakes}
    if learned and shown.isdisjoint(identities):
        raise InputError(
            f"{folders} has no fakes of people who are trained on, such as {identities[0]}; name its personas as those "
            "of config.data.path, whose first ones these are."
        )
    if shown.issubset(identities):
        raise InputError(
            f"{folders} has no fakes of people who are held out, whom config.data.path names last; add some, or raise "
            "config.data.held_out."
        )


def _digests(config: ml_collections.ConfigDict) -> str:
    """The digests of all manifests; "" if there are none."""
    data = [_of_fakes(config, folder) for _, folders in _systems(config) for folder in folders]
    return "-".join(filter(None, map(datasets.manifest_digest, [config.data, *data])))


def _side_by_side(parts: Mapping[str, grain.MapDataset]) -> grain.MapDataset:
    """A data set whose elements have those of several, by name."""

    def named(elements: tuple) -> dict:
        return dict(zip(parts, elements, strict=True))

    together = grain.experimental.ZipMapDataset(list(parts.values()))
    return together.map(Described(named, named))


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    demands = DEMANDS | {
        "warm_up": at_least(0),
        "steps": at_least(config.warm_up + 1),
        "blur": at_least(0),
        "learning_rate": positive(),
        "data.kind": one_of("tracks", "tfds", "blank"),
        "model.halvings": at_least(1),
        "model.scales": at_least(1),
        "model.width": positive(),
    }
    folders = Demand(lambda value: not isinstance(value, str), "give a tuple of folders")
    demands |= {f"fakes.{name}": folders for name in config.fakes}
    check(config, demands)

    unit = 2 ** (config.model.halvings + config.model.scales - 1)
    there = [name for name, _ in _systems(config)]
    learned = Demand(
        lambda names: names and set(names) <= set(there),
        f"name one or more of those of config.fakes that have a folder: {', '.join(there) or 'none has'}",
    )
    check(config, {"resolution": multiple(unit), "trained_on": learned})
