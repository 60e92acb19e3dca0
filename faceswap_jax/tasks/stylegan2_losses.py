"""The losses of StyleGAN2: a generator against a discriminator, and what now and then holds each of them.

Both learn in the same step from the same images, each against the other as it was. The source lets the discriminator
see images of its own, which are made for it once more (choice: a fifth less to compute).
"""

from collections.abc import Collection, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from jax.lax import stop_gradient
from jaxtyping import Array, Float, PRNGKeyArray, PyTree

from faceswap_jax.losses.adversarial import ADVERSARIES, gradient_penalty
from faceswap_jax.losses.path_length import path_lengths
from faceswap_jax.models import residual, stylegan2
from faceswap_jax.models.stylegan2 import StyleGAN2Config
from faceswap_jax.ops import adaptive
from faceswap_jax.ops.layout import as_batch

PENALTY, PATH = "penalty", "path"
"""What is added to a step now and then: gradient penalties, the penalty on path lengths."""

PATH_MEMORY = 0.99
"""How much of the mean path length stays when a new one is told."""

PATH_PART = 2
"""Of so many images one is looked at for path lengths, which take much memory."""

RELATIVISTIC = "relativistic"

Images = Float[Array, "b r r 3"]
Params = Mapping[str, PyTree]


class Told(NamedTuple):
    """What the losses tell besides.

    Attributes:
        metrics: for people.
        mean_style: of the images that were made.
        path_length: the running mean after this step.
        sign: mean sign of the verdicts on real images; of a relativistic loss, of how much more real they look.
    """

    metrics: dict[str, Float[Array, ""]]
    mean_style: Float[Array, "latent"]
    path_length: Float[Array, ""]
    sign: Float[Array, ""]


def losses(
    model: StyleGAN2Config,
    config: ml_collections.ConfigDict,
    due: Collection[str],
    params: Params,
    running: Mapping[str, PyTree],
    real: Images,
    key: PRNGKeyArray,
) -> tuple[Float[Array, ""], Told]:
    """The sum that both sides go down, each with its own weights.

    Args:
        model: shape of the networks.
        config: the experiment's; of `config.loss` the weights.
        due: of `PENALTY` and `PATH`.
        params: of mapping, synthesis and discriminator.
        running: "probability" of changes and mean "path_length".
        real: in [0, 1].
        key: all that is drawn.
    """
    weights = config.loss
    style_key, noise_key, made_key, real_key, path_key = jax.random.split(key, 5)
    w = draw_styles(model, params, len(real), config.mixing, style_key)
    made = stylegan2.synthesize(model, params, w, noise_key)

    # What the discriminator sees
    if config.augment.target or config.augment.probability:
        change = partial(adaptive.changed, probability=running["probability"])
        real = change(real_key, real)
        made = change(made_key, made)

    # The generator against a discriminator that stays as it is
    adversary = ADVERSARIES[weights.adversary]
    judge_still = partial(residual.apply, model, stop_gradient(params["discriminator"]))
    of_generator = adversary.generator(judge_still(real), judge_still(made)).mean()
    metrics = {"loss_generator": of_generator}
    total = of_generator

    path_length = running["path_length"]
    if PATH in due:
        lengths = _path_lengths(model, params, w, path_key)
        path_length = PATH_MEMORY * path_length + (1 - PATH_MEMORY) * lengths.mean()
        path_length = stop_gradient(path_length)
        uneven = ((lengths - path_length) ** 2).mean()
        # Lazily: what is done now and then counts the more.
        total += weights.path * weights.path_every * uneven
        metrics |= {"path_length": lengths.mean(), "path_penalty": uneven}

    # The discriminator against images that stay as they are
    made = stop_gradient(made)
    judge = partial(residual.apply, model, params["discriminator"])
    of_real, of_made = judge(real), judge(made)
    of_discriminator = adversary.discriminator(of_real, of_made).mean()
    metrics["loss_discriminator"] = of_discriminator
    total += of_discriminator
    if PENALTY in due:
        metrics["penalty"] = _penalty(judge, real)
        held = weights.penalty * metrics["penalty"]
        if weights.penalty_made:
            metrics["penalty_made"] = _penalty(judge, made)
            held += weights.penalty_made * metrics["penalty_made"]
        total += 0.5 * weights.penalty_every * held

    relativistic = weights.adversary == RELATIVISTIC
    sure = of_real - of_made if relativistic else of_real
    sign = jnp.sign(sure).mean()
    if relativistic:
        metrics["sign/pairs"] = sign
    else:
        metrics |= {"sign/real": sign, "sign/made": jnp.sign(of_made).mean()}
    return total, Told(metrics, stop_gradient(w.mean((0, 1))), path_length, sign)


def _penalty(judge, images):
    """Of slopes on images as the discriminator sees them, changed, and in the source's scale, -1 to 1."""
    return gradient_penalty(lambda x: [judge((x + 1) / 2)], 2 * images - 1)


def draw_styles(
    model: StyleGAN2Config, params: Params, count: int, mixing: float, key: PRNGKeyArray
) -> stylegan2.Styles:
    """Styles of drawn latents; a fraction of the images has those of two latents, from a layer of its own on."""
    z_key, mixed_key, layer_key = jax.random.split(key, 3)
    z = jax.random.normal(z_key, (2, count, model.latent))
    one, other = (
        stylegan2.everywhere(model, stylegan2.styles(model, params, latents)) for latents in z
    )
    layer = jax.random.randint(layer_key, (count,), 1, model.layers)
    is_mixed = jax.random.bernoulli(mixed_key, mixing, (count,))
    w = stylegan2.mixed(one, other, jnp.where(is_mixed, layer, model.layers))
    return as_batch(w)


def _path_lengths(model, params, w, key):
    """Of every other image: each device has as many of them."""
    noise_key, direction_key = jax.random.split(key)

    def generate(w):
        return 2 * stylegan2.synthesize(model, params, w, noise_key) - 1

    return path_lengths(generate, as_batch(w[::PATH_PART]), direction_key)
