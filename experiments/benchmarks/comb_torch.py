"""The comb network, its loss and its training step in PyTorch, as `models/comb.py` and `losses/ssim.py` have them."""

from collections.abc import Sequence

import numpy as np

from faceswap_jax.losses import ssim
from faceswap_jax.models import comb
from faceswap_jax.models.autoencoder import persona
from faceswap_jax.tasks.base import Batch

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ModuleNotFoundError:
    raise SystemExit(
        "This benchmark compares with PyTorch, which is missing; install the extra `bench`."
    ) from None

# Of the Gaussian window.
_OFFSETS = np.arange(ssim.WINDOW) - ssim.WINDOW // 2
_TAPS = np.exp(-0.5 * (_OFFSETS / ssim.SIGMA) ** 2)
TAPS = (_TAPS / _TAPS.sum()).tolist()


class TorchTraining:
    """The training step in PyTorch, channels last, on a GPU if there is one.

    Args:
        level: of the network, half faded in.
        params: our network's weights, to begin with.
        batch: which every step takes.
        alphas: how far the level has faded in, of the first steps; the last value stays.
        learning_rate: of Adam.
        bfloat16: whether to compute in bfloat16.
        compiled: whether to compile the loss; else it runs eagerly.
    """

    def __init__(
        self,
        level: int,
        params: comb.Params,
        batch: Batch,
        alphas: Sequence[float],
        *,
        learning_rate: float,
        bfloat16: bool,
        compiled: bool,
    ):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        network = Network(level, len(batch["image"]), params)
        self.network = network.to(self.device, memory_format=torch.channels_last)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate, fused=True)
        # Shapes as numbers: at a second size, Inductor would compile for any and fail.
        self.loss = torch.compile(self._loss, dynamic=False) if compiled else self._loss
        self.batch = {
            name: torch.from_numpy(array).to(self.device) for name, array in batch.items()
        }
        self.alphas = alphas
        self.bfloat16 = bfloat16
        self.count = 0

    def _loss(self, alpha, image, mask):
        # [p, b, h, w, c] -> [p * b, c, h, w]
        x = image.flatten(0, 1).permute(0, 3, 1, 2)
        x = x.float() / 255
        mask = mask.flatten(0, 1)[:, None]
        mask = mask.float() / 255
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16):
            y = self.network(x, alpha)
        return 1 - ms_ssim(x * mask, y * mask)

    def step(self) -> float:
        """Makes one step; returns its loss when all is done."""
        alpha = self.alphas[min(self.count, len(self.alphas) - 1)]
        self.count += 1
        self.optimizer.zero_grad()
        loss = self.loss(
            torch.tensor(alpha, device=self.device), self.batch["image"], self.batch["mask"]
        )
        loss.backward()
        self.optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return loss.item()

    def first_steps(self) -> tuple[tuple[float, float], float]:
        """Returns the losses of two steps, and the norm of the first gradient."""
        loss = self.step()
        squares = 0.0
        for weight in self.network.parameters():
            squares += weight.grad.double().square().sum().item()
        return (loss, self.step()), np.sqrt(squares)

    def memory(self) -> int | None:
        """Returns the peak bytes of the device; a CPU does not count them."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


class Network(nn.Module):
    """The network of `models/comb.py` with weights from there."""

    def __init__(self, level: int, personas: int, params: comb.Params):
        super().__init__()
        self.level = level
        # 4 x 4 convolutions make one pixel of 4 x 4 in the encoder, and 4 x 4 pixels of one in the
        # decoders.
        encoder = modules(params["encoder"], {1: 0, 3: 1, 4: 0})
        self.encoder = nn.ModuleDict(encoder)
        tied = modules(params["tied"], {1: 0, 3: 1, 4: 3})
        self.decoders = nn.ModuleList()
        for p in range(personas):
            own = modules(persona(params["personas"], p), {1: 0, 3: 1})
            self.decoders.append(nn.ModuleDict(tied | own))

    def forward(self, x, alpha):
        """Returns reconstructions [p * b, 3, h, w], each persona's pictures by its decoder."""
        latents = self.encode(x, alpha).chunk(len(self.decoders))
        pictures = [
            self.decode(decoder, z, alpha)
            for decoder, z in zip(self.decoders, latents, strict=True)
        ]
        return torch.cat(pictures)

    def encode(self, x, alpha):
        """Returns latents [b, latent, 1, 1]."""
        h = self.encoder[f"from_rgb_{self.level}"](x)
        for level in range(self.level, 0, -1):
            h = F.avg_pool2d(self.encoder[f"level_{level}"](h), 2)
            if level == self.level:
                coarse = self.encoder[f"from_rgb_{level - 1}"](F.avg_pool2d(x, 2))
                h = (1 - alpha) * coarse + alpha * h
        return self.encoder["level_0"](h)

    def decode(self, decoder, z, alpha):
        """Returns pictures [b, 3, h, w] of one persona."""
        h = decoder["level_0"](z)
        for level in range(1, self.level + 1):
            below = h
            h = decoder[f"level_{level}"](F.interpolate(below, scale_factor=2.0))
        y = torch.sigmoid(decoder[f"to_rgb_{self.level}"](h).float())
        coarse = torch.sigmoid(decoder[f"to_rgb_{self.level - 1}"](below).float())
        return (1 - alpha) * F.interpolate(coarse, scale_factor=2.0) + alpha * y


def modules(params: comb.Params, padding: dict[int, int]) -> dict[str, nn.Module]:
    """Returns the modules of a group of weights, by name.

    Args:
        params: weights of each module.
        padding: of each kernel size.
    """
    return {name: module(name, weights, padding) for name, weights in params.items()}


def module(name: str, weights: comb.Params, padding: dict[int, int]) -> nn.Module:
    """Returns a module with weights of ours."""
    if name.startswith("to_rgb"):
        return conv(weights, padding)
    blocks = [weights["conv_0"], weights["conv_1"]] if name.startswith("level") else [weights]
    layers = []
    for block in blocks:
        layers += [conv(block["conv"], padding), nn.LeakyReLU(comb.LEAK)]
    return nn.Sequential(*layers)


def conv(weights: comb.Params, padding: dict[int, int]) -> nn.Conv2d:
    """Returns a convolution with weights of ours, which are [h, w, in, out]."""
    kernel = weights["kernel"]
    side, _, channels, features = kernel.shape[-4:]
    layer = nn.Conv2d(channels, features, side, padding=padding[side])
    # PyTorch has them as [out, in, h, w].
    transposed = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
    layer.weight.data = torch.from_numpy(transposed)
    layer.bias.data = torch.from_numpy(np.array(weights["bias"]))
    return layer


def ms_ssim(x, y):
    """Returns the mean MS-SSIM of pictures [b, c, h, w]; `losses/ssim.py` explains it."""
    count = ssim.scales(x.shape[-1])
    weights = [weight / sum(ssim.MS_WEIGHTS[:count]) for weight in ssim.MS_WEIGHTS[:count]]
    taps = torch.tensor(TAPS, device=x.device)
    product = 1.0
    for i, weight in enumerate(weights):
        # Means of all under the window, in one convolution for each axis.
        maps = torch.cat([x, y, x * y, x * x + y * y])
        maps = maps.flatten(0, 1)[:, None]
        maps = F.conv2d(maps, taps[None, None, None])
        maps = F.conv2d(maps, taps[None, None, :, None])
        mean_x, mean_y, xy, squares = maps[:, 0].unflatten(0, (4, *x.shape[:2]))

        product_of_means = mean_x * mean_y
        sum_of_squares = mean_x**2 + mean_y**2
        term = (2 * (xy - product_of_means) + ssim.C2) / (squares - sum_of_squares + ssim.C2)
        if i == count - 1:
            term = term * (2 * product_of_means + ssim.C1) / (sum_of_squares + ssim.C1)
        product = product * term.mean((2, 3)).clamp(min=1e-4) ** weight
        x = F.avg_pool2d(x, 2)
        y = F.avg_pool2d(y, 2)
    return product.mean()
