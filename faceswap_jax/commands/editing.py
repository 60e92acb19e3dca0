"""Commands that change a performance."""

from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import Command, explained, refuse
from faceswap_jax.commands.results import define_step, define_swap, footage, model_of, swap_choices
from faceswap_jax.errors import InputError

SIGNALS = {
    "mouth_corners": "how far the corners lie above the middle of the lips: a smile, or a nod unless pitch is bounded",
    "mouth_width": "from corner to corner",
    "mouth_open": "between the lips",
    "lips": "between the outer borders of the lips",
    "upper_lip": "from the nose down to it",
    "jaw": "from the nose down to the chin",
    "lids": "how open the eyes are",
    "gaze_x": "where the eyes look, to the right of the image",
    "gaze_y": "and downwards",
    "brow_inner": "how low the brow is at the nose; brow_middle, brow_outer",
    "brows_apart": "from brow to brow",
    "right_lids": "of the person's right eye; so left_lids, right_gaze_x, right_brow_inner ...",
    "yaw": "the head's, in degrees, to the right of the image; pitch, upwards; roll, clockwise",
    "jawOpen": "0 to 1, and MediaPipe's other blendshapes: slow, they are read from the images",
}
"""What the help says of the signals that queries are about."""


class Search(Command):
    """Find the faces of prepared data that do what a picture shows, or what a query says."""

    name = "search"
    usage = "(PICTURE | --query CONDITIONS) --data DIR --output DIR"
    inputs = (0, 1)
    required = ("data", "output")

    def define(self, values, arguments):
        flags.DEFINE_string("data", None, "Folder of prepared data.", values)
        flags.DEFINE_string(
            "output", None, "Folder to make: faces/, found.csv and sheet.png.", values
        )
        meaning = (
            "How many faces, at most; half of them of one persona, unless others have too few."
        )
        flags.DEFINE_integer("count", 20, meaning, 1, None, values)
        meaning = (
            "In place of a picture: conditions with commas between, such as mouth_open>1,yaw<10. Those farthest beyond "
            "the first one come first."
        )
        flags.DEFINE_string("query", None, meaning, values)

        # How faces are compared with that of a picture
        meaning = (
            "What is compared: measures, from landmarks; aspect_ratios, likewise, the five of a thesis on transfer; or "
            "blendshapes, from the images, which takes longer."
        )
        judges = ["measures", "aspect_ratios", "blendshapes"]
        flags.DEFINE_enum("by", "measures", judges, meaning, values)
        meaning = "The part of the face that is compared."
        flags.DEFINE_enum("region", "all", ["all", "eyes", "brows", "mouth"], meaning, values)

    def more_help(self, arguments):
        lines = [explained(name, text) for name, text in SIGNALS.items()]
        title = "signals, in spreads about the mean of each persona where nothing else is said:"
        return "\n".join(["", "", title, *lines])

    def run(self, values, inputs):
        from faceswap_jax.search import search

        if values.query is not None:
            refuse(values, ("by", "region"), beside="--query")
        search(
            Path(values.data),
            Path(values.output),
            Path(inputs[0]) if inputs else None,
            values.query,
            values.count,
            values.by,
            values.region,
        )


class Vector(Command):
    """Make an adjustment vector, such as a smile, from pictures or from expressions found in the data."""

    name = "vector"
    usage = "--workdir DIR --name NAME (--positive DIR --negative DIR | --query CONDITIONS) [--part PART,...]"
    required = ("workdir", "name")

    def define(self, values, arguments):
        flags.DEFINE_string(
            "workdir", None, "Folder of a trained run, also for the vector.", values
        )
        define_step(values)
        flags.DEFINE_string("name", None, "What to call the vector, such as smile.", values)
        meaning = (
            "Parts of the latents that it may change, such as left_eye,right_eye. By default all."
        )
        flags.DEFINE_list("part", [], meaning, values)
        meaning = (
            "mean, the difference of both sides' means, or pca, the first principal component."
        )
        flags.DEFINE_string("method", "mean", meaning, values)

        # Key pictures
        meaning = "Folder of 5 to 10 pictures of anybody who shows the trait, or one picture."
        flags.DEFINE_string("positive", None, meaning, values)
        meaning = "Folder of pictures without the trait, or with its opposite."
        flags.DEFINE_string("negative", None, meaning, values)

        # Or faces of the data
        meaning = "In place of pictures: faces of the data whose expression fulfils conditions, such as mouth_open>1."
        flags.DEFINE_string("query", None, meaning, values)
        meaning = (
            "Conditions of the faces on the other side, such as mouth_open<-1. By default those that fulfil all "
            "conditions but the first."
        )
        flags.DEFINE_string("against", None, meaning, values)
        meaning = "Folder of a data set to query. By default the one that the run was trained on."
        flags.DEFINE_string("data", None, meaning, values)

    def run(self, values, inputs):
        from data_pipelines import datasets
        from faceswap_jax import config as configs
        from faceswap_jax.editing import expressions, keys
        from faceswap_jax.vector import vector

        workdir = Path(values.workdir)
        sides = (values.positive, values.negative)
        if values.query is None:
            if None in sides:
                raise InputError(
                    "A vector needs two sides: give --positive and --negative, or --query in place of both."
                )
            refuse(values, ("against", "data"), beside="--positive and --negative")
        else:
            refuse(values, ("positive", "negative"), beside="--query")

        def find_sides():
            if values.query is None:
                return tuple(keys.from_pictures(Path(side)) for side in sides)
            if values.data is not None:
                sources = expressions.open_all(Path(values.data))
            else:
                sources = datasets.open_data(configs.load(workdir / "config.json").data)
            return keys.from_data(sources, values.query, values.against)

        vector(workdir, values.name, find_sides, values.part, values.method, values.step)


class Edit(Command):
    """Do what 'swap' does, and change what the face does."""

    name = "edit"
    usage = (
        "INPUT (--workdir DIR | --model DIR) --persona NAME (--keyframes FILE | --weights NAME=W,...) "
        "--output OUTPUT"
    )
    inputs = (1, 1)
    required = ("output", "blend")

    def define(self, values, arguments):
        define_swap(values)
        meaning = "JSON file of the vectors' weights over time; docs/editing.md describes it."
        flags.DEFINE_string("keyframes", None, meaning, values)
        meaning = "In place of --keyframes: weights that stay, such as smile=0.5,lids=-1."
        flags.DEFINE_list("weights", [], meaning, values)
        meaning = "Keep the clip's own face where an edit changes nothing; --persona is the performer's own."
        flags.DEFINE_boolean("only_changes", False, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.edit import edit

        if (values.keyframes is None) == (not values.weights):
            raise InputError(
                "Say what to change: with --keyframes or with --weights, one of the two."
            )
        changes = weights(values.weights) if values.weights else Path(values.keyframes)
        edit(
            model_of(values),
            values.persona,
            footage(inputs[0], values),
            Path(values.output),
            changes,
            values.only_changes,
            **swap_choices(values),
        )


class FitControl(Command):
    """Learn how head poses and sound move the latents of a run, for 'reenact --drive'."""

    name = "fit-control"
    usage = "--workdir DIR [--data DIR] [--sound DIR]"
    required = ("workdir",)

    def define(self, values, arguments):
        meaning = "Folder of a trained run, also for control.json."
        flags.DEFINE_string("workdir", None, meaning, values)
        define_step(values)
        meaning = (
            "Folder of a data set to learn from. By default the one that the run was trained on."
        )
        flags.DEFINE_string("data", None, meaning, values)
        meaning = "Folder of a run of experiments/sync.py that tells sounds apart. By default, loudness in bands does."
        flags.DEFINE_string("sound", None, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.editing.control import fit_control

        data, sound = (None if path is None else Path(path) for path in (values.data, values.sound))
        fit_control(Path(values.workdir), data, values.step, sound)


def weights(texts: list[str]) -> dict[str, float]:
    """Weights of vectors by name, from texts such as "smile=0.5".

    Raises:
        InputError: a text is written otherwise, or a name comes twice.
    """
    found = {}
    for text in texts:
        name, _, weight = text.partition("=")
        try:
            number = float(weight)
        except ValueError as error:
            raise InputError(
                f"--weights has '{text}'; write names and weights as in smile=0.5,lids=-1."
            ) from error
        if name.strip() in found:
            raise InputError(f"--weights names '{name.strip()}' twice; give each one weight.")
        found[name.strip()] = number
    return found
