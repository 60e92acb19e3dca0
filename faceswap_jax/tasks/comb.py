"""The comb network: reconstruct every persona through one encoder and its own decoder (US 2020/0372621).

After training, encoding persona q and decoding as persona p gives p's face with q's performance.
"""

from dataclasses import replace

import grain
import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int, PRNGKeyArray, UInt8

from data_pipelines import pipeline, sources
from faceswap_jax import optim, precision
from faceswap_jax.errors import InputError
from faceswap_jax.evaluation import scores
from faceswap_jax.losses import reconstruction
from faceswap_jax.models import comb
from faceswap_jax.parallel import persona, rules
from faceswap_jax.state import State
from faceswap_jax.tasks.base import Batch, Metrics, Phase

PREVIEW_COLUMNS = 3  # held-out pictures of each persona in a preview


class Task:
    """One phase per growth level; batches are {"image": [P, b, h, w, 3], "mask": [P, b, h, w]}, both uint8."""

    batch_spec = rules.BATCH

    def __init__(self, config: ml_collections.ConfigDict):
        self.config = config
        self.dtype = precision.dtype(config.precision)
        steps = config.level_steps
        if len(steps) > comb.MAX_LEVEL + 1 or not any(steps):
            raise InputError(
                f"config.level_steps is {tuple(steps)}; give the steps of level 0 and up, at most "
                f"{comb.MAX_LEVEL + 1} numbers, 0 for a level to skip."
            )
        if config.update_order not in ("joint", "sequential"):
            raise InputError(f"config.update_order is '{config.update_order}'; choose joint or sequential.")
        if config.update_order == "sequential" and config.mesh.persona > 1:
            raise InputError("config.update_order=sequential has no work for config.mesh.persona > 1; set it to 1.")
        if config.loss.masking not in ("target", "both"):
            raise InputError(f"config.loss.masking is '{config.loss.masking}'; choose target (Eq. 1) or both (Eq. 2).")

        self.phases, start = [], 0
        top = max(level for level, count in enumerate(steps) if count)
        for level, count in enumerate(steps):
            if count:
                stop = start + count + (config.final_steps if level == top else 0)
                model = comb.CombConfig(level, len(config.personas), config.model.width)
                cost = comb.multiplications(model)
                self.phases.append(Phase(f"level {level}, {model.resolution} px", start, stop, stage=level, cost=cost))
                start = stop

    @classmethod
    def resolve(cls, config: ml_collections.ConfigDict) -> ml_collections.ConfigDict:
        """Takes the personas' names from the data."""
        names = tuple(sources.open_data(config.data))
        if len(names) < 2:
            raise InputError(
                f"'{config.data.path}' has only the persona '{names[0]}'; a swap needs at least two, prepare another."
            )
        if len(names) % config.mesh.persona:
            raise InputError(
                f"config.mesh.persona is {config.mesh.persona}; choose a divisor of {len(names)} personas."
            )
        config = config.copy_and_resolve_references()
        config.personas = names
        return config

    def model(self, phase: Phase) -> comb.CombConfig:
        """Shape of the network of a phase."""
        c = self.config
        return comb.CombConfig(phase.stage, len(c.personas), c.model.width, c.model.latent, dtype=self.dtype)

    def schedule(self, phase: Phase, step: Int[Array, ""]) -> tuple[Float[Array, ""], Float[Array, ""]]:
        """Fade-in alpha and learning rate of a step.

        Alpha rises from 0 at the level's first step to 1 at half of its steps; the first level has nothing to fade.
        The learning rate drops for the last `final_steps` of the run.
        """
        c = self.config
        rise = (step - phase.start) / (0.5 * c.level_steps[phase.stage])
        alpha = 1.0 if phase.start == 0 else jnp.minimum(rise, 1.0)
        learning_rate = jnp.where(step < self.phases[-1].stop - c.final_steps, c.learning_rate, c.final_learning_rate)
        return jnp.float32(alpha), jnp.float32(learning_rate)

    def init_state(self, phase: Phase, key: PRNGKeyArray) -> State:
        """Fresh weights at the phase's level."""
        params = comb.init(self.model(phase), key)
        return State(step=jnp.int32(phase.start), key=key, params=params, opt=_init_opt(params))

    def enter(self, phase: Phase, state: State) -> State:
        """Adds a level; the optimizer starts afresh, moments and bias correction."""
        params = comb.grow(self.model(phase), state.params, jax.random.fold_in(state.key, phase.stage))
        return replace(state, params=params, opt=_init_opt(params))

    def _losses(self, model, shared, alpha, own, x, mask) -> Float[Array, "p"]:
        """Loss of each persona of pictures and masks [p, b, h, w, c]."""
        flat, flat_mask = persona.merge(x), persona.merge(mask)
        z = persona.unmerge(comb.encode(model, shared["encoder"], flat, alpha), len(x))
        y = persona.merge(persona.unrolled(lambda own, z: comb.decode(model, shared["tied"], own, z, alpha), own, z))
        loss = reconstruction.dissimilarity(*reconstruction.masked(flat, flat_mask, y, self.config.loss.masking))
        if self.config.loss.l1:
            loss += self.config.loss.l1 * reconstruction.l1(flat, y, flat_mask)
        return persona.unmerge(loss, len(x)).mean(1)

    def train_step(self, phase: Phase, state: State, batch: Batch) -> tuple[State, Metrics]:
        """One update on all personas together, or one for each in random order (`config.update_order`)."""
        alpha, learning_rate = self.schedule(phase, state.step)
        update = self._joint if self.config.update_order == "joint" else self._sequential
        params, opt, losses = update(self.model(phase), state, *_pictures(batch), alpha, learning_rate)
        metrics = {"loss": losses.mean(), "alpha": alpha, "learning_rate": learning_rate}
        metrics |= {f"loss/{name}": losses[i] for i, name in enumerate(self.config.personas)}
        return replace(state, step=state.step + 1, params=params, opt=opt), metrics

    def _joint(self, model, state, x, mask, alpha, learning_rate):
        """One update on the mean loss of all personas, each device working on its own personas."""

        def loss(shared, own):
            per_persona = persona.sharded(lambda shared, own, batch: self._losses(model, *shared, own, *batch))
            losses = per_persona((shared, alpha), own, (x, mask))
            return losses.mean(), losses

        shared, own = _split(state.params)
        gradients, losses = jax.grad(loss, argnums=(0, 1), has_aux=True)(shared, own)
        shared, shared_opt = optim.apply(optim.ADAM, gradients[0], state.opt["shared"], shared, learning_rate)
        own, own_opt = optim.apply(optim.ADAM, gradients[1], state.opt["personas"], own, learning_rate)
        return {**shared, "personas": own}, {"shared": shared_opt, "personas": own_opt}, losses

    def _sequential(self, model, state, x, mask, alpha, learning_rate):
        """The source's iteration: shared weights get P updates, every persona's own weights one.

        Unrolled: gradients of convolutions inside a scan are forty times slower on a CPU.
        """
        shared, own = _split(state.params)
        shared_opt, own_opt = state.opt["shared"], state.opt["personas"]
        count, losses = own_opt.count, jnp.zeros(len(x))
        for p in jax.random.permutation(jax.random.fold_in(state.key, state.step), len(x)):

            def loss(shared, one, x=x[p][None], mask=mask[p][None]):
                return self._losses(model, shared, alpha, jax.tree.map(lambda w: w[None], one), x, mask)[0]

            one, mu, nu = (comb.persona(tree, p) for tree in (own, own_opt.mu, own_opt.nu))
            value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(shared, one)
            shared, shared_opt = optim.apply(optim.ADAM, gradients[0], shared_opt, shared, learning_rate)
            one_opt = own_opt._replace(count=count, mu=mu, nu=nu)
            one, one_opt = optim.apply(optim.ADAM, gradients[1], one_opt, one, learning_rate)
            own, mu, nu = (
                jax.tree.map(lambda stacked, leaf, p=p: stacked.at[p].set(leaf), stacked, leaf)
                for stacked, leaf in ((own, one), (own_opt.mu, one_opt.mu), (own_opt.nu, one_opt.nu))
            )
            own_opt = one_opt._replace(mu=mu, nu=nu)
            losses = losses.at[p].set(value)
        return {**shared, "personas": own}, {"shared": shared_opt, "personas": own_opt}, losses

    def eval_step(self, phase: Phase, state: State, batch: Batch) -> Metrics:
        """PSNR (dB) and dissimilarity of reconstructions inside the face."""
        x, mask = _pictures(batch)
        y = persona.merge(self._reconstruct(phase, state, self._encode(phase, state, x)))
        x, mask = persona.merge(x), persona.merge(mask)
        loss = reconstruction.dissimilarity(*reconstruction.masked(x, mask, y, "both"))
        return {"psnr": scores.psnr(x, y, mask).mean(), "dissimilarity": loss.mean()}

    def preview(self, phase: Phase, state: State, batch: Batch) -> Float[Array, "rows columns h w 3"]:
        """Rows: input, reconstruction, then the swap to every persona."""
        x, _ = _pictures(jax.tree.map(lambda a: a[:, :PREVIEW_COLUMNS], batch))
        z = self._encode(phase, state, x)
        own = self._reconstruct(phase, state, z)
        swaps = [self._decode(phase, state, z.reshape(-1, z.shape[-1]), p) for p in range(len(x))]
        return jnp.stack([p.reshape(-1, *x.shape[2:]) for p in (x, own)] + swaps)

    def _encode(self, phase, state, x):
        alpha, _ = self.schedule(phase, state.step)
        return persona.unmerge(comb.encode(self.model(phase), state.params["encoder"], persona.merge(x), alpha), len(x))

    def _decode(self, phase, state, z, p):
        alpha, _ = self.schedule(phase, state.step)
        return comb.decode(self.model(phase), state.params["tied"], comb.persona(state.params["personas"], p), z, alpha)

    def _reconstruct(self, phase, state, z):
        return jnp.stack([self._decode(phase, state, z[p], p) for p in range(len(z))])

    def train_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """Pictures and masks of all personas at the phase's resolution."""
        return self._data(phase, 0, self.config.seed, host, hosts, mirror=True)

    def eval_data(self, phase: Phase, host: int, hosts: int) -> grain.MapDataset:
        """The same of the records that are never trained on."""
        return self._data(phase, 1, 0, host, hosts, mirror=False)

    def _data(self, phase, part, seed, host, hosts, mirror):
        data = sources.open_data(self.config.data)
        parts = [pipeline.split(data[name], self.config.data.validation)[part] for name in self.config.personas]
        return pipeline.persona_batches(
            parts,
            resolution=comb.resolution(phase.stage),
            batch=self.config.batch,
            seed=seed,
            host=host,
            hosts=hosts,
            mirror=mirror,
        )

    def resolution(self, phase: Phase) -> int:
        """Side in pixels of the aligned crops that `swap` takes."""
        return comb.resolution(phase.stage)

    def swap(
        self, phase: Phase, state: State, x: UInt8[Array, "b h w 3"], index: int | Array
    ) -> UInt8[Array, "b h w 3"]:
        """Aligned crops of anybody with the face of persona number `index`."""
        z = self._encode(phase, state, x[None].astype(jnp.float32) / 255)[0]
        return jnp.round(self._decode(phase, state, z, index) * 255).astype(jnp.uint8)


def _pictures(batch: Batch) -> tuple[Float[Array, "p b h w 3"], Float[Array, "p b h w 1"]]:
    return batch["image"].astype(jnp.float32) / 255, batch["mask"][..., None].astype(jnp.float32) / 255


def _split(params: comb.Params) -> tuple[comb.Params, comb.Params]:
    """Weights that all personas share, and the stacked own ones."""
    return {"encoder": params["encoder"], "tied": params["tied"]}, params["personas"]


def _init_opt(params: comb.Params) -> dict:
    shared, own = _split(params)
    return {"shared": optim.ADAM.init(shared), "personas": optim.ADAM.init(own)}
