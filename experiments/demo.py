"""The comb network on three rendered puppets, small enough for two CPU cores: the experiment of `faceswap demo`.

Costs: about 4 minutes on two cores.
Expect: PSNR 12.7 dB against 11.4 of doing nothing, 15.4 with --blend none; the right persona in nearly all frames with
--blend none; soft faces, whose gaze and mouth hardly follow yet. The README has the table.
Reproduces: growing over three levels, 16 to 64 px, and swaps between all personas.

    faceswap demo --output build/demo
"""

import ml_collections

from experiments import comb


def get_config() -> ml_collections.ConfigDict:
    """The published values but for size, steps and the L1 term, which settles colours early."""
    c = comb.get_config()
    # An encoder that must see through it keeps less of the identity: swaps follow pose better.
    c.data.warp = 0.05
    c.model.update(width=0.125, latent=128)
    c.level_steps = (0, 0, 300, 800, 280)
    c.final_steps = 100
    c.batch = 4
    # At P = 8 the better one, see comb_puppets.py; at these three as good.
    c.update_order = "sequential"
    c.learning_rate = 7e-4
    c.final_learning_rate = 1e-4
    c.loss.l1 = 1.0
    c.mesh.cpu_devices = 2
    c.run.update(log=20, preview=500, checkpoint=500)
    return c
