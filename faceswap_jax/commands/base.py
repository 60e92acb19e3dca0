"""What a command is, and how its flags are read and explained."""

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from faceswap_jax.errors import InputError

# What Python says of a value that cannot be read, and what is wanted instead
WANTED = {
    "invalid literal for int()": "give a whole number",
    "could not convert string to float": "give a number",
    "Error while parsing string": "give values in brackets with commas between, such as (0,0,20)",
}
ANY_NUMBER = float("inf")
HELP_WIDTH = 110  # characters
HELP = ("--help", "-h", "-help")


class Command:
    """One command of the user.

    The documentation of the class is its line in the help. Modules that are slow to import are imported in `run`, so
    that the help is fast.

    Attributes:
        name: what the user types.
        usage: its arguments, for the help and for complaints.
        inputs: least and greatest number of arguments that are no flags.
        required: flags that need a value.
    """

    name: str
    usage: str
    inputs: tuple[int, float] = (0, 0)
    required: Sequence[str] = ()

    @property
    def summary(self) -> str:
        """What the command does, in one line."""
        return type(self).__doc__

    def define(self, values: flags.FlagValues, arguments: Sequence[str]) -> None:
        """Defines the flags in `values`; some depend on the arguments, as those of an experiment's fields."""

    def run(self, values: flags.FlagValues, inputs: Sequence[str]) -> int | None:
        """Does it, given the parsed flags and the other arguments.

        Returns:
            The exit code; None for 0.
        """
        raise NotImplementedError

    def more_help(self, arguments: Sequence[str]) -> str:
        """What the help says after the flags."""
        return ""


def paths(texts: Sequence[str]) -> list[Path]:
    """Files and folders that the user has named.

    Raises:
        InputError: one has no name: that would be the folder where the user stands.
    """
    if not all(text.strip() for text in texts):
        raise InputError(
            f"'{','.join(texts)}' has a file or folder without a name; take out the comma that names none."
        )
    return [Path(text) for text in texts]


def call(command: Command, arguments: Sequence[str]) -> int:
    """Runs a command, or shows its help, and returns the exit code.

    Raises:
        InputError: the arguments are wrong, or what they name.
    """
    try:
        # Help wins over all else, wherever it stands.
        without_help = [argument for argument in arguments if argument not in HELP]
        if len(without_help) < len(arguments):
            print(help_of(command, without_help))
            return 0
        values, inputs = parse(command, arguments)
    except flags.Error as error:
        raise InputError(
            f"{_plainly(error)}; 'faceswap {command.name} --help' explains the flags."
        ) from error
    return command.run(values, inputs) or 0


def parse(command: Command, arguments: Sequence[str]) -> tuple[flags.FlagValues, list[str]]:
    """The flags of a command, and its other arguments.

    Raises:
        flags.Error: a flag is unknown, or its value is wrong.
        InputError: a flag is missing, or the number of inputs is wrong.
    """
    values = flags.FlagValues()
    command.define(values, arguments)
    _, *inputs = values([f"faceswap {command.name}", *arguments])

    for name in values:
        _check_given(name, values[name])
    # absl's own check names one missing flag at a time.
    missing = [f"--{name}" for name in command.required if values[name].value in (None, "", [])]
    least, most = command.inputs
    if missing:
        problem = f"{', '.join(missing)} must be given"
    elif not least <= len(inputs) <= most:
        named = f" ({', '.join(inputs)})" if inputs else ""
        problem = f"the number of inputs is {len(inputs)}{named}"
    else:
        return values, inputs
    raise InputError(f"{problem}; usage: faceswap {command.name} {command.usage}")


def refuse(values: flags.FlagValues, names: Sequence[str], beside: str) -> None:
    """Raises InputError if one of these flags is given: it would say nothing beside another one."""
    for name in names:
        if values[name].present:
            raise InputError(f"--{name} says nothing beside {beside}; leave it out.")


def _check_given(name: str, flag: flags.Flag) -> None:
    """Raises InputError if a flag's value is no number, or is empty, as a shell's unset variable is."""
    # Fields of an experiment may be empty.
    if not flag.present or name.startswith("config"):
        return
    if isinstance(flag.value, float) and not math.isfinite(flag.value):
        raise InputError(f"--{name} is {flag.value}; give a number.")
    if flag.value == "":
        raise InputError(f"--{name} is empty; give a value, or leave it out.")


def _plainly(error: flags.Error) -> str:
    """What is wrong with a flag, without Python's words for it."""
    text = str(error)
    for words, wanted in WANTED.items():
        flag, found, _ = text.partition(f": {words}")
        if found:
            return f"{flag} cannot be used: {wanted}"
    return text


def help_of(command: Command, arguments: Sequence[str]) -> str:
    """How a command is used, and its flags with their defaults."""
    # Without the arguments: they may be wrong, which is no reason to refuse help.
    values = flags.FlagValues()
    command.define(values, ())
    lines = [f"usage: faceswap {command.name} {command.usage}", "", command.summary, ""]
    for name in sorted(values):
        if values[name].help:
            lines.append(explained(f"--{name}", values[name].help + _default(values[name])))
    return "\n".join(lines) + command.more_help(arguments)


def explained(name: str, text: str, width: int = 18) -> str:
    """A name in a column of `width` characters, and its explanation beside it; a longer name has its own line."""
    # Two spaces before the name and two behind its column
    indent = " " * (width + 4)
    lines = textwrap.wrap(text, HELP_WIDTH - len(indent), break_on_hyphens=False)
    first = f"  {name:<{width}}  "
    # The name does not fit into its column.
    if len(name) > width and lines:
        return "\n".join([first.rstrip(), *[indent + line for line in lines]])
    explanation = f"\n{indent}".join(lines)
    return f"{first}{explanation}".rstrip()


def _default(flag: flags.Flag) -> str:
    text = flag.default_as_str
    # absl quotes them; what is off or empty needs no mention.
    if text in (None, "''", "'None'", "'false'"):
        return ""
    value = text.strip("'")
    return f" (default: {value})"
