"""StyleGAN2 in plain NumPy and SciPy, straight from the paper, on tensors by PyTorch's names; float64, image by image.

Every image has kernels of its own, which its styles scale and normalise; the filter is SciPy's `upfirdn`.
"""

import numpy as np
from scipy.signal import correlate2d, upfirdn

TAPS = np.array([1, 3, 3, 1]) / 8


def random_tensors(
    resolution: int, channels: dict[int, int], latent: int, layers: int, discriminator: bool = True
) -> dict[str, np.ndarray]:
    """Tensors of both networks, and the filters that files have among them.

    Args:
        resolution: of the images.
        channels: by side.
        latent: length of latents.
        layers: of the mapping network.
        discriminator: whether its tensors are there.
    """
    rng = np.random.default_rng(0)
    tensors = {}

    def add(name, *shape, scale=1.0):
        tensors[name] = (scale * rng.normal(size=shape)).astype(np.float32)

    def add_style(name, out, into, side):
        add(f"{name}.conv.weight", 1, out, into, side, side)
        add(f"{name}.conv.modulation.weight", into, latent)
        add(f"{name}.conv.modulation.bias", into)

    def add_layer(name, out, into):
        add_style(name, out, into, 3)
        add(f"{name}.noise.weight", 1)
        add(f"{name}.activate.bias", out)

    for i in range(layers):
        add(f"style.{i + 1}.weight", latent, latent, scale=100)
        add(f"style.{i + 1}.bias", latent, scale=100)
    add("input.input", 1, channels[4], 4, 4)
    add_layer("conv1", channels[4], channels[4])
    add_style("to_rgb1", 3, channels[4], 1)
    add("to_rgb1.bias", 1, 3, 1, 1)
    add("noises.noise_0", 1, 1, 4, 4)
    sides = [side for side in sorted(channels) if 4 < side <= resolution]
    for i, side in enumerate(sides):
        add_layer(f"convs.{2 * i}", channels[side], channels[side // 2])
        add_layer(f"convs.{2 * i + 1}", channels[side], channels[side])
        add_style(f"to_rgbs.{i}", 3, channels[side], 1)
        add(f"to_rgbs.{i}.bias", 1, 3, 1, 1)
        for k in (1, 2):
            add(f"noises.noise_{2 * i + k}", 1, 1, side, side)
        for name in (f"convs.{2 * i}.conv.blur.kernel", f"to_rgbs.{i}.upsample.kernel"):
            tensors[name] = np.float32(4 * np.outer(TAPS, TAPS))
    add("latent_avg", latent)
    if not discriminator:
        return tensors

    prefix = "discriminator."
    add(f"{prefix}convs.0.0.weight", channels[resolution], 3, 1, 1)
    add(f"{prefix}convs.0.1.bias", channels[resolution])
    for i, side in enumerate(reversed(sides), 1):
        block, into, out = f"{prefix}convs.{i}", channels[side], channels[side // 2]
        add(f"{block}.conv1.0.weight", into, into, 3, 3)
        add(f"{block}.conv1.1.bias", into)
        add(f"{block}.conv2.1.weight", out, into, 3, 3)
        add(f"{block}.conv2.2.bias", out)
        add(f"{block}.skip.1.weight", out, into, 1, 1)
        for name in ("conv2.0", "skip.0"):
            tensors[f"{block}.{name}.kernel"] = np.float32(np.outer(TAPS, TAPS))
    last = channels[4]
    add(f"{prefix}final_conv.0.weight", last, last + 1, 3, 3)
    add(f"{prefix}final_conv.1.bias", last)
    add(f"{prefix}final_linear.0.weight", last, 16 * last)
    add(f"{prefix}final_linear.0.bias", last)
    add(f"{prefix}final_linear.1.weight", 1, last)
    add(f"{prefix}final_linear.1.bias", 1)
    return tensors


def styles(tensors, z):
    """The styles [b, latent] of latents."""
    x = z / np.sqrt((z**2).mean(-1, keepdims=True) + 1e-8)
    i = 1
    while f"style.{i}.weight" in tensors:
        weight = tensors[f"style.{i}.weight"].astype(np.float64)
        # Learns at a hundredth of the rate
        weight = weight * 0.01 / np.sqrt(weight.shape[1])
        x = lrelu(x @ weight.T + 0.01 * tensors[f"style.{i}.bias"])
        i += 1
    return x


def synthesize(tensors, w):
    """The image [3, r, r], in [-1, 1], of the styles [layers, latent] of one image."""
    x = tensors["input.input"][0].astype(np.float64)
    x = layer(tensors, "conv1", x, w[0], tensors["noises.noise_0"])
    image = colours(tensors, "to_rgb1", x, w[1])
    block = 0
    while f"to_rgbs.{block}.bias" in tensors:
        noise = [tensors[f"noises.noise_{2 * block + k}"] for k in (1, 2)]
        first = 1 + 2 * block
        x = layer(tensors, f"convs.{2 * block}", x, w[first], noise[0], enlarges=True)
        x = layer(tensors, f"convs.{2 * block + 1}", x, w[first + 1], noise[1])
        image = resampled(image, up=2, gain=4, before=2, behind=1)
        image = image + colours(tensors, f"to_rgbs.{block}", x, w[first + 2])
        block += 1
    return image


def judge(tensors, images):
    """The verdicts on a group of images [b, 3, r, r] in [-1, 1]."""
    tensors = {
        name.removeprefix("discriminator."): tensor.astype(np.float64)
        for name, tensor in tensors.items()
        if name.startswith("discriminator.")
    }

    def weight(name):
        kernel = tensors[name]
        return kernel / np.sqrt(kernel[0].size)

    def bias(name):
        return tensors[name][:, None, None]

    maps = []
    for image in images:
        x = lrelu(convolve(image, weight("convs.0.0.weight")) + bias("convs.0.1.bias"))
        i = 1
        while f"convs.{i}.conv1.0.weight" in tensors:
            name = f"convs.{i}"
            y = lrelu(
                convolve(x, weight(f"{name}.conv1.0.weight"), 1) + bias(f"{name}.conv1.1.bias")
            )
            y = resampled(y, before=2, behind=2)
            y = convolve(y, weight(f"{name}.conv2.1.weight"))[:, ::2, ::2]
            y = lrelu(y + bias(f"{name}.conv2.2.bias"))
            skip = resampled(x, before=1, behind=1)[:, ::2, ::2]
            x = (y + convolve(skip, weight(f"{name}.skip.1.weight"))) / np.sqrt(2)
            i += 1
        maps.append(x)
    x = np.stack(maps)
    deviation = np.sqrt(x.var(0) + 1e-8).mean()
    verdicts = []
    for image in x:
        image = np.concatenate([image, np.full((1, 4, 4), deviation)])
        image = lrelu(convolve(image, weight("final_conv.0.weight"), 1) + bias("final_conv.1.bias"))
        hidden = weight("final_linear.0.weight") @ image.reshape(-1)
        hidden = lrelu(hidden + tensors["final_linear.0.bias"])
        verdict = weight("final_linear.1.weight") @ hidden + tensors["final_linear.1.bias"]
        verdicts.append(verdict[0])
    return np.array(verdicts)


def layer(tensors, name, x, w, noise, enlarges=False):
    """A convolution with a style, noise, bias and LeakyReLU."""
    kernel = own_kernel(tensors, name, w)
    kernel = kernel / np.sqrt((kernel**2).sum((1, 2, 3), keepdims=True) + 1e-8)
    if enlarges:
        spread = np.zeros((len(x), 2 * x.shape[1] - 1, 2 * x.shape[2] - 1))
        spread[:, ::2, ::2] = x
        # A transposed convolution: true convolutions, kernels turned round
        wide = convolve(spread, kernel[:, :, ::-1, ::-1], 2)
        y = resampled(wide, gain=4, before=1, behind=1)
    else:
        y = convolve(x, kernel, 1)
    y = y + tensors[f"{name}.noise.weight"] * noise[0]
    return lrelu(y + tensors[f"{name}.activate.bias"][:, None, None])


def colours(tensors, name, x, w):
    return convolve(x, own_kernel(tensors, name, w)) + tensors[f"{name}.bias"][0]


def own_kernel(tensors, name, w):
    """An image's kernel [out, in, h, w]."""
    modulation = tensors[f"{name}.conv.modulation.weight"].astype(np.float64)
    style = modulation @ w / np.sqrt(len(w)) + tensors[f"{name}.conv.modulation.bias"]
    kernel = tensors[f"{name}.conv.weight"][0].astype(np.float64)
    return kernel / np.sqrt(kernel[0].size) * style[:, None, None]


def convolve(x, kernel, around=0):
    """Correlations of channels [in, h, w] with kernels [out, in, h, w]."""
    x = np.pad(x, ((0, 0), (around, around), (around, around)))
    return np.stack(
        [
            sum(correlate2d(channel, taps, "valid") for channel, taps in zip(x, own, strict=True))
            for own in kernel
        ]
    )


def resampled(x, up=1, gain=1, before=0, behind=0):
    """Channels with zeros between their pixels and around them, through the filter."""
    _, h, w = x.shape
    spread = np.zeros((len(x), up * h, up * w))
    spread[:, ::up, ::up] = x
    spread = np.pad(spread, ((0, 0), (before, behind), (before, behind)))
    for axis in (1, 2):
        full = upfirdn(TAPS, spread, axis=axis)
        spread = np.take(full, range(len(TAPS) - 1, full.shape[axis] - len(TAPS) + 1), axis)
    return gain * spread


def lrelu(x):
    return np.sqrt(2) * np.where(x > 0, x, 0.2 * x)
