"""Losses of the autoencoder task: of each persona, where its decoder is.

All functions work on the personas of one device, stacked: arrays are [p, b, ...]. They are called inside
`parallel.persona.sharded`, or with one persona.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int, PyTree

from faceswap_jax.losses import identity, reconstruction
from faceswap_jax.models import iresnet
from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.ops.masks import masked
from faceswap_jax.parallel import persona
from faceswap_jax.pretrained import embedder

SWAPPED = ("identity", "cycle", "latent_cycle")
"""Losses of swapped images, by their names in `config.loss`."""

Terms = dict[str, Float[Array, "p"]]


class Shared(NamedTuple):
    """What all personas share in a step.

    Attributes:
        weights: of the network, without those of the personas.
        alpha: fade-in gain of the newest level.
        offset: decoder p shows the performance of persona p + offset (mod P) when images are swapped.
        frozen: networks that are used and not trained.
    """

    weights: Params
    alpha: Float[Array, ""]
    offset: Int[Array, ""]
    frozen: Mapping[str, PyTree]


class Examples(NamedTuple):
    """What a network learns from.

    Attributes:
        encoder_input: fields that the encoder reads, see `Autoencoder.inputs`.
        image: what the decoder should make of it, in [0, 1].
        mask: where the face is, in [0, 1].
    """

    encoder_input: dict[str, Float[Array, "p b ..."]]
    image: Float[Array, "p b h w 3"]
    mask: Float[Array, "p b h w 1"]


def encode(
    network: Autoencoder, shared: Shared, inputs: Mapping[str, Float[Array, "p b ..."]]
) -> Float[Array, "p b latent"]:
    """Latents of the faces of all personas, in one batch."""
    names = list(inputs)

    def encode_batch(*fields):
        return network.encode(shared.weights, dict(zip(names, fields, strict=True)), shared.alpha)

    return persona.flattened(encode_batch, *inputs.values())


def decode(
    network: Autoencoder, shared: Shared, own: Params, z: Float[Array, "p b latent"]
) -> Float[Array, "p b h w 3"]:
    """Images of latents, those of each persona by its own weights."""

    def decode_one(own, z):
        return network.decode(shared.weights, own, z, shared.alpha)

    return persona.unrolled(decode_one, own, z)


@dataclass(frozen=True)
class Losses:
    """Each persona's loss, and its terms by their names in `config.loss`.

    Images, masks and decoders stay on their devices. Of swaps only the latents travel, and masks at the embedder's
    size.

    Attributes:
        network: that is trained.
        weights: `config.loss`.
        embedder: shape of the face embedder, if the identity loss needs one.
    """

    network: Autoencoder
    weights: ml_collections.ConfigDict
    embedder: iresnet.IResNetConfig | None = None

    def __call__(
        self, shared: Shared, own: Params, examples: Examples
    ) -> tuple[Float[Array, "p"], Terms]:
        """The weighted sum of the terms, and the terms.

        Args:
            shared: what all personas share.
            own: stacked weights of the personas [p, ...].
            examples: of these personas.
        """
        x, mask, wanted = examples.image, examples.mask, self.weights
        z = encode(self.network, shared, examples.encoder_input)
        y = decode(self.network, shared, own, z)

        terms = {"reconstruction": persona.flattened(self._dissimilarity, x, mask, y)}
        if wanted.l1:
            terms["l1"] = persona.flattened(reconstruction.l1, x, y, mask)
        if any(wanted[name] for name in SWAPPED):
            terms |= self._of_swaps(shared, own, examples, z)

        terms = {name: term.mean(1) for name, term in terms.items()}
        total = sum(wanted.get(name, 1.0) * term for name, term in terms.items())
        return total, terms

    def _dissimilarity(self, x, mask, y):
        return reconstruction.dissimilarity(
            *reconstruction.compared(x, mask, y, self.weights.masking)
        )

    def _of_swaps(self, shared, own, examples, z) -> dict[str, Float[Array, "p b"]]:
        """Terms of images that show each persona with another one's performance."""
        x, mask, wanted = examples.image, examples.mask, self.weights
        swapped = decode(self.network, shared, own, persona.exchange(z, shared.offset))

        terms = {}
        if wanted.identity:
            terms["identity"] = self._identity(shared, x, mask, swapped)
        if wanted.cycle or wanted.latent_cycle:
            # Encoded again, and sent back to the persona whose performance it was.
            inputs = {
                name: persona.exchange(field, shared.offset)
                for name, field in examples.encoder_input.items()
                if name != "image"
            }
            again = encode(self.network, shared, {"image": swapped} | inputs)
            back = persona.exchange(again, -shared.offset)
        if wanted.cycle:
            returned = decode(self.network, shared, own, back)
            terms["cycle"] = persona.flattened(reconstruction.l1, x, returned, mask)
        if wanted.latent_cycle:
            terms["latent_cycle"] = jnp.abs(back - z).mean(-1)
        return terms

    def _identity(self, shared, x, mask, swapped) -> Float[Array, "p b"]:
        """How unlike its persona each swapped image is; the persona is the mean embedding of its images."""
        view = partial(persona.flattened, partial(embedder.view, side=self.embedder.side))
        mask = view(mask)[..., 0]

        def embed_views(views):
            return embedder.embed_views(self.embedder, **shared.frozen["embedder"], views=views)

        def embed(images, mask):
            return persona.flattened(embed_views, masked(view(images), mask))

        reference = embed(x, mask).mean(1, keepdims=True)
        embedded = embed(swapped, persona.exchange(mask, shared.offset))
        return identity.dissimilarity(embedded, reference)
