"""Images of which a mask hides a part."""

from jaxtyping import Array, Float

GREY = 0.5
"""What a network sees where the mask hides the image."""


def masked(x: Float[Array, "b h w 3"], mask: Float[Array, "b h w"]) -> Float[Array, "b h w 3"]:
    """Images in [0, 1] with grey where the mask (0..1) hides them."""
    return GREY + mask[..., None] * (x - GREY)
