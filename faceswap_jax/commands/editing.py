"""Commands that change a performance."""

from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import Command, explained
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
        meaning = "What is compared: measures, from landmarks, or blendshapes, from the images, which takes longer."
        flags.DEFINE_enum("by", "measures", ["measures", "blendshapes"], meaning, values)
        meaning = "The part of the face that is compared."
        flags.DEFINE_enum("part", "all", ["all", "eyes", "brows", "mouth"], meaning, values)

    def more_help(self, arguments):
        lines = [explained(name, text) for name, text in SIGNALS.items()]
        title = "signals, in spreads about the mean of each persona where nothing else is said:"
        return "\n".join(["", "", title, *lines])

    def run(self, values, inputs):
        from faceswap_jax.search import search

        if values.query is not None:
            for name in ("by", "part"):
                if values[name].present:
                    raise InputError(f"--{name} says nothing about --query; leave it out.")
        search(
            Path(values.data),
            Path(values.output),
            Path(inputs[0]) if inputs else None,
            values.query,
            values.count,
            values.by,
            values.part,
        )
