"""What the user can say after `faceswap`: a class for each command, grouped as the help shows them."""

import itertools
from collections.abc import Mapping, Sequence

from faceswap_jax.commands import data, editing, results, serving, training
from faceswap_jax.commands.base import Command

# In the order of a project: each group needs what the one before it makes.
GROUPS: Mapping[str, Sequence[Command]] = {
    "Data": (data.Prepare(), data.Verify(), data.Puppets()),
    "Training": (training.Train(), training.Status(), training.Sweep(), training.Compile()),
    "Editing": (editing.Search(), editing.Vector(), editing.Edit(), editing.FitControl()),
    "Results": (
        results.People(),
        results.Swap(),
        results.Anonymise(),
        results.Synthesize(),
        results.Reenact(),
        results.Invert(),
        results.Evaluate(),
        results.Compare(),
        results.Export(),
        results.Demo(),
    ),
    "Serving": (serving.Serve(), serving.Triton()),
}
COMMANDS = {command.name: command for command in itertools.chain(*GROUPS.values())}
