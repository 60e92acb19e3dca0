"""e4e's game for the inversion: its styles against those that the mapping network makes (Tov et al., SIGGRAPH 2021).

The discriminator sees single styles, not all of an image. So each style by itself is pulled to where the generator was
trained, and edits go on to work there.
"""

import jax
import jax.numpy as jnp
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from faceswap_jax.losses.adversarial import ADVERSARIES, gradient_penalty
from faceswap_jax.models import style_discriminator

ADVERSARY = ADVERSARIES["cross_entropy"]

Styles = Float[Array, "b styles latent"]
Singles = Float[Array, "b latent"]
Count = Int[Array, ""] | int
Value = Float[Array, ""]


def of_encoder(discriminator: PyTree, w: Styles, begun: Count) -> Value:
    """What the encoder pays, against a discriminator that stays as it is: the mean over the styles that have begun."""
    verdicts = style_discriminator.apply(stop_gradient(discriminator), w)
    pays = ADVERSARY.generator(verdicts, verdicts).mean(0)
    return pays.mean(where=jnp.arange(len(pays)) < begun)


def of_discriminator(
    discriminator: PyTree, real: Singles, fake: Singles, penalty: float
) -> tuple[Value, dict[str, Value]]:
    """What the discriminator pays for styles that stay as they are; and the terms.

    Args:
        discriminator: its weights.
        real: styles of the mapping network.
        fake: styles of the encoder.
        penalty: weight of R1; 0 leaves it out of the program.
    """

    def judge(w):
        return style_discriminator.apply(discriminator, w)

    loss = ADVERSARY.discriminator(judge(real), judge(fake)).mean()
    terms = {"discriminator": loss}
    if penalty:
        terms["penalty"] = gradient_penalty(lambda w: [judge(w)], real)
        loss += 0.5 * penalty * terms["penalty"]
    return loss, terms


def singles(w: Styles, begun: Count, key: PRNGKeyArray) -> Singles:
    """One style of each image: any of those that have begun."""
    layers = jax.random.randint(key, (len(w), 1, 1), 0, begun)
    return jnp.take_along_axis(w, layers, axis=1)[:, 0]


def pooled(
    pool: Float[Array, "size latent"], w: Singles, step: Int[Array, ""], key: PRNGKeyArray
) -> tuple[Singles, Float[Array, "size latent"]]:
    """Styles to show instead, half of them of earlier steps; and the pool that remembers these.

    The first steps fill the pool, and their styles are shown. From then on every other style changes places with one of
    the pool.

    Args:
        pool: at least as many styles as `w` has.
        w: new styles.
        step: number of steps done before this one.
        key: all that is drawn.
    """
    size, count = len(pool), len(w)
    slot_key, change_key = jax.random.split(key)
    is_filling = step < -(-size // count)

    # Each style has a slot of its own.
    next_ones = (step * count + jnp.arange(count)) % size
    drawn = jax.random.permutation(slot_key, size)[:count]
    slots = jnp.where(is_filling, next_ones, drawn)

    old = pool[slots]
    changes = jax.random.bernoulli(change_key, 0.5, (count, 1))
    shown = jnp.where(changes & ~is_filling, old, w)
    kept = jnp.where(changes | is_filling, w, old)
    return shown, pool.at[slots].set(kept)
