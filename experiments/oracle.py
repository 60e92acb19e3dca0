"""The oracle: a small network that tells all 40 parameters of a puppet from an image. It scores all systems.

Costs: 2 h 44 min for 7,000 steps on two cores that other work kept busy, the rendering of 14,000 puppets included.
Expect: see the table in docs/bench.md.

A residual network of 0.79 M weights sees the face in 64 px and, closer, each eye with its brow and the mouth in 48 px.
It learns from images that are rendered beside the training, from 96 to 288 px wide. Some show the face alone, through
varied masks, others all; they are softened, noisy and compressed, as swapped clips are. Its views are aligned by
landmarks, so that the features of a face are always at about the same place.

    faceswap train --config experiments/oracle.py --workdir runs/oracle
    python -m experiments.benchmarks.oracle --workdir runs/oracle

The second command measures the errors on 2,048 puppets never seen and writes faceswap_jax/evaluation/oracle.npz, which
is shipped. A test says when the renderer has changed and both are to be run again.
"""

import ml_collections

from faceswap_jax import config as configs


def get_config() -> ml_collections.ConfigDict:
    """All values of the experiment."""
    c = configs.defaults()
    c.task = "oracle"
    c.seed = 0

    c.data = ml_collections.ConfigDict()
    c.data.world_seed = 101  # of the puppets to train on
    c.data.test_world_seed = 102  # of those that are never trained on
    c.data.fresh = 2  # new puppets of every batch; the others are drawn from all so far
    c.data.test = 256  # images that the evaluations look at

    c.blur = 1.2  # standard deviation in pixels, up to this
    c.mask_blur = 1.5
    c.noise = 0.03  # standard deviation, up to this
    # Random light and colour, ± of 0..1; hue in turns
    c.augment = ml_collections.ConfigDict()
    c.augment.update(brightness=0.04, contrast=0.06, saturation=0.0, hue=0.0)

    c.model = ml_collections.ConfigDict()
    # The face, 64 px
    c.model.stem = 32  # channels at 32 px
    c.model.levels = (48, 80)  # at 16 and 8 px
    # Each eye and the mouth, 48 px
    c.model.detail_stem = 24  # channels at 24 px
    c.model.detail_levels = (48, 64)  # at 12 and 6 px
    c.model.squeeze = 16  # of the last level, before they are laid flat
    c.model.hidden = 96  # features of all together

    c.steps = 7_000
    c.batch = 32
    c.warm_up = 100
    c.learning_rate = 3e-3  # falls to zero along a cosine
    c.performance_weight = 3.0  # of the errors of performance, over those of the persona
    c.precision = "float32"

    c.mesh.cpu_devices = 2
    c.run.update(preview=1_000, checkpoint=1_000)
    return c
