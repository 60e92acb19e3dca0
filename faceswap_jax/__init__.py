"""faceswap_jax: one person's performance on another's face."""
