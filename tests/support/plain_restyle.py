"""ReStyle with pSp's encoder in plain NumPy, straight from the paper, on tensors by the names of public checkpoints."""

from pathlib import Path

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from safetensors.numpy import save_file

from tests.support import plain_stylegan2

SIDE, RESOLUTION, LATENT = 8, 16, 6
CHANNELS = {4: 6, 8: 6, 16: 4}
"""Of the generator of `write_restyle`, by side."""


def write_restyle(path: Path) -> dict[str, np.ndarray]:
    """A small file, .safetensors or .npz, and its tensors.

    The first of two stages keeps its channels, and the generator makes images twice as large as the encoder reads.
    """
    stages = [(1, 16), (2, 32)]
    tensors = random_tensors(RESOLUTION, CHANNELS, LATENT, stem=16, stages=stages, halvings=1)
    write(path, tensors)
    return tensors


def write(path: Path, tensors: dict[str, np.ndarray]) -> None:
    """A file of tensors, .safetensors or .npz."""
    if path.suffix == ".npz":
        np.savez(path, **tensors)
    else:
        save_file(tensors, path)


def random_tensors(
    resolution: int,
    channels: dict[int, int],
    latent: int,
    stem: int,
    stages: list[tuple[int, int]],
    halvings: int,
) -> dict[str, np.ndarray]:
    """Tensors of encoder and generator, all of which count.

    Args:
        resolution: of the generator's images.
        channels: of the generator, by side.
        latent: length of styles.
        stem: channels before the first stage of the encoder.
        stages: of the encoder: number of blocks, channels.
        halvings: convolutions of a head.
    """
    rng = np.random.default_rng(0)
    tensors = {}

    def add(name, *shape, mean=0.0, scale=0.3):
        tensors[name] = rng.normal(mean, scale, shape).astype(np.float32)

    def add_conv(name, out, into, side=3):
        add(f"{name}.weight", out, into, side, side, scale=np.sqrt(1.5 / (into * side**2)))

    def add_norm(name, size):
        add(f"{name}.weight", size, mean=1)
        add(f"{name}.bias", size)
        add(f"{name}.running_mean", size)
        tensors[f"{name}.running_var"] = rng.uniform(0.3, 2, size).astype(np.float32)
        tensors[f"{name}.num_batches_tracked"] = np.array(7)

    add_conv("encoder.input_layer.0", stem, 6)
    add_norm("encoder.input_layer.1", stem)
    add("encoder.input_layer.2.weight", stem)
    into, number = stem, 0
    for blocks, out in stages:
        for _ in range(blocks):
            name = f"encoder.body.{number}"
            if into != out:
                add_conv(f"{name}.shortcut_layer.0", out, into, 1)
                add_norm(f"{name}.shortcut_layer.1", out)
            name = f"{name}.res_layer"
            add_norm(f"{name}.0", into)
            add_conv(f"{name}.1", out, into)
            add(f"{name}.2.weight", out)
            add_conv(f"{name}.3", out, out)
            add_norm(f"{name}.4", out)
            add_conv(f"{name}.5.fc1", out // 16, out, 1)
            add_conv(f"{name}.5.fc2", out, out // 16, 1)
            into, number = out, number + 1

    made = plain_stylegan2.random_tensors(resolution, channels, latent, 2, discriminator=False)
    mean = made.pop("latent_avg")
    layers = 2 * len([side for side in channels if side <= resolution])
    for k in range(layers):
        for n in range(halvings):
            conv = f"encoder.styles.{k}.convs.{2 * n}"
            add_conv(conv, latent, latent if n else into)
            add(f"{conv}.bias", latent)
        add(f"encoder.styles.{k}.linear.weight", latent, latent)
        add(f"encoder.styles.{k}.linear.bias", latent)

    tensors |= {f"decoder.{name}": tensor for name, tensor in made.items()}
    # As published: the same for every layer
    tensors["latent_avg"] = np.tile(mean, (layers, 1))
    return tensors


def invert(tensors, picture, refinements):
    """The styles [layers, latent] and the image [3, r, r] of a picture [3, s, s], both in [-1, 1], step by step.

    The mean's come first.
    """
    decoder = {
        name.removeprefix("decoder."): tensor
        for name, tensor in tensors.items()
        if name.startswith("decoder.")
    }
    styles = np.float64(tensors["latent_avg"])
    found = [(styles, plain_stylegan2.synthesize(decoder, styles))]
    for _ in range(refinements):
        styles, image = found[-1]
        seen = pooled(image, picture.shape[-1])
        styles = styles + encode(tensors, np.concatenate([picture, seen]))
        found.append((styles, plain_stylegan2.synthesize(decoder, styles)))
    return found


def pooled(image, side):
    """The mean of the pixels in every one of so many squares."""
    square = image.shape[-1] // side
    return image.reshape(3, side, square, side, square).mean((2, 4))


def encode(tensors, x):
    """The change of styles [layers, latent] for a picture and what was made of it [6, s, s], both in [-1, 1]."""
    tensors = {
        name.removeprefix("encoder."): tensor
        for name, tensor in tensors.items()
        if name.startswith("encoder.")
    }
    x = normalised(tensors, "input_layer.1", convolve(tensors, "input_layer.0", x))
    x = rectified(x, tensors["input_layer.2.weight"])
    number = 0
    while f"body.{number}.res_layer.0.weight" in tensors:
        x = block(tensors, f"body.{number}", x, first=number == 0)
        number += 1

    styles = []
    while f"styles.{len(styles)}.linear.weight" in tensors:
        styles.append(head(tensors, f"styles.{len(styles)}", x))
    return np.stack(styles)


def block(tensors, name, x, first):
    """A residual block; the first one, and those that change the number of channels, halve the side."""
    projects = f"{name}.shortcut_layer.0.weight" in tensors
    strides = 2 if first or projects else 1
    res = f"{name}.res_layer"
    h = convolve(tensors, f"{res}.1", normalised(tensors, f"{res}.0", x))
    h = convolve(tensors, f"{res}.3", rectified(h, tensors[f"{res}.2.weight"]), strides)
    h = normalised(tensors, f"{res}.4", h)

    # How much each channel counts
    weights = convolve(tensors, f"{res}.5.fc1", h.mean((1, 2), keepdims=True))
    weights = convolve(tensors, f"{res}.5.fc2", np.maximum(weights, 0))
    h = h / (1 + np.exp(-weights))

    if projects:
        short = convolve(tensors, f"{name}.shortcut_layer.0", x, strides)
        return h + normalised(tensors, f"{name}.shortcut_layer.1", short)
    return h + x[:, ::strides, ::strides]


def head(tensors, name, x):
    """A style [latent] of a map."""
    n = 0
    while f"{name}.convs.{n}.weight" in tensors:
        x = convolve(tensors, f"{name}.convs.{n}", x, 2)
        x = rectified(x + tensors[f"{name}.convs.{n}.bias"][:, None, None], np.array([0.01]))
        n += 2
    weight = np.float64(tensors[f"{name}.linear.weight"])
    return weight @ x[:, 0, 0] / np.sqrt(weight.shape[1]) + tensors[f"{name}.linear.bias"]


def convolve(tensors, name, x, strides=1):
    """Correlations of channels [in, h, w] with kernels [out, in, k, k], and zeros around."""
    kernel = np.float64(tensors[f"{name}.weight"])
    side = kernel.shape[-1]
    around = side // 2
    x = np.pad(x, ((0, 0), (around, around), (around, around)))
    windows = sliding_window_view(x, (side, side), (1, 2))[:, ::strides, ::strides]
    return np.einsum("ihwkl,oikl->ohw", windows, kernel, optimize=True)


def normalised(tensors, name, x):
    """By the running statistics of a batch normalisation."""
    parts = ("weight", "bias", "running_mean", "running_var")
    scale, shift, mean, variance = (np.float64(tensors[f"{name}.{part}"]) for part in parts)
    scale = scale / np.sqrt(variance + 1e-5)
    return (x - mean[:, None, None]) * scale[:, None, None] + shift[:, None, None]


def rectified(x, slopes):
    return np.where(x > 0, x, slopes[:, None, None] * x)
