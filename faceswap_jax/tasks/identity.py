"""The face embedder: pictures of one person to near directions, of two people to distant ones (ArcFace, 2019).

It learns to tell the training identities apart; what it is for, and measured on, are identities that it has never seen.
`faceswap_jax/embedder.py` uses the finished network.
"""

from dataclasses import replace
from functools import reduce

import grain
import jax
import jax.numpy as jnp
import ml_collections
import optax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from data_pipelines import sources
from data_pipelines.batches import pipeline
from faceswap_jax.errors import InputError
from faceswap_jax.losses import arcface
from faceswap_jax.models import iresnet
from faceswap_jax.ops import augmentation as augment
from faceswap_jax.ops import optimizers as optim
from faceswap_jax.ops import precision
from faceswap_jax.ops.masks import masked
from faceswap_jax.pretrained import embedder
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, FaceTask, Metrics, Phase, with_data

PREVIEW_COLUMNS = 8


class Task(FaceTask):
    """One phase; batches are those of `pipeline.identity_batches`."""

    batch_spec = PartitionSpec("data")
    smaller = "lower config.batch"

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config
        _check(config)
        c = config.model
        self.model = iresnet.IResNetConfig(
            tuple(c.blocks),
            tuple(c.channels),
            c.stem,
            c.embedding,
            c.side,
            precision.dtype(config.precision),
        )
        self.optimizer = optax.chain(
            optax.add_decayed_weights(config.weight_decay), optax.trace(config.momentum)
        )
        self.phases = [Phase(f"{config.resolution} px", 0, config.steps, stage=0)]

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the identities to train on from the data; the last ones are held out."""
        _check(config)
        names = [name for name, source in datasets.open_data(config.data).items() if len(source)]
        trained = len(names) - max(round(config.data.held_out * len(names)), 2)
        if trained < 2:
            raise InputError(
                f"The data have {len(names)} identities with pictures, but two to train on and two to hold out are "
                "needed; add more."
            )
        return with_data(config, identities=tuple(names[:trained]))

    def learning_rate(self, step: Int[Array, ""]) -> Float[Array, ""]:
        """Rises over `warm_up` steps, then falls to zero along a cosine."""
        c = self.config
        return optax.warmup_cosine_decay_schedule(0.0, c.learning_rate, c.warm_up, c.steps)(step)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights and centres."""
        keys = jax.random.split(key)
        weights, statistics = iresnet.init(self.model, keys[0])
        shape = len(self.config.identities), self.model.embedding
        params = {
            "embedder": weights,
            "head": {"centres": 0.01 * jax.random.normal(keys[1], shape)},
        }
        return State(
            step=jnp.int32(phase.start),
            key=key,
            params=params,
            opt=optim.init(self.optimizer, params),
            extras={"statistics": statistics},
        )

    def frozen(self) -> dict:
        """There are no frozen networks."""
        return {}

    def enter(self, phase: Phase, state: State) -> State:
        """There is one phase."""
        return state

    def _seen(self, key: PRNGKeyArray, batch: Batch) -> Float[Array, "b s s 3"]:
        """What training sees of a batch: soft and in other light, whole or the face alone."""
        c, keys = self.config, jax.random.split(key, 3)
        x, mask = _pictures(batch)
        x = augment.blurred(
            keys[0], augment.photometric(keys[1], x, c.augment), c.blur * c.resolution
        )
        alone = jax.random.uniform(keys[2], (len(x), 1, 1)) < c.face_alone
        return embedder.view(masked(x, jnp.where(alone, mask, 1.0)), c.model.side)

    def train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update; "accuracy" is the share of pictures that are nearest to the centre of their identity."""
        c = self.config
        x = self._seen(jax.random.fold_in(state.key, state.step), batch)

        def loss(params):
            embeddings, statistics = iresnet.apply(
                self.model, params["embedder"], state.extras["statistics"], x, train=True
            )
            cosine = arcface.cosines(embeddings, params["head"]["centres"])
            losses = arcface.arcface(cosine, batch["identity"], c.loss.scale, c.loss.margin)
            return losses.mean(), (statistics, (cosine.argmax(1) == batch["identity"]).mean())

        (value, (statistics, accuracy)), gradients = jax.value_and_grad(loss, has_aux=True)(
            state.params
        )
        learning_rate = self.learning_rate(state.step)
        params, opt = optim.apply(self.optimizer, gradients, state.opt, state.params, learning_rate)
        metrics = {"loss": value, "accuracy": accuracy, "learning_rate": learning_rate}
        extras = state.extras | {"statistics": statistics}
        return replace(state, step=state.step + 1, params=params, opt=opt, extras=extras), metrics

    def eval_step(self, phase: Phase, state: State, batch: Batch) -> Metrics:
        """Held-out identities, of the "face" alone and of the "picture".

        Of all pairs of pictures: the mean cosines of the "same" and of "different" persons, and the "area" under the
        ROC curve. `experiments/benchmarks/identity.py` measures by a protocol.
        """
        x, face = _pictures(batch)
        identity, upper = batch["identity"], jnp.triu(jnp.ones((len(x), len(x)), bool), 1)
        same = upper & (identity[:, None] == identity)
        different = upper & ~same
        metrics = {}
        for way, mask in (("face", face), ("picture", jnp.ones_like(face))):
            statistics = state.extras["statistics"]
            embeddings = embedder.embed(self.model, state.params["embedder"], statistics, x, mask)
            cosine = arcface.cosines(embeddings, embeddings)
            metrics[f"{way}/same"], metrics[f"{way}/different"] = (
                (cosine * kind).sum() / kind.sum() for kind in (same, different)
            )
            metrics[f"{way}/area"] = _area(cosine, same, different)
        return metrics

    def preview(
        self, phase: Phase, state: State, batch: Batch
    ) -> Float[Array, "rows columns h w 3"]:
        """What the network sees of held-out faces. Rows: whole, the face alone, and as training would show them."""
        some = jax.tree.map(lambda a: a[:PREVIEW_COLUMNS], batch)
        x, mask = _pictures(some)
        seen = (embedder.view(p, self.model.side) for p in (x, masked(x, mask)))
        return jnp.stack([*seen, self._seen(jax.random.fold_in(state.key, state.step), some)])

    @property
    def held_out(self) -> list[sources.PersonaSource]:
        """The identities that are never trained on."""
        trained = set(self.config.identities)
        return [source for name, source in self.data.items() if name not in trained and len(source)]

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Pictures of the training identities."""
        c = self.config
        jitter = pipeline.Jitter(**c.data.jitter)
        identities = [self.data[name] for name in c.identities]
        return pipeline.identity_batches(
            identities,
            resolution=c.resolution,
            batch=c.batch,
            seed=c.seed,
            host=host,
            hosts=hosts,
            jitter=jitter,
        )

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Pictures of the others, as they are."""
        c = self.config
        return pipeline.identity_batches(
            self.held_out,
            resolution=c.resolution,
            batch=c.data.test,
            seed=0,
            host=host,
            hosts=hosts,
            mirror=False,
        )


def _pictures(batch: Batch) -> tuple[Float[Array, "b h w 3"], Float[Array, "b h w"]]:
    return batch["image"].astype(jnp.float32) / 255, batch["mask"].astype(jnp.float32) / 255


def _area(
    scores: Float[Array, "b b"], same: Bool[Array, "b b"], different: Bool[Array, "b b"]
) -> Float[Array, ""]:
    """Area under the ROC curve: how often one of `same` scores above one of `different`."""
    order = jnp.argsort(scores.ravel())
    below = jnp.cumsum(different.ravel()[order])  # of the different
    return (below * same.ravel()[order] / different.sum()).sum() / same.sum()


def _check(config: ml_collections.ConfigDict) -> None:
    """Raises InputError for values that make no network or no training."""
    c, stages = config, len(config.model.blocks)
    at_least = {
        "seed": 0,
        "batch": 2,
        "warm_up": 0,
        "steps": c.warm_up + 1,
        "blur": 0,
        "weight_decay": 0,
    }
    at_least |= {
        "data.test": 2,
        "model.stem": 1,
        "model.embedding": 1,
        "model.side": 1,
        "resolution": 1,
    }
    positive = "give a positive number"
    demands = {
        "data.held_out": (0 < c.data.held_out < 1, "give a share between 0 and 1"),
        "face_alone": (0 <= c.face_alone <= 1, "give a share, 0 to 1"),
        "momentum": (0 <= c.momentum < 1, "give 0 or more, and less than 1"),
        "learning_rate": (c.learning_rate > 0, positive),
        "loss.scale": (c.loss.scale > 0, positive),
        "loss.margin": (0 <= c.loss.margin < 1.57, "give an angle of 0 to 1.57 radians"),
        "model.blocks": (
            stages >= 1 and min(c.model.blocks) >= 1,
            "give the number of blocks of each stage",
        ),
        "model.channels": (
            len(c.model.channels) == stages and min(c.model.channels) >= 1,
            "give a number for each of config.model.blocks",
        ),
        "model.side": (c.model.side % 2**stages == 0, f"give a multiple of {2**stages}"),
    }
    values = {name: reduce(getattr, name.split("."), config) for name in (*at_least, *demands)}
    demands |= {
        name: (values[name] >= least, f"give {least} or more")
        for name, least in at_least.items()
        if name not in demands
    }
    for name, (met, remedy) in demands.items():
        if not met:
            raise InputError(f"config.{name} is {values[name]}; {remedy}.")
