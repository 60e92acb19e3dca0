"""What the user can say after `faceswap`: a class for each command, grouped as the help shows them."""

from collections.abc import Mapping, Sequence

from faceswap_jax.commands import data, results, training
from faceswap_jax.commands.base import Command

GROUPS: Mapping[str, Sequence[Command]] = {
    "Data": (data.Prepare(), data.Verify(), data.Puppets()),
    "Training": (training.Train(), training.Status(), training.Sweep(), training.Compile()),
    "Results": (results.Swap(), results.Reenact(), results.Evaluate(), results.Demo()),
}
COMMANDS = {command.name: command for group in GROUPS.values() for command in group}
