"""Losses of the autoencoder task: of each persona, where its decoder is.

All functions work on the personas of one device, stacked: arrays are [p, b, ...]. They are called inside
`parallel.persona.sharded`, or with one persona.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from jaxtyping import Array, Float, Int, PyTree

from faceswap_jax.faces.ibug import LEFT_EYE, MOUTH, RIGHT_EYE
from faceswap_jax.losses import expression, identity, latents, reconstruction
from faceswap_jax.models import iresnet, parts
from faceswap_jax.models.autoencoder import Autoencoder, Params
from faceswap_jax.ops.masks import masked
from faceswap_jax.parallel import persona
from faceswap_jax.pretrained import embedder

SWAPPED = ("identity", "cycle", "latent_cycle")
"""Losses of swapped images, by their names in `config.loss`."""

EXPRESSIVE = {"eyes": (RIGHT_EYE, LEFT_EYE), "mouth": (MOUTH,)}
"""Parts of the face that expressions show in, and that are small: by name, the landmarks of each piece."""

PARTS = [piece for pieces in EXPRESSIVE.values() for piece in pieces]
"""All of these pieces."""

DETAILS = [parts.PARTS[name] for name in ("right_eye", "left_eye", "mouth")]
"""Windows of the face that the loss `details` looks at closer."""

READING = "reading"
"""The group of weights that read the measures of the expression from latents, for the loss `expression`."""

COMPARING = ("matching", *SWAPPED)
"""Losses that need several personas at once, by their names in `config.loss`."""

Images = Float[Array, "p b h w 3"]
Masks = Float[Array, "p b h w 1"]
Latents = Float[Array, "p b latent"]
Fields = Mapping[str, Float[Array, "p b ..."]]
PerImage = Float[Array, "p b"]
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
        parts: how near to eyes or mouth each pixel is, in [0, 1].
        landmarks: (x, y) in `image`, in pixels.
        measures: of the expression, see `losses/expression.py`; None if no loss wants them.
    """

    encoder_input: Fields
    image: Images
    mask: Masks
    parts: Masks
    landmarks: Float[Array, "p b 68 2"]
    measures: Float[Array, "p b k"] | None


def encode(network: Autoencoder, shared: Shared, inputs: Fields) -> Latents:
    """Latents of the faces of all personas, in one batch."""

    def encode_batch(*fields):
        batch = dict(zip(inputs, fields, strict=True))
        return network.encode(shared.weights, batch, shared.alpha)

    return persona.flattened(encode_batch, *inputs.values())


def decode(network: Autoencoder, shared: Shared, own: Params, z: Latents) -> Images:
    """Images of latents, those of each persona by its own weights."""
    return network.decode_each(shared.weights, own, z, shared.alpha)


def encode_back(network: Autoencoder, shared: Shared, inputs: Fields, swapped: Images) -> Latents:
    """Latents of swapped images, sent back to the persona whose performance they show.

    Args:
        network: that is trained.
        shared: what all personas share.
        inputs: of the encoder, for the images that were swapped.
        swapped: each persona with the performance of persona p + offset.
    """
    # The other fields, such as landmarks, are those of the performance.
    fields = {}
    for name, field in inputs.items():
        fields[name] = swapped if name == "image" else persona.exchange(field, shared.offset)
    return persona.exchange(encode(network, shared, fields), -shared.offset)


def _half_exchanged(z: Latents, offset: Int[Array, ""]) -> Latents:
    """Every other image's latent, of another persona who shows the same: what it says must suit every decoder."""
    exchanged = persona.exchange(z, offset)
    return z.at[:, ::2].set(exchanged[:, ::2])


@dataclass(frozen=True)
class Losses:
    """Each persona's loss, and its terms by their names in `config.loss`.

    Images, masks and decoders stay on their devices. Of swaps only the latents travel, and masks at the embedder's
    size.

    Attributes:
        network: that is trained.
        weights: `config.loss`.
        embedder: shape of the face embedder, if the identity loss needs one.
        together: whether images of the same number show the same performance.
    """

    network: Autoencoder
    weights: ml_collections.ConfigDict
    embedder: iresnet.IResNetConfig | None = None
    together: bool = False

    def __call__(
        self, shared: Shared, own: Params, examples: Examples
    ) -> tuple[Float[Array, "p"], Terms]:
        """The weighted sum of the terms, and the terms.

        Args:
            shared: what all personas share.
            own: stacked weights of the personas [p, ...].
            examples: of these personas.
        """
        x = examples.image
        mask = examples.mask
        z = encode(self.network, shared, examples.encoder_input)
        shown = _half_exchanged(z, shared.offset) if self.together else z
        y = decode(self.network, shared, own, shown)

        # Terms that are not wanted stay out of the compiled program.
        terms = {"reconstruction": persona.flattened(self._dissimilarity, x, mask, y)}
        if self.weights.l1:
            emphasis = 1 + (self.weights.parts - 1) * examples.parts
            terms["l1"] = persona.flattened(reconstruction.l1, x, y, mask, emphasis)
        if self.weights.details:
            terms["details"] = persona.flattened(self._details, x, mask, y, examples.landmarks)
        if any(self.weights[name] for name in SWAPPED):
            terms |= self._of_swaps(shared, own, examples, z)
        if self.weights.expression:
            kernel = shared.weights[READING]["linear"]["kernel"]
            unread = jax.vmap(expression.unread, in_axes=(0, None, 0))
            terms["expression"] = unread(z, kernel, examples.measures)[:, None]

        # The reconstruction has no weight: the others are relative to it.
        terms = {name: term.mean(1) for name, term in terms.items()}
        if self.weights.matching:
            terms["matching"] = latents.mismatch(z, persona.everybody(z))
        total = sum(self.weights.get(name, 1.0) * term for name, term in terms.items())
        return total, terms

    def _dissimilarity(self, x, mask, y):
        pair = reconstruction.compared(x, mask, y, self.weights.masking)
        return reconstruction.dissimilarity(*pair)

    def _details(self, x, mask, y, landmarks):
        pair = reconstruction.compared(x, mask, y, self.weights.masking)
        centres = [landmarks[:, jnp.array(part.points)].mean(1) for part in DETAILS]
        widths = [part.width * x.shape[1] for part in DETAILS]
        return reconstruction.closer(*pair, centres, widths)

    def _of_swaps(self, shared, own, examples, z) -> dict[str, PerImage]:
        """Terms of images that show each persona with another one's performance."""
        x = examples.image
        mask = examples.mask
        wanted = self.weights
        performance = persona.exchange(z, shared.offset)
        swapped = decode(self.network, shared, own, performance)

        terms = {}
        if wanted.identity:
            terms["identity"] = self._identity(shared, x, mask, swapped)
        if wanted.cycle or wanted.latent_cycle:
            back = encode_back(self.network, shared, examples.encoder_input, swapped)
        if wanted.cycle:
            returned = decode(self.network, shared, own, back)
            terms["cycle"] = persona.flattened(reconstruction.l1, x, returned, mask)
        if wanted.latent_cycle:
            terms["latent_cycle"] = jnp.abs(back - z).mean(-1)
        return terms

    def _identity(self, shared, x, mask, swapped) -> PerImage:
        """How unlike its persona each swapped image is; the persona is the mean embedding of its images."""
        view_batch = partial(embedder.view, side=self.embedder.side)
        view = partial(persona.flattened, view_batch)
        mask = view(mask)[..., 0]

        def embed_views(views):
            return embedder.embed_views(self.embedder, **shared.frozen["embedder"], views=views)

        def embed(images, mask):
            return persona.flattened(embed_views, masked(view(images), mask))

        reference = embed(x, mask).mean(1, keepdims=True)
        # A swapped face lies where that of the performance does.
        embedded = embed(swapped, persona.exchange(mask, shared.offset))
        return identity.dissimilarity(embedded, reference)
