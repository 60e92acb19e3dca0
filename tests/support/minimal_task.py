"""A whole system, as small as they come: an autoencoder of one person. `minimal.py` is its experiment."""

from dataclasses import replace

import flax.linen as nn
import jax
import jax.numpy as jnp

from data_pipelines import datasets, sources
from data_pipelines.batches.assembly import batches
from data_pipelines.batches.roles import Identities
from faceswap_jax.config import at_least, check
from faceswap_jax.ops import optimizers
from faceswap_jax.ops.precision import from_bytes
from faceswap_jax.state import State
from faceswap_jax.tasks.base import FaceTask, Phase, Preview, Synthesis, mean_of, with_data


# Images [b, h, w, 3] in [0, 1] to 16 channels of a quarter of their side, and back
class Network(nn.Module):
    @nn.compact
    def __call__(self, x):
        h = nn.relu(nn.Conv(16, (4, 4), strides=4)(x))
        return nn.sigmoid(nn.ConvTranspose(3, (4, 4), strides=(4, 4))(h))


# A FaceTask has the records that `config.data` names, `self.data`.
class Task(FaceTask):
    def __init__(self, config):
        super().__init__(config)
        check(config, {"steps": at_least(1)})
        self.phases = [Phase("all steps", 0, config.steps, stage=0)]

    # Keeps what the data decide, so that a run can be used without them.
    @classmethod
    def resolve(cls, config):
        return with_data(config, personas=tuple(datasets.open_data(config.data)))

    def init_state(self, phase, key):
        params = {"network": Network().init(key, jnp.zeros((1, 16, 16, 3)))}
        return State(jnp.int32(0), key, params, optimizers.init(optimizers.ADAM, params))

    # A GAN with a lazy regulariser has two, and a `step_name`.
    def steps(self, phase):
        return {"train": self._train_step}

    # Pure: random numbers come from state.key and state.step.
    def _train_step(self, state, batch):
        loss, gradients = jax.value_and_grad(self._loss)(state.params, batch)
        adam, rate = optimizers.ADAM, self.config.learning_rate
        params, opt = optimizers.apply(adam, gradients, state.opt, state.params, rate)
        return replace(state, step=state.step + 1, params=params, opt=opt), {"loss": loss}

    def _loss(self, params, batch):
        x = from_bytes(batch["image"])
        return jnp.abs(Network().apply(params["network"], x) - x).mean()

    # Scores of held-out images: eval/l1 in metrics.jsonl
    def evaluators(self, phase):
        return [mean_of(lambda state, batch: {"l1": self._loss(state.params, batch)})]

    # The grids in previews/
    def preview(self, phase):
        def draw(state, batch):
            x = from_bytes(batch["image"])
            return jnp.stack([x, Network().apply(state.params["network"], x)])

        return Preview(draw, rows=("input", "reconstruction"))

    # What `faceswap swap` and `evaluate` need
    def synthesis(self, phase):
        def images(params, identity, inputs, edit):
            return Network().apply(params["network"], from_bytes(inputs["crops"]))

        form = {"alignment": "eyes", "resolution": self.config.data.resolution}
        form |= {"placement": "blended", "inputs": ("crops",), "personas": self.config.personas}
        return Synthesis(**form, images=images)

    def train_data(self, phase, host, hosts):
        return self._batches(0, seed=self.config.seed, host=host, hosts=hosts)

    def eval_data(self, phase, host, hosts):
        return self._batches(1, seed=0, host=host, hosts=hosts)

    # Part 0 of the frames is trained on, part 1, the last tenth, held out.
    def _batches(self, part, **options):
        faces = [sources.split(source, 0.1)[part] for source in self.data.values()]
        options |= {"fields": ("image",), "alignment": "eyes", "batch": self.config.batch}
        return batches(faces, Identities(), resolution=self.config.data.resolution, **options)
