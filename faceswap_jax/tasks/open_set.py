"""Tasks that learn from some people and are judged by others, whom they have never seen."""

import abc
import re
from collections.abc import Mapping, Sequence

import grain
import ml_collections

from data_pipelines import datasets
from data_pipelines.batches.augmentation import Augmentation
from data_pipelines.sources import PersonaSource
from faceswap_jax.config import at_least, inside, one_of
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align
from faceswap_jax.tasks.base import FaceTask, Phase, with_data

DEMANDS = {
    "seed": at_least(0),
    "alignment": one_of(*align.ALIGNMENTS),
    "batch": at_least(1),
    "data.test": at_least(1),
    "data.held_out": inside(0, 1),
}
"""What values of every config must be; see `faceswap_jax.config.check`."""


class OpenSetTask(FaceTask):
    """A task whose `config.identities` are those that it is trained on; all others of the data are held out.

    A subclass says what a batch of some identities is.
    """

    @abc.abstractmethod
    def batches_of(
        self, identities: Sequence[PersonaSource], phase: Phase, trained: bool, **options
    ) -> grain.MapDataset:
        """Batches of some identities.

        Args:
            identities: whose records these are.
            phase: of the run.
            trained: whether they are trained on, or scored.
            **options: of `data_pipelines.batches.assembly.batches`: size, seed, host, augmentation.
        """

    @property
    def augmentation(self) -> Augmentation:
        """Random changes of what is trained on."""
        return Augmentation(mirror=self.config.data.mirror)

    @property
    def held_out(self) -> list[PersonaSource]:
        """The identities with images that are never trained on."""
        known = set(self.config.identities)
        names = sorted(self.data.keys() - known, key=_with_numbers)
        return [self.data[name] for name in names if len(self.data[name])]

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Batches of the training identities."""
        c = self.config
        return self.batches_of(
            [self.data[name] for name in c.identities],
            phase,
            trained=True,
            batch=c.batch,
            seed=c.seed,
            host=host,
            hosts=hosts,
            augmentation=self.augmentation,
        )

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Batches of the others, as they are."""
        return self.batches_of(
            self.held_out,
            phase,
            trained=False,
            batch=self.config.data.test,
            seed=0,
            host=host,
            hosts=hosts,
        )


def with_identities(
    config: ml_collections.ConfigDict, least: int = 1, group: int = 1
) -> ml_collections.ConfigDict:
    """The config with the identities to train on, as `trained_identities` tells them, and as `with_data` leaves it."""
    data = datasets.open_data(config.data)
    identities = trained_identities(data, config.data.held_out, least, group)
    return with_data(config, identities=identities)


def trained_identities(
    data: Mapping[str, PersonaSource], held_out: float, least: int = 1, group: int = 1
) -> tuple[str, ...]:
    """Names of the identities to train on; the last ones are held out, at least two of each.

    Numbers in names count as such: puppet999 is before puppet1000.

    Args:
        data: records of each identity.
        held_out: fraction of the identities that is never trained on.
        least: records that an identity needs to be trained on.
        group: so many neighbours belong together.

    Raises:
        InputError: there are too few.
    """
    names = [name for name, source in data.items() if len(source) >= least]
    names.sort(key=_with_numbers)
    trained = len(names) - max(round(held_out * len(names)), 2)
    trained -= trained % group
    if trained < 2:
        pictures = "pictures" if least == 1 else f"{least} pictures or more"
        raise InputError(
            f"The data have {len(names)} identities with {pictures}, but two to train on and two to hold out are "
            "needed; add more."
        )
    return tuple(names[:trained])


def _with_numbers(name: str) -> list[str | int]:
    """What names are sorted by: texts and numbers by turns."""
    parts = re.split(r"([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)]
