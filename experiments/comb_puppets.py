"""The comb network on eight rendered puppets, half an hour on two CPU cores: what the bench is read with.

Reproduces: swaps between 56 ordered pairs of personas, on performances that none was trained on.
Costs: about 30 minutes on two cores.
Expect: see the table in docs/bench.md.

    faceswap puppets --output data --format records --personas 8 --tracks 12 --frames 25 --rate 3 --resolution 64
    faceswap puppets --output held_out --personas 8 --first_track 12 --tracks 1 --frames 40 --rate 8 --size 160
    faceswap train --config experiments/comb_puppets.py --workdir runs/puppets --config.data.path=data
    faceswap evaluate --workdir runs/puppets --data held_out --blend multiband,none
"""

import ml_collections

from experiments import demo


def get_config() -> ml_collections.ConfigDict:
    """The demo's values with more steps."""
    c = demo.get_config()
    c.level_steps = (0, 0, 300, 700, 1500)
    c.final_steps = 200
    return c
