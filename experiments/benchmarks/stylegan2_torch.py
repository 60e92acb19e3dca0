"""StyleGAN2's networks, losses and training step in PyTorch, tensors by the names that public checkpoints have."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np

from faceswap_jax.models.stylegan2 import FIRST, StyleGAN2Config

try:
    import torch
    import torch.nn.functional as F
    from torch import nn
except ModuleNotFoundError:
    raise SystemExit(
        "This benchmark compares with PyTorch, which is missing; install the extra `bench`."
    ) from None

TAPS = (1 / 8, 3 / 8, 3 / 8, 1 / 8)


def activate(x):
    """Returns LeakyReLU that keeps the deviation."""
    return F.leaky_relu(x, 0.2) * math.sqrt(2)


def scaled(weight):
    """Returns a kernel [out, in, ...] as its convolution expects it."""
    return weight / math.sqrt(weight[0].numel())


def filtered(x, around: tuple[int, int], gain: float = 1.0):
    """Returns channels through the filter, with zeros before and behind along both axes."""
    x = F.pad(x, (*around, *around))
    taps = torch.tensor(TAPS, device=x.device) * math.sqrt(gain)
    channels = x.shape[1]
    x = F.conv2d(x, taps[:, None].expand(channels, 1, 4, 1), groups=channels)
    return F.conv2d(x, taps[None].expand(channels, 1, 1, 4), groups=channels)


class Dense(nn.Module):
    """A fully connected layer."""

    def __init__(self, inputs: int, features: int, rate: float = 1.0, bias: float = 0.0):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(features, inputs) / rate)
        self.bias = nn.Parameter(torch.full((features,), bias))
        self.rate = rate

    def forward(self, x):
        """Returns the result [..., features]."""
        return F.linear(x, self.rate * scaled(self.weight), self.rate * self.bias)


class Normalise(nn.Module):
    """Latents of a mean square of 1."""

    def forward(self, z):
        """Returns them."""
        return z * torch.rsqrt((z * z).mean(-1, keepdim=True) + 1e-8)


class Activated(Dense):
    """A layer of the mapping network or of the discriminator's end."""

    def forward(self, x):
        """Returns the result [..., features]."""
        return activate(super().forward(x))


class Weight(nn.Module):
    """A parameter by its name."""

    def __init__(self, name: str, value):
        super().__init__()
        self.register_parameter(name, nn.Parameter(value))


class Modulated(nn.Module):
    """A convolution with a style: channels are scaled before and after one that is the same for all images."""

    def __init__(self, inputs: int, features: int, side: int, latent: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(1, features, inputs, side, side))
        self.modulation = Dense(latent, inputs, bias=1.0)

    def forward(self, x, w, normalised: bool, enlarges: bool = False):
        """Returns the result [b, features, h, w]."""
        style = self.modulation(w)
        kernel = scaled(self.weight[0])
        x = x * style[:, :, None, None]
        if enlarges:
            x = F.conv_transpose2d(x, kernel.transpose(0, 1), stride=2)
            x = filtered(x, (1, 1), gain=4)
        else:
            x = F.conv2d(x, kernel, padding=kernel.shape[-1] // 2)
        if normalised:
            variance = (style * style) @ (kernel * kernel).sum((2, 3)).T
            x = x * torch.rsqrt(variance + 1e-8)[:, :, None, None]
        return x


class Layer(nn.Module):
    """A convolution with a style, noise, a bias and LeakyReLU."""

    def __init__(self, inputs: int, features: int, latent: int):
        super().__init__()
        self.conv = Modulated(inputs, features, 3, latent)
        self.noise = Weight("weight", torch.zeros(1))
        self.activate = Weight("bias", torch.zeros(features))

    def forward(self, x, w, noise, enlarges: bool = False):
        """Returns the result [b, features, h, w]."""
        x = self.conv(x, w, normalised=True, enlarges=enlarges)
        x = x + self.noise.weight * noise
        return activate(x + self.activate.bias[:, None, None])


class Colours(nn.Module):
    """What a block adds to the image."""

    def __init__(self, inputs: int, latent: int):
        super().__init__()
        self.conv = Modulated(inputs, 3, 1, latent)
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))

    def forward(self, x, w):
        """Returns colours [b, 3, h, w]."""
        return self.conv(x, w, normalised=False) + self.bias


class Generator(nn.Module):
    """Both networks of the generator."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        latent = config.latent
        mapping = [Activated(latent, latent, rate=0.01) for _ in range(config.mapping_layers)]
        self.style = nn.Sequential(Normalise(), *mapping)
        widths = [config.channels(side) for side in config.sides]
        self.input = Weight("input", torch.randn(1, widths[0], FIRST, FIRST))
        self.conv1 = Layer(widths[0], widths[0], latent)
        self.to_rgb1 = Colours(widths[0], latent)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for before, width in itertools.pairwise(widths):
            self.convs += [Layer(before, width, latent), Layer(width, width, latent)]
            self.to_rgbs.append(Colours(width, latent))
        self.noises = nn.Module()
        for i in range(config.layers - 1):
            side = FIRST << ((i + 1) // 2)
            self.noises.register_buffer(f"noise_{i}", torch.randn(1, 1, side, side))

    def forward(self, w, draws_noise: bool = True):
        """Returns images [b, 3, r, r] in [-1, 1] of styles [b, layers, latent]."""
        noise = list(self.noises.buffers())
        if draws_noise:
            noise = [torch.randn(len(w), *n.shape[1:], device=w.device) for n in noise]
        x = self.input.input.expand(len(w), -1, -1, -1)
        x = x.contiguous(memory_format=torch.channels_last)
        x = self.conv1(x, w[:, 0], noise[0])
        image = self.to_rgb1(x, w[:, 1])
        for i, colours in enumerate(self.to_rgbs):
            first = 2 * i + 1
            x = self.convs[2 * i](x, w[:, first], noise[first], enlarges=True)
            x = self.convs[2 * i + 1](x, w[:, first + 1], noise[first + 1])
            image = enlarged(image) + colours(x, w[:, first + 2])
        return image


def enlarged(image):
    """Returns an image twice as large."""
    b, c, h, w = image.shape
    spread = image.new_zeros(b, c, h, 2, w, 2)
    spread[:, :, :, 0, :, 0] = image
    return filtered(spread.reshape(b, c, 2 * h, 2 * w), (2, 1), gain=4)


class Convolution(nn.Sequential):
    """A convolution, its bias and LeakyReLU; half as large if it reduces."""

    def __init__(self, inputs: int, features: int, side: int, reduces: bool = False):
        layers = [Weight("weight", torch.randn(features, inputs, side, side))]
        layers.append(Weight("bias", torch.zeros(features)))
        # Checkpoints have the filter first.
        super().__init__(*([nn.Identity()] if reduces else []), *layers)
        self.reduces = reduces

    def forward(self, x):
        """Returns the result [b, features, h, w]."""
        weight, bias = self[-2].weight, self[-1].bias
        if self.reduces:
            x = F.conv2d(filtered(x, (2, 2)), scaled(weight), stride=2)
        else:
            x = F.conv2d(x, scaled(weight), padding=weight.shape[-1] // 2)
        return activate(x + bias[:, None, None])


class Block(nn.Module):
    """A residual block."""

    def __init__(self, inputs: int, features: int):
        super().__init__()
        self.conv1 = Convolution(inputs, inputs, 3)
        self.conv2 = Convolution(inputs, features, 3, reduces=True)
        bypass = Weight("weight", torch.randn(features, inputs, 1, 1))
        self.skip = nn.Sequential(nn.Identity(), bypass)

    def forward(self, x):
        """Returns the result [b, features, h / 2, w / 2]."""
        bypass = F.conv2d(filtered(x, (1, 1))[:, :, ::2, ::2], scaled(self.skip[1].weight))
        return (self.conv2(self.conv1(x)) + bypass) / math.sqrt(2)


class Discriminator(nn.Module):
    """The discriminator, whose groups are neighbours."""

    def __init__(self, config: StyleGAN2Config):
        super().__init__()
        widths = [config.channels(side) for side in reversed(config.sides)]
        self.convs = nn.Sequential(Convolution(3, widths[0], 1))
        for width, after in itertools.pairwise(widths):
            self.convs.append(Block(width, after))
        last = widths[-1]
        self.final_conv = Convolution(last + 1, last, 3)
        self.final_linear = nn.Sequential(Activated(16 * last, last), Dense(last, 1))

    def forward(self, images):
        """Returns verdicts [b] on images in [-1, 1]."""
        x = self.convs(images)
        groups = x.unflatten(0, (-1, 4))
        deviation = (groups.var(1, unbiased=False) + 1e-8).sqrt().mean((1, 2, 3))
        deviation = deviation.repeat_interleave(4)[:, None, None, None].expand(-1, 1, 4, 4)
        x = self.final_conv(torch.cat([x, deviation], 1))
        return self.final_linear(x.flatten(1))[:, 0]


def tensors_of(generator: Generator, discriminator: Discriminator) -> dict[str, np.ndarray]:
    """Returns all weights as a file would have them, with a mean style of zeros."""
    tensors = dict(generator.state_dict())
    for name, tensor in discriminator.state_dict().items():
        tensors[f"discriminator.{name}"] = tensor
    arrays = {name: tensor.cpu().numpy() for name, tensor in tensors.items()}
    arrays["latent_avg"] = np.zeros(generator.style[1].bias.shape, np.float32)
    return arrays


class TorchTraining:
    """The training step in PyTorch, channels last, with neither ADA nor averaged weights.

    Args:
        config: shape of the networks.
        real: images [b, r, r, 3] in [0, 1], which every step takes.
        weights: of the penalties: R1 and path lengths, as they count in their steps.
        learning_rate: of Adam.
        compiled: whether the networks are compiled; then there are no penalties, for their second derivatives are not
            to be had.
    """

    def __init__(
        self,
        config: StyleGAN2Config,
        real: np.ndarray,
        weights: dict[str, float],
        learning_rate: float,
        compiled: bool,
    ):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.config = config
        self.generator = Generator(config).to(self.device)
        self.discriminator = Discriminator(config).to(self.device)
        self.make: Callable = self.generator
        self.judge: Callable = self.discriminator
        if compiled:
            self.make = torch.compile(self.generator, dynamic=False)
            self.judge = torch.compile(self.discriminator, dynamic=False)
        images = torch.from_numpy(2 * real - 1).permute(0, 3, 1, 2)
        self.real = images.to(self.device, memory_format=torch.channels_last)
        self.weights = weights
        self.path_length = torch.zeros((), device=self.device)
        networks = (self.generator, self.discriminator)
        self.optimizers = [
            torch.optim.Adam(n.parameters(), lr=learning_rate, betas=(0.0, 0.99), fused=True)
            for n in networks
        ]

    def step(self, due: Sequence[str] = ()) -> None:
        """Makes one step, with what is due: "penalty", "path"."""
        for optimizer in self.optimizers:
            optimizer.zero_grad()
        w = self.draw_styles(len(self.real))
        made = self.make(w)

        # The generator, against a discriminator that stays as it is
        self.discriminator.requires_grad_(False)
        total = F.softplus(-self.judge(made)).mean()
        if "path" in due:
            total = total + self.weights["path"] * self.uneven_paths(w[::2])
        total.backward()

        # The discriminator, on images that stay as they are
        self.discriminator.requires_grad_(True)
        real = self.real.detach().requires_grad_("penalty" in due)
        of_real = self.judge(real)
        total = (F.softplus(-of_real) + F.softplus(self.judge(made.detach()))).mean()
        if "penalty" in due:
            (slopes,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
            total = total + self.weights["penalty"] * (slopes**2).sum((1, 2, 3)).mean()
        total.backward()
        for optimizer in self.optimizers:
            optimizer.step()
        if self.device.type == "cuda":
            torch.cuda.synchronize()

    def draw_styles(self, count: int):
        """Returns styles [b, layers, latent] of two latents for each image."""
        z = torch.randn(2, count, self.config.latent, device=self.device)
        one, other = self.generator.style(z)
        layer = torch.arange(self.config.layers, device=self.device)
        begins = torch.randint(1, self.config.layers, (count, 1), device=self.device)
        return torch.where((layer < begins)[..., None], one[:, None], other[:, None])

    def uneven_paths(self, w):
        """Returns the penalty on path lengths."""
        images = self.make(w)
        directions = torch.randn_like(images) / images.shape[-1]
        (slopes,) = torch.autograd.grad((images * directions).sum(), w, create_graph=True)
        lengths = (slopes**2).sum(-1).mean(-1).sqrt()
        self.path_length = torch.lerp(self.path_length, lengths.mean().detach(), 0.01)
        return ((lengths - self.path_length) ** 2).mean()

    def first_gradients(self, z: np.ndarray) -> tuple[list[float], np.ndarray, np.ndarray]:
        """Returns norms of both networks' gradients, images [b, 3, r, r] and verdicts, of latents z and fixed noise.

        The norms are of the generator's loss and of the discriminator's with its penalty.
        """
        w = self.generator.style(torch.from_numpy(z).to(self.device))
        made = self.generator(w[:, None].expand(-1, self.config.layers, -1), draws_noise=False)
        of_generator = F.softplus(-self.discriminator(made)).mean()
        real = self.real.detach().requires_grad_(True)
        of_real, of_made = self.discriminator(real), self.discriminator(made.detach())
        (slopes,) = torch.autograd.grad(of_real.sum(), real, create_graph=True)
        of_discriminator = (F.softplus(-of_real) + F.softplus(of_made)).mean()
        of_discriminator = of_discriminator + (slopes**2).sum((1, 2, 3)).mean()
        norms = []
        for loss, network in (
            (of_generator, self.generator),
            (of_discriminator, self.discriminator),
        ):
            gradients = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
            norms.append(math.sqrt(sum(float((g**2).sum()) for g in gradients)))
        return norms, made.detach().cpu().numpy(), of_real.detach().cpu().numpy()
