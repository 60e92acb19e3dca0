"""Training steps of the comb network, beside the same steps in PyTorch.

    python -m experiments.benchmarks.comb_step [--levels 4,5,6,8] [--batch 2] [--width 1] [--precision float32]

Both train the same network (two personas, a level half faded in) with the same loss (1 - MS-SSIM inside the mask,
Eq. 2), Adam, batch and precision, from the same weights; before the clock starts, the losses of two steps and the norms
of the first gradient must agree. PyTorch runs eagerly and compiled, channels last, on all cores. The contestants take
turns, for other work on the machine slows whoever happens to run; the best turn of each counts.
"""

import gc
import os
import time
from collections.abc import Sequence
from dataclasses import replace

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from absl import app, flags
from jax.sharding import NamedSharding
from rich.console import Console
from rich.table import Table

from experiments import comb as experiment
from faceswap_jax.losses import ssim
from faceswap_jax.models import comb
from faceswap_jax.models.autoencoder import persona
from faceswap_jax.parallel import rules
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.state import State
from faceswap_jax.tasks.autoencoder import Task
from faceswap_jax.tasks.base import Batch, abstract_state

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ModuleNotFoundError:
    raise SystemExit(
        "This benchmark compares with PyTorch, which is missing; install the extra `bench`."
    ) from None

LEVELS = flags.DEFINE_list(
    "levels", ["4", "5", "6", "8"], "Growth levels; level l is of 4 * 2**l px."
)
BATCH = flags.DEFINE_integer("batch", 2, "Pictures of each persona; one above 256 px.")
WIDTH = flags.DEFINE_float("width", 1.0, "Multiplies all channel counts.")
PRECISION = flags.DEFINE_enum(
    "precision", "float32", ["float32", "bfloat16"], "Type of the arithmetic."
)
REMAT = flags.DEFINE_string(
    "remat", "none", "What our network computes again instead of keeping it."
)
TURNS = flags.DEFINE_integer("turns", 4, "Turns of each contestant.")
SECONDS = flags.DEFINE_float("seconds", 2.0, "Least length of a turn, which is one step at least.")
CPU_DEVICES = flags.DEFINE_integer(
    "cpu_devices", 1, "Devices into which JAX splits the CPU; each has its personas."
)
PEAK = flags.DEFINE_float(
    "peak", None, "TFLOP/s that the machine could reach, to print the share that is reached."
)
PERSONAS = ("a", "b")
STEPS = 1_000  # of the level
TAPS = np.exp(-0.5 * ((np.arange(ssim.WINDOW) - ssim.WINDOW // 2) / ssim.SIGMA) ** 2)
TAPS = (TAPS / TAPS.sum()).tolist()  # of the Gaussian window
# Relative, of losses and of the gradient's norm. Variances as differences of moments cost the gradient digits: at 256
# px float32 is off by 1e-4, ours and PyTorch's.
TOLERANCE = {"float32": (1e-4, 1e-3), "bfloat16": (2e-2, 5e-2)}


def main(_: Sequence[str]) -> None:
    """Measures and prints the table."""
    jax.config.update("jax_num_cpu_devices", CPU_DEVICES.value)
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    columns = (
        "px",
        "batch",
        "",
        "pictures/s",
        "of PyTorch's best",
        "TFLOP/s",
        *["of peak"] * bool(PEAK.value),
        "GiB",
    )
    table = Table(
        *columns,
        title=f"comb network, width {WIDTH.value:g}, {PRECISION.value}, {jax.devices()[0]}",
    )
    for level in map(int, LEVELS.value):
        measure(level, BATCH.value if comb.resolution(level) <= 256 else 1, table)
    Console().print(table)


def measure(level: int, count: int, table: Table) -> None:
    """Adds the rows of one level, with `count` pictures of each persona."""
    task, batch = Task(config(level, count)), pictures(comb.resolution(level), count)
    state = jax.device_get(jax.jit(lambda: start(task))())
    contestants = {"ours": Ours(task, state, batch)}
    expected = contestants["ours"].first_steps()
    for name, compiled in (("PyTorch", False), ("PyTorch, compiled", True)):
        contestant = Theirs(task, state.params, batch, compiled)
        try:
            found = contestant.first_steps()
        except torch._dynamo.exc.TorchDynamoException as error:  # for want of a C++ compiler, say
            print(f"{name} cannot run here: {type(error).__name__}: {error}")
            continue
        for values, others, tolerance in zip(
            found, expected, TOLERANCE[PRECISION.value], strict=True
        ):
            np.testing.assert_allclose(values, others, rtol=tolerance)
        contestants[name] = contestant
    seconds = dict.fromkeys(contestants, float("inf"))
    for _ in range(TURNS.value):
        for name, contestant in contestants.items():
            seconds[name] = min(seconds[name], turn(contestant))
    rival = min(s for name, s in seconds.items() if name != "ours")
    # A multiplication is two operations, in the encoder and in a decoder; a step costs three times the way forward.
    flop = 3 * 2 * 2 * task.network(task.phases[-1]).multiplications * len(PERSONAS) * count
    for name, s in seconds.items():
        share = [f"{flop / s / PEAK.value / 1e12:.0%}"] if PEAK.value else []
        memory = contestants[name].memory()
        table.add_row(
            str(comb.resolution(level)),
            f"{len(PERSONAS)} x {count}",
            name,
            f"{len(PERSONAS) * count / s:.3g}",
            f"{rival / s:.2f}",
            f"{flop / s / 1e12:.3f}",
            *share,
            f"{memory / 2**30:.1f}" if memory else "",
        )
    contestants.clear()
    gc.collect()


def config(level: int, count: int) -> ml_collections.ConfigDict:
    """The published values, up to one level."""
    c = experiment.get_config()
    c.personas = PERSONAS
    c.model.update(width=WIDTH.value, remat=REMAT.value)
    c.level_steps = (0,) * (level - 1) + (1, STEPS)
    c.batch, c.precision = count, PRECISION.value
    return c


def pictures(side: int, count: int) -> Batch:
    """Noise, and a mask over the middle."""
    image = np.random.default_rng(0).integers(
        0, 256, (len(PERSONAS), count, side, side, 3), np.uint8
    )
    mask = np.zeros(image.shape[:-1], np.uint8)
    mask[..., side // 8 : -side // 8, side // 8 : -side // 8] = 255
    return {"image": image, "input": image, "mask": mask}


def start(task: Task) -> State:
    """The state from which all contestants start, the level having faded in by half."""
    phase = task.phases[-1]
    return replace(
        task.init_state(phase, jax.random.key(0)), step=jnp.int32(phase.start + STEPS // 4)
    )


def turn(contestant: "Ours | Theirs") -> float:
    """Seconds of a step, after one that gets back the memory which the others had."""
    contestant.step()
    count, begin = 0, time.perf_counter()
    while (seconds := time.perf_counter() - begin) < SECONDS.value or not count:
        contestant.step()
        count += 1
    return seconds / count


class Ours:
    """The compiled step of the task."""

    def __init__(self, task: Task, state: State, batch: Batch):
        phase, mesh = task.phases[-1], make_mesh(min(len(PERSONAS), jax.device_count()))
        with jax.set_mesh(mesh):
            layout = rules.shardings(abstract_state(task, phase), mesh)
            self.state = jax.device_put(state, layout)
            self.batch = jax.device_put(batch, NamedSharding(mesh, task.batch_spec))
            step = jax.jit(
                task.steps(phase)["train"], donate_argnums=0, out_shardings=(layout, None)
            )
            self.compiled = step.lower(self.state, self.batch).compile()

    def step(self) -> float:
        """One step; returns its loss when all is done."""
        self.state, metrics = self.compiled(self.state, self.batch)
        jax.block_until_ready(self.state)
        return float(metrics["loss"])

    def first_steps(self) -> tuple[tuple[float, float], float]:
        """Losses of two steps, and the norm of the first gradient, which Adam's first moments tell."""
        loss = self.step()
        moments = [adam.mu for modules in self.state.opt.values() for adam in modules.values()]
        squares = sum(
            np.square(m, dtype=np.float64).sum() for m in jax.tree.leaves(jax.device_get(moments))
        )
        return (loss, self.step()), np.sqrt(squares) / (1 - 0.9)

    def memory(self) -> int:
        """Peak bytes of a device, or what the compiler has planned where the device does not count them."""
        if stats := jax.devices()[0].memory_stats():
            return stats["peak_bytes_in_use"]
        planned = self.compiled.memory_analysis()
        return planned.argument_size_in_bytes + planned.temp_size_in_bytes


class Theirs:
    """The same in PyTorch."""

    def __init__(self, task: Task, params: comb.Params, batch: Batch, compiled: bool):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = Network(task.phases[-1].stage, params)
        self.count = STEPS // 4
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=task.config.learning_rate, fused=True
        )
        self.loss = torch.compile(self._loss) if compiled else self._loss
        self.batch = {
            name: torch.from_numpy(array).to(self.device) for name, array in batch.items()
        }

    def _loss(self, alpha, image, mask):
        x = image.flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        mask = mask.flatten(0, 1)[:, None].float() / 255
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=PRECISION.value == "bfloat16"
        ):
            y = self.network(x, alpha)
        return 1 - ms_ssim(x * mask, y * mask)

    def step(self) -> float:
        """One step; returns its loss when all is done."""
        alpha = torch.tensor(min(1.0, self.count / (STEPS // 2)), device=self.device)
        self.count += 1
        self.optimizer.zero_grad()
        loss = self.loss(alpha, self.batch["image"], self.batch["mask"])
        loss.backward()
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def first_steps(self) -> tuple[tuple[float, float], float]:
        """Losses of two steps, and the norm of the first gradient."""
        loss = self.step()
        squares = sum(w.grad.double().square().sum().item() for w in self.network.parameters())
        return (loss, self.step()), np.sqrt(squares)

    def memory(self) -> int | None:
        """Peak bytes of the device; a CPU does not count them."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


class Network(nn.Module):
    """The network of `models/comb.py` with weights from there."""

    def __init__(self, level: int, params: comb.Params):
        super().__init__()
        self.level = level
        # 4 x 4 convolutions make one pixel of 4 x 4 in the encoder, and 4 x 4 pixels of one in the decoders.
        self.encoder = nn.ModuleDict(modules(params["encoder"], {1: 0, 3: 1, 4: 0}))
        tied, padding = modules(params["tied"], {1: 0, 3: 1, 4: 3}), {1: 0, 3: 1}
        own = [modules(persona(params["personas"], p), padding) for p in range(len(PERSONAS))]
        self.decoders = nn.ModuleList(nn.ModuleDict(tied | decoder) for decoder in own)

    def forward(self, x, alpha):
        """Reconstructions [p * b, 3, h, w], each persona's pictures by its decoder."""
        z = self.encode(x, alpha).chunk(len(PERSONAS))
        return torch.cat(
            [
                self.decode(decoder, own, alpha)
                for decoder, own in zip(self.decoders, z, strict=True)
            ]
        )

    def encode(self, x, alpha):
        """Latents [b, latent, 1, 1]."""
        h = self.encoder[f"from_rgb_{self.level}"](x)
        for level in range(self.level, 0, -1):
            h = F.avg_pool2d(self.encoder[f"level_{level}"](h), 2)
            if level == self.level:
                h = (1 - alpha) * self.encoder[f"from_rgb_{level - 1}"](
                    F.avg_pool2d(x, 2)
                ) + alpha * h
        return self.encoder["level_0"](h)

    def decode(self, decoder, z, alpha):
        """Pictures [b, 3, h, w] of one persona."""
        h = decoder["level_0"](z)
        for level in range(1, self.level + 1):
            below, h = h, decoder[f"level_{level}"](F.interpolate(h, scale_factor=2.0))
        y = torch.sigmoid(decoder[f"to_rgb_{self.level}"](h).float())
        coarse = torch.sigmoid(decoder[f"to_rgb_{self.level - 1}"](below).float())
        return (1 - alpha) * F.interpolate(coarse, scale_factor=2.0) + alpha * y


def modules(params: comb.Params, padding: dict[int, int]) -> dict[str, nn.Module]:
    """The modules of a group; `padding` of each kernel size."""

    def conv(weights):
        kernel, bias = weights["kernel"], weights["bias"]
        side, _, channels, features = kernel.shape[-4:]
        layer = nn.Conv2d(channels, features, side, padding=padding[side])
        layer.weight.data = torch.from_numpy(np.ascontiguousarray(kernel.transpose(3, 2, 0, 1)))
        layer.bias.data = torch.from_numpy(np.array(bias))
        return layer

    def module(name, weights):
        if name.startswith("to_rgb"):
            return conv(weights)
        blocks = [weights[f"conv_{i}"] for i in range(2)] if name.startswith("level") else [weights]
        return nn.Sequential(
            *(m for block in blocks for m in (conv(block["conv"]), nn.LeakyReLU(comb.LEAK)))
        )

    return {name: module(name, weights) for name, weights in params.items()}


def ms_ssim(x, y):
    """Mean MS-SSIM of pictures [b, c, h, w]; `losses/ssim.py` explains it."""
    count = ssim.scales(x.shape[-1])
    weights = [weight / sum(ssim.MS_WEIGHTS[:count]) for weight in ssim.MS_WEIGHTS[:count]]
    taps = torch.tensor(TAPS, device=x.device)
    product = 1.0
    for i, weight in enumerate(weights):
        maps = [x, y, x * y, x * x + y * y]
        maps = torch.cat(maps).flatten(0, 1)[:, None]
        maps = F.conv2d(F.conv2d(maps, taps[None, None, None]), taps[None, None, :, None])
        mean_x, mean_y, xy, squares = maps.unflatten(0, (4, *x.shape[:2]))[:, :, :, 0]
        both, sum_of_squares = mean_x * mean_y, mean_x**2 + mean_y**2
        term = (2 * (xy - both) + ssim.C2) / (squares - sum_of_squares + ssim.C2)
        if i == count - 1:
            term = term * (2 * both + ssim.C1) / (sum_of_squares + ssim.C1)
        product = product * term.mean((2, 3)).clamp(min=1e-4) ** weight
        x, y = F.avg_pool2d(x, 2), F.avg_pool2d(y, 2)
    return product.mean()


if __name__ == "__main__":
    app.run(main)
