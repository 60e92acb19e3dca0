"""The losses of MC-AAD: every picture of a batch is changed, and every picture lends its features to another.

So nothing is loaded, encoded or reconstructed twice, and of images that lie on several devices only vectors travel. The
pairs of the source, (I_att, I_id) with Y_ac and Y_ca, are two pictures that lend each other their identities.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
import numpy as np
from jax.lax import stop_gradient
from jaxtyping import Array, Float, Int, PRNGKeyArray, PyTree

from faceswap_jax.faces.ibug import JAW, LEFT_EYE, MOUTH_CORNERS, NOSE, RIGHT_EYE
from faceswap_jax.losses import adversarial, attributes
from faceswap_jax.losses.adversarial import ADVERSARIES
from faceswap_jax.models import attribute, discriminator
from faceswap_jax.ops.masks import Ellipse, beside
from faceswap_jax.pretrained.features import FEATURES

Images = Float[Array, "b r r 3"]
Features = Mapping[str, Float[Array, "b d"]]
"""By role."""

Lenders = Mapping[str, Int[Array, "b"]]
"""By role: which picture of the batch lends each picture its feature."""


class Pictures(NamedTuple):
    """Images in [0, 1], and the landmarks of the face in each, in pixels: read if places are hidden, or count more."""

    images: Images
    landmarks: Float[Array, "b 68 2"]


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class Lending:
    """Who lends features to whom.

    Attributes:
        others: by whose features a picture is changed.
        itself: by whose features it is to be as it is: others of the same person. Its own where it is not told.
        alike: so many people side by side have the same attributes, and a picture is made of the next one's; 1: nobody
            has, and it is made of its own.
        pictures: of each of them, side by side.
    """

    others: Lenders
    itself: Lenders
    alike: int = field(default=1, metadata={"static": True})
    pictures: int = field(default=1, metadata={"static": True})


Terms = dict[str, Float[Array, ""]]

_HEAD = (JAW[0], JAW[-1]) * 2 + tuple(MOUTH_CORNERS)
"""Landmarks whose mean stays in the middle of the head's outline as it turns, however wide its jaw is."""

PLACES: Mapping[str, Sequence[Ellipse]] = {
    "eyes": [Ellipse(eye, -0.13, 0.24, 0.31) for eye in (RIGHT_EYE, LEFT_EYE)],
    "nose": [Ellipse(NOSE, 0.0, 0.16, 0.37)],
    "mouth": [Ellipse(MOUTH_CORNERS, 0.24, 0.40, 0.54)],
    "jaw": [Ellipse(_HEAD, 0.35, 0.9, 1.0, but=Ellipse(_HEAD, -0.5, 0.48, 1.25))],
}
"""Where a face shows who it is and what it does: eyes with brows; the mouth with the chin, which falls as it opens; the
outline from the ears down, on both sides of it. All of one size, whoever it is and whatever the face does: else the
hole would tell it."""


class Networks(NamedTuple):
    """The shapes of all networks.

    Attributes:
        generator: of attribute encoder and generator.
        discriminator: of the discriminator.
        frozen: of the networks that read features, by role.
        hidden: the `PLACES` that the attribute encoder doesn't see, so that features alone say what is there (choice).
    """

    generator: attribute.AttributeConfig
    discriminator: discriminator.DiscriminatorConfig
    frozen: Mapping[str, Any]
    hidden: Sequence[str] = ()

    def mask(self, landmarks: Float[Array, "b 68 2"] | None) -> Float[Array, "b r r"] | None:
        """What the attribute encoder sees of images whose faces have these landmarks, in pixels: 0 where it is blind.

        None if it sees all.
        """
        return self.outside(landmarks, self.hidden) if self.hidden else None

    def outside(
        self, landmarks: Float[Array, "b 68 2"], places: Iterable[str]
    ) -> Float[Array, "b r r"]:
        """0 in some `PLACES` of faces that have these landmarks, 1 beside them."""
        ellipses = [ellipse for place in places for ellipse in PLACES[place]]
        return beside(landmarks, face_sizes(landmarks), ellipses, self.generator.resolution)

    def encode(
        self, params: PyTree, images: Images, mask: Float[Array, "b r r"] | None
    ) -> list[Array]:
        """The maps of the attributes of images in [0, 1] of which the encoder sees what `mask` says."""
        return attribute.encode(self.generator, params, images, mask)

    def read(
        self, weights: Mapping[str, PyTree], images: Images, roles: Collection[str] | None = None
    ) -> Features:
        """What the frozen networks, or those of some roles, read off images in [0, 1], by role."""
        wanted = self.frozen if roles is None else roles
        features = {}
        for role in wanted:
            features[role] = FEATURES[role].read(self.frozen[role], weights[role], images)
        return features

    def generate(
        self, params: PyTree, maps: Sequence[Array], features: Features
    ) -> attribute.Generated:
        """Images with these attributes and features."""
        in_order = [features[role] for role in self.frozen]
        return attribute.generate(self.generator, params, maps, in_order)


def face_sizes(landmarks: Float[Array, "b 68 2"]) -> Float[Array, "b"]:
    """Of upright faces, in the landmarks' pixels.

    The root of the summed squares of two lengths, between the eyes and from there to the mouth: so it hardly changes
    when the head turns.
    """
    right, left = (landmarks[:, jnp.array(eye)].mean(1) for eye in (RIGHT_EYE, LEFT_EYE))
    mouth = landmarks[:, jnp.array(MOUTH_CORNERS)].mean(1)
    lengths = jnp.stack([left - right, mouth - (right + left) / 2])
    return jnp.sqrt((lengths**2).sum((0, 2)))


def lenders(key: PRNGKeyArray, batch: int, roles: Sequence[str], same: float) -> Lenders:
    """Who lends a feature to whom.

    Of identities, a picture of one half of the batch and one of the other; of the next role, of its quarters, and so
    on: no picture has two features of the same other picture. If i lends to j, j lends to i.

    Args:
        key: decides on the pairs that lend nothing.
        batch: number of pictures, a multiple of 2**len(roles).
        roles: of the features.
        same: fraction of the pairs in which each picture keeps its own feature.
    """
    own = np.arange(batch)
    found = {}
    for i, role in enumerate(roles):
        apart = batch // 2 ** (i + 1)
        other = own.reshape(-1, 2, apart)[:, ::-1].reshape(-1)
        # One draw for both of a pair
        draws = jax.random.uniform(jax.random.fold_in(key, i), (batch,))
        keeps = draws[np.minimum(own, other)] < same
        found[role] = jnp.where(keeps, own, other)
    return found


def lent(features: Features, by: Lenders) -> dict[str, Float[Array, "b d"]]:
    """The feature that each picture is lent, by role; its own where nobody lends it."""
    return {
        role: vectors[by[role]] if role in by else vectors for role, vectors in features.items()
    }


def neighbours(batch: int, each: int) -> Lenders:
    """Of each picture of a batch another one of the same person, which lends the identity (choice).

    What an identity says of its own picture beside the person, no other one will say: whoever learns to use that makes
    worse faces of what others lend.

    Args:
        batch: number of pictures.
        each: pictures of each person, which lie side by side; nothing is lent if there is only one.
    """
    if each == 1:
        return {}
    others = np.roll(np.arange(batch).reshape(-1, each), 1, axis=1)
    return {"identity": others.reshape(-1)}


def of_neighbours(maps: Sequence[Array], alike: int, pictures: int) -> list[Array]:
    """Attributes of the next one of those who have the same (choice): so what is made of them has a truth.

    Args:
        maps: of the attributes of a batch.
        alike: so many people side by side have the same attributes in pictures of the same number.
        pictures: of each.
    """
    if alike == 1:
        return list(maps)
    found = []
    for level in maps:
        # No gather: neighbours are on one device, as long as it has whole groups of them.
        people = level.reshape(-1, alike, pictures, *level.shape[1:])
        found.append(jnp.roll(people, -1, axis=1).reshape(level.shape))
    return found


def losses(
    networks: Networks,
    weights: ml_collections.ConfigDict,
    regularised: bool,
    params: Mapping[str, PyTree],
    frozen: Mapping[str, PyTree],
    pictures: Pictures,
    lending: Lending,
    risen: Mapping[str, Float[Array, ""]],
) -> tuple[Float[Array, ""], Terms]:
    """The sum that both sides go down, each with its own weights, and its terms, all means over the batch.

    With the cycle these are the source's, halved, as a pair is two pictures. Without it the source counts the
    reconstruction of all pictures of a pair to one swap, here to as many swaps as pictures (choice): so both differ in
    the cycle alone, and config.loss.reconstruction can be raised.

    Args:
        networks: their shapes.
        weights: `config.loss`; a cycle of weight 0 is left out of the program.
        regularised: whether the discriminator is held by gradient penalties.
        params: of encoder, generator and discriminator.
        frozen: of the networks that read features, by role.
        pictures: of the batch.
        lending: who lends them what.
        risen: how far the weights of "features" and "adversarial" have risen, 0 to 1.
    """
    images = pictures.images
    mask = networks.mask(pictures.landmarks)
    encode = partial(networks.encode, params, mask=mask)
    generate = partial(networks.generate, params)
    read = partial(networks.read, frozen)
    counts = 1.0
    if weights.places:
        counts += weights.places * (1 - networks.outside(pictures.landmarks, PLACES))
    terms = {}

    # Every picture as itself
    maps, own = encode(images), read(images)
    same = of_neighbours(maps, lending.alike, lending.pictures)
    itself = generate(same, lent(own, lending.itself)).images
    terms["reconstruction"] = attributes.apart(itself, images, counts)

    # Every picture with what others lend it
    wanted = lent(own, lending.others)
    made = generate(maps, wanted).images
    told = read(made)
    # The source doesn't say who learns from this. Not the encoder (choice): it would learn to see nothing.
    still = stop_gradient(params)
    seen = networks.encode(still, made, mask)
    terms["attributes"] = attributes.unlike(stop_gradient(maps), seen)
    for role in networks.frozen:
        distance = FEATURES[role].distance(told[role], wanted[role])
        # Frozen networks do not find the very same in the truth either: what is nearer has fooled them.
        terms[role] = jnp.maximum(distance - weights.enough[role], 0).mean()

    # Back again: whoever was lent a feature returns it.
    if weights.cycle:
        returned = generate(encode(made), lent(told, lending.others)).images
        terms["cycle"] = attributes.apart(returned, images, counts)

    # The generator against a discriminator that stays as it is
    adversary = ADVERSARIES[weights.adversary]
    judge = partial(discriminator.apply, networks.discriminator)
    judge_still = partial(judge, still["discriminator"])
    real, fake = judge_still(images), judge_still(made)
    terms["adversarial"] = adversarial.mean(adversary.generator, real, fake)

    total = 0.0
    for name, term in terms.items():
        kind = "features" if name in networks.frozen else name
        total += risen.get(kind, 1.0) * weights[kind] * term
    metrics = {"loss": total} | terms

    # The discriminator against images that stay as they are
    made = stop_gradient(made)
    judge = partial(judge, params["discriminator"])
    real, fake = judge(images), judge(made)
    against = adversarial.mean(adversary.discriminator, real, fake)
    metrics |= {"discriminator": against, "told_apart": adversarial.told_apart(real, fake)}
    if regularised:
        # R1 and R2. Lazily: what is done now and then counts the more.
        slopes = [adversarial.gradient_penalty(judge, x) for x in (images, made)]
        metrics["penalty"] = sum(slopes)
        against += 0.5 * weights.penalty * weights.penalty_every * sum(slopes)
    return total + against, metrics
