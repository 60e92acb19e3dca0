"""The comb network on eight rendered puppets, half an hour on two CPU cores: what the bench is read with.

Reproduces: swaps between 56 ordered pairs of personas, on performances that none was trained on.
Costs: about half an hour on two cores, and six minutes to evaluate.
Expect: PSNR 14.2 dB against 13.1 of doing nothing, 16.8 with --blend none; the right persona in 68 % of the frames with
--blend none; gaze and mouth hardly follow yet. docs/bench.md has the table and what it says.

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
