"""All tests see eight simulated CPU devices, so that meshes are real; what names no mesh runs on the first."""

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
