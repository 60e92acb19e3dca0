"""Training steps of StyleGAN2, beside the same steps in PyTorch.

    python -m experiments.benchmarks.stylegan2_step [--resolution 64] [--width 0.046875] [--most 2048] [--batch 16]

Both train the same networks with the same losses, lazy penalties and batch, from the same weights. Before the clock
starts, images, verdicts and norms of the gradients, with R1's second derivatives, must agree. Ours also averages
weights, PyTorch's does not. Neither changes what the discriminator sees (ADA), nor makes kernels for each image, which
would be slower on both sides. PyTorch runs eagerly and, without penalties, compiled. The contestants take turns, for
other work on the machine slows whoever happens to run; the best turn of each counts.
"""

import os
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from experiments import stylegan2_puppets as experiment
from experiments.benchmarks.measuring import print_table
from experiments.benchmarks.stylegan2_torch import TorchTraining, tensors_of, torch
from faceswap_jax.losses.adversarial import ADVERSARIES, gradient_penalty
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.pretrained import stylegan2 as pretrained
from faceswap_jax.tasks.stylegan2 import Task

DEFAULTS = experiment.get_config()
RESOLUTION = flags.DEFINE_integer("resolution", DEFAULTS.model.resolution, "Side of the images.")
WIDTH = flags.DEFINE_float("width", DEFAULTS.model.width, "Of all channels.")
MOST = flags.DEFINE_integer("most", DEFAULTS.model.most, "Channels of small sides, times width.")
BATCH = flags.DEFINE_integer("batch", DEFAULTS.batch, "Images.")
TURNS = flags.DEFINE_integer("turns", 4, "Turns of each contestant.")

STEPS = ("train", "path", "penalty")


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    config = DEFAULTS.copy_and_resolve_references()
    config.identities = ("a", "b")
    config.networks.sets = ""
    config.augment.target = 0.0
    config.model.update(resolution=RESOLUTION.value, width=WIDTH.value, most=MOST.value)
    config.batch = BATCH.value
    task = Task(config)
    real = np.random.default_rng(0).random((BATCH.value, *[RESOLUTION.value] * 2, 3), np.float32)

    weights = {
        "penalty": 0.5 * config.loss.penalty * config.loss.penalty_every,
        "path": config.loss.path * config.loss.path_every,
    }
    rival = partial(TorchTraining, task.model, real, weights, config.learning_rate)
    eager = rival(compiled=False)
    check(task, eager, real)

    ours = our_steps(task, real)
    acts: dict[tuple[str, str], Callable] = {("ours", name): ours[name] for name in STEPS}
    for name in STEPS:
        due = () if name == "train" else (name,)
        acts["PyTorch", name] = partial(eager.step, due)
    compiled = rival(compiled=True)
    try:
        compiled.step()
        acts["PyTorch, compiled", "train"] = compiled.step
    except torch._dynamo.exc.TorchDynamoException as error:
        # For want of a C++ compiler, say.
        print(f"PyTorch cannot compile here: {type(error).__name__}")

    best = dict.fromkeys(acts, float("inf"))
    for _ in range(1 + TURNS.value):
        for name, act in acts.items():
            begin = time.perf_counter()
            act()
            best[name] = min(best[name], time.perf_counter() - begin)
    print_table(["step", "ours, s", "PyTorch's best, s", "times PyTorch's"], rows(config, best))


def rows(config, best: dict[tuple[str, str], float]) -> list[list[str]]:
    """Returns a row for each kind of step, and one for their mean in a training."""
    loss = config.loss
    shares = {"penalty": 1 / loss.penalty_every, "path": 1 / loss.path_every}
    shares["train"] = 1 - sum(shares.values())
    found, mean = [], np.zeros(2)
    for step in STEPS:
        rival = min(spent for (who, name), spent in best.items() if name == step and who != "ours")
        pair = np.array([best["ours", step], rival])
        mean += shares[step] * pair
        found.append([step, *(f"{spent:.3f}" for spent in pair), f"{pair[1] / pair[0]:.2f}"])
    return [*found, ["mean", *(f"{spent:.3f}" for spent in mean), f"{mean[1] / mean[0]:.2f}"]]


def check(task: Task, rival: TorchTraining, real: np.ndarray) -> None:
    """Checks that both compute the same from the same weights.

    Raises:
        AssertionError: they do not.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "weights.npz"
        np.savez(path, **tensors_of(rival.generator, rival.discriminator))
        given = pretrained.load(path, task.model)
    model = task.model
    z = np.random.default_rng(1).normal(size=(len(real), model.latent)).astype(np.float32)
    adversary = ADVERSARIES["cross_entropy"]

    def losses(generator, discriminator):
        w = stylegan2.styles(model, generator, z)
        made = stylegan2.synthesize(
            model, generator | {"noise": given.params["noise"]}, stylegan2.everywhere(model, w)
        )
        still = jax.lax.stop_gradient(discriminator)
        total = adversary.generator(0.0, residual.apply(model, still, made)).mean()
        judge = partial(residual.apply, model, discriminator)
        of_real = judge(real)
        total += adversary.discriminator(of_real, judge(jax.lax.stop_gradient(made))).mean()
        # In PyTorch's scale, -1 to 1
        total += gradient_penalty(lambda x: [judge((x + 1) / 2)], 2 * jnp.asarray(real) - 1)
        return total, (made, of_real)

    generator = {name: given.params[name] for name in ("mapping", "synthesis")}
    gradient = jax.jit(jax.grad(losses, (0, 1), has_aux=True))
    gradients, (made, of_real) = gradient(generator, given.discriminator)
    norms = [
        np.sqrt(sum(float((leaf**2).sum()) for leaf in jax.tree.leaves(tree))) for tree in gradients
    ]
    expected, images, verdicts = rival.first_gradients(z)
    np.testing.assert_allclose(2 * made - 1, images.transpose(0, 2, 3, 1), atol=1e-3)
    np.testing.assert_allclose(of_real, verdicts, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(norms, expected, rtol=1e-3)


def our_steps(task: Task, real: np.ndarray) -> dict[str, Callable[[], None]]:
    """Returns functions that make a step of each kind."""
    phase = task.phases[0]
    held = {"state": jax.jit(partial(task.init_state, phase))(jax.random.key(0))}
    batch = {"image": jnp.asarray(np.round(255 * real).astype(np.uint8))}

    def make_step(step):
        held["state"], _ = step(held["state"], batch)
        jax.block_until_ready(held["state"])

    steps = {}
    for name, step in task.steps(phase).items():
        steps[name] = partial(make_step, jax.jit(step, donate_argnums=0))
        steps[name]()
    return steps


if __name__ == "__main__":
    app.run(main)
