"""Commands that use a trained run."""

from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import Command, paths


class Swap(Command):
    """Give a persona's face to a picture or a clip."""

    name = "swap"
    usage = "INPUT --workdir DIR --persona NAME --output OUTPUT"
    inputs = (1, 1)
    required = ("workdir", "output", "blend")

    def define(self, values, arguments):
        define_generation(values)
        meaning = "How the face is blended in: multiband, poisson or none."
        flags.DEFINE_string("blend", "multiband", meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.swap import swap

        swap(
            Path(values.workdir),
            values.persona,
            Path(inputs[0]),
            Path(values.output),
            values.blend,
            values.step,
            paths(values.pictures),
        )


class Reenact(Command):
    """Let a persona act as a picture or a clip does, in whole images of the model's own."""

    name = "reenact"
    usage = "INPUT --workdir DIR --persona NAME --output OUTPUT"
    inputs = (1, 1)
    required = ("workdir", "output")

    def define(self, values, arguments):
        define_generation(values)

    def run(self, values, inputs):
        from faceswap_jax.reenact import reenact

        reenact(
            Path(values.workdir),
            values.persona,
            Path(inputs[0]),
            Path(values.output),
            values.step,
            paths(values.pictures),
        )


class Evaluate(Command):
    """Swap clips between all personas and score the results."""

    name = "evaluate"
    usage = "--workdir DIR --data DIR [--blend METHOD,...] [--embedder PATH]"
    required = ("workdir", "data", "blend")

    def define(self, values, arguments):
        flags.DEFINE_string(
            "workdir", None, "Folder of a trained run, also for the scores.", values
        )
        meaning = "Folder of clips: puppets, or a clip or a folder of clips for each person."
        flags.DEFINE_string("data", None, meaning, values)
        meaning = "How faces are blended in; several, separated by commas, are compared."
        flags.DEFINE_list("blend", "multiband", meaning, values)
        flags.DEFINE_string(
            "embedder",
            None,
            "What compares identities in real clips: the folder of an 'identity' run, or a file of InsightFace's "
            "weights, .onnx or .safetensors. By default dlib's network.",
            values,
        )

    def run(self, values, inputs):
        from faceswap_jax.evaluation.bench import evaluate

        embedder = None if values.embedder is None else Path(values.embedder)
        evaluate(Path(values.workdir), Path(values.data), values.blend, embedder)


class Demo(Command):
    """Prepare, train, swap and score on rendered puppets, in minutes."""

    name = "demo"
    usage = "[--output DIR]"
    required = ("output",)

    def define(self, values, arguments):
        flags.DEFINE_string("output", "build/demo", "Folder for all that the demo makes.", values)

    def run(self, values, inputs):
        from faceswap_jax.demo import demo

        demo(Path(values.output))


def define_generation(values: flags.FlagValues) -> None:
    """The flags of commands that make images: of which run, of whom, and where to."""
    # Which run makes them, and which of its checkpoints
    flags.DEFINE_string("workdir", None, "Folder of a trained run.", values)
    meaning = "Number of steps of the checkpoint to use. By default the newest one."
    flags.DEFINE_integer("step", None, meaning, 0, None, values)

    # Whom to show: exactly one of the two, which `inference.who` checks
    flags.DEFINE_string("persona", None, "Whom to show: one of the run's personas.", values)
    flags.DEFINE_list(
        "pictures",
        [],
        "In place of --persona, for a run that takes anybody: pictures or clips of one person, separated by commas.",
        values,
    )

    flags.DEFINE_string("output", None, "Picture or clip (.mp4) to write.", values)
