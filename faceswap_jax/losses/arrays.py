"""What losses and measures compare: images in [0, 1], inside masks in [0, 1]."""

from jaxtyping import Array, Float

Images = Float[Array, "b h w c"]
Masks = Float[Array, "b h w 1"]
PerImage = Float[Array, "b"]
