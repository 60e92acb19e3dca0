"""Commands that use a trained run."""

from collections.abc import Sequence
from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import ANY_NUMBER, Command, paths, refuse
from faceswap_jax.errors import InputError


class People(Command):
    """Show who is in a picture or a clip, with the numbers that 'swap --face' takes."""

    name = "people"
    usage = "INPUT --output PICTURE"
    inputs = (1, 1)
    required = ("output",)

    def define(self, values, arguments):
        meaning = "Picture to write: a row of faces for each person."
        flags.DEFINE_string("output", None, meaning, values)
        define_colorspace(values)

    def run(self, values, inputs):
        from faceswap_jax.people import people

        people(Path(inputs[0]), Path(values.output), values.colorspace)


class Swap(Command):
    """Give a persona's face, or others' identity and expression, to a picture or a clip."""

    name = "swap"
    usage = (
        "INPUT (--workdir DIR | --model DIR) (--persona NAME | --identity FILE,... | --expression FILE,...) "
        "--output OUTPUT"
    )
    inputs = (1, 1)
    required = ("output", "blend")

    def define(self, values, arguments):
        define_swap(values)
        flags.DEFINE_list(
            "expression",
            [],
            "For a run with that role: a clip whose largest face drives the expression, time by time, or pictures, "
            "separated by commas, that hold one. It goes with --identity, or alone: the person stays.",
            values,
        )

    def run(self, values, inputs):
        from faceswap_jax.swap import swap

        swap(
            model_of(values),
            values.persona,
            footage(inputs[0], values),
            Path(values.output),
            expression=paths(values.expression),
            **swap_choices(values),
        )


class Synthesize(Command):
    """Make a data set: everybody's identity in every picture of attributes; run it again to continue."""

    name = "synthesize"
    usage = (
        "(--workdir DIR | --model DIR) --identities INPUT,... --attributes INPUT,... --output DIR"
    )
    required = ("identities", "attributes", "output", "blend")

    def define(self, values, arguments):
        define_model(values, "Folder of a trained run.")
        define_step(values)
        meaning = "Who is lent: clips, pictures or folders of them, as 'prepare' takes them, separated by commas."
        flags.DEFINE_list("identities", [], meaning, values)
        meaning = "What is changed: likewise. Of a clip eight frames are, evenly over its time."
        flags.DEFINE_list("attributes", [], meaning, values)
        flags.DEFINE_string(
            "output", None, "Folder of the data set, to make or to continue.", values
        )
        define_blend(values)
        meaning = "Side of the records' crops in pixels, a power of two. By default the run's."
        flags.DEFINE_integer("resolution", None, meaning, flag_values=values)

    def run(self, values, inputs):
        from faceswap_jax.roles.synthesize import synthesize

        synthesize(
            model_of(values),
            paths(values.identities),
            paths(values.attributes),
            Path(values.output),
            values.blend,
            values.resolution,
            values.step,
        )


class Anonymise(Command):
    """Give everybody in a picture or clip an identity that nobody has."""

    name = "anonymise"
    usage = "INPUT (--workdir DIR | --model DIR) --output OUTPUT [--key TEXT]"
    inputs = (1, 1)
    required = ("output", "blend")

    def define(self, values, arguments):
        define_run(values)
        define_blend(values)
        meaning = "Text that decides who is drawn: the same people again. By default a random one, which is told."
        flags.DEFINE_string("key", None, meaning, values)
        meaning = (
            "Least distance, 1 - cosine by the run's own embedder, of a new identity from everybody known and from "
            "everybody in the input."
        )
        flags.DEFINE_float("distance", 0.5, meaning, flag_values=values)
        meaning = "Folder of a data set with the people known. By default the one that the run was trained on."
        flags.DEFINE_string("known", None, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.roles.anonymise import anonymise

        anonymise(
            model_of(values),
            footage(inputs[0], values),
            Path(values.output),
            method=values.blend,
            key=values.key,
            least=values.distance,
            known=_path(values.known),
            step=values.step,
            coding=coding_of(values),
        )


class Reenact(Command):
    """Let somebody act as a clip does, turn the head or speak, in whole images of the model's own."""

    name = "reenact"
    usage = (
        "(SOURCE... | --persona NAME | --random SEED) (--workdir DIR | --model DIR) "
        "--drive (INPUT | POSES.csv | SOUND.wav) "
        "--output OUTPUT"
    )
    inputs = (0, ANY_NUMBER)

    def define(self, values, arguments):
        define_run(values)
        meaning = "In place of pictures or clips of a person: one of the run's personas, where it knows some."
        flags.DEFINE_string("persona", None, meaning, values)
        meaning = "In place of both: a number that decides who is drawn, for a run that draws people who do not exist."
        flags.DEFINE_integer("random", None, meaning, 0, None, values)
        meaning = (
            "Picture or clip of the performer; or, after 'faceswap fit-control', a table of head poses, .csv, with the "
            "columns time,yaw,pitch,roll, in seconds and degrees; or a file of sound, such as .wav."
        )
        flags.DEFINE_string("drive", None, meaning, values)
        meaning = "Picture to paint on the embedded face, as large as that, transparent where nothing is painted."
        flags.DEFINE_string("paint", None, meaning, values)
        meaning = "Picture to write: the embedded face, to paint on. It needs no --drive."
        flags.DEFINE_string("write_embedded", None, meaning, values)
        meaning = "Give an open mouth the performer's inside, such as teeth that no picture of the person shows."
        flags.DEFINE_bool("restore_mouth", False, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.reenact import reenact

        reenact(
            model_of(values),
            paths(inputs),
            None if values.drive is None else footage(values.drive, values),
            _path(values.output),
            persona=values.persona,
            random=values.random,
            step=values.step,
            overlay=_path(values.paint),
            embedded=_path(values.write_embedded),
            restores_mouth=values.restore_mouth,
            coding=coding_of(values),
        )


class Invert(Command):
    """Draw what a generator's latent space knows of the faces in a picture or clip."""

    name = "invert"
    usage = "INPUT (--workdir DIR | --weights FILE) --output PICTURE"
    inputs = (1, 1)
    required = ("output",)

    def define(self, values, arguments):
        flags.DEFINE_string(
            "workdir", None, "Folder of a trained run, of inversion or of transfer.", values
        )
        define_step(values)
        meaning = "In place of --workdir: a file of ReStyle's public weights, see docs/transfer.md."
        flags.DEFINE_string("weights", None, meaning, values)
        meaning = "Picture to write: faces, and below each its inversion."
        flags.DEFINE_string("output", None, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.invert import invert

        if (values.workdir is None) == (values.weights is None):
            raise InputError(
                "Say what inverts: --workdir, a run, or --weights, a file, one of the two."
            )
        if values.weights:
            refuse(values, ("step",), beside="--weights")
        model = Path(values.workdir or values.weights)
        invert(model, Path(inputs[0]), Path(values.output), values.step)


class Evaluate(Command):
    """Swap clips between all personas, lend everybody's features or drive everybody by all clips, and score it."""

    name = "evaluate"
    usage = (
        "(--workdir DIR | --model DIR --output DIR) --data DIR [--blend METHOD,...] [--embedder PATH] "
        "[--inception FILE] [--detector DIR] [--protocol transfer [--beside DIR,...] [--action_units FILE]]"
    )
    required = ("data", "blend")

    def define(self, values, arguments):
        define_model(values, "Folder of a trained run.")
        define_step(values)
        meaning = "Folder of clips: puppets, or a clip or a folder of clips for each person."
        flags.DEFINE_string("data", None, meaning, values)
        meaning = "Folder for scores, pictures and clips. By default 'evaluation' in the run's; artifacts want one."
        flags.DEFINE_string("output", None, meaning, values)
        meaning = "How faces are blended in; several, separated by commas, are compared."
        flags.DEFINE_list("blend", "multiband", meaning, values)
        flags.DEFINE_string(
            "embedder",
            None,
            "What compares identities in real clips: the folder of an 'identity' run, or a file of InsightFace's "
            "weights, .onnx or .safetensors. By default two networks, dlib's and SFace.",
            values,
        )
        meaning = (
            "File of Inception's weights, .npz or .safetensors: adds KID to the feature distances of real clips, see "
            "docs/bench.md."
        )
        flags.DEFINE_string("inception", None, meaning, values)
        meaning = "Folder of a 'detector' run, which says how well it tells swapped faces from the real ones of --data."
        flags.DEFINE_string("detector", None, meaning, values)

        # By a published protocol
        meaning = (
            "Score as it was published. transfer: everybody driven by everybody else, for runs that make whole images; "
            "the thesis' rows stand beside."
        )
        flags.DEFINE_enum("protocol", None, ["transfer"], meaning, values)
        meaning = (
            "With --protocol: other runs or artifacts, for rows of the same table, such as the run of an inversion, "
            "which is latent arithmetic."
        )
        flags.DEFINE_list("beside", [], meaning, values)
        meaning = (
            "With --protocol: a network of yours that reads action units in real faces, .onnx, see docs/transfer.md. "
            "By default they are not scored."
        )
        flags.DEFINE_string("action_units", None, meaning, values)

    def run(self, values, inputs):
        model = model_of(values)
        if values.model and not values.output:
            # Whoever is given a copy would be given the people of the clips, too.
            raise InputError("An artifact is not written into; name a folder by --output.")
        if values.protocol:
            self._by_protocol(model, values)
        else:
            self._by_bench(model, values)

    def _by_protocol(self, model: Path, values: flags.FlagValues) -> None:
        from faceswap_jax.evaluation.protocol import evaluate_transfer

        refuse(values, ("blend", "detector", "inception"), beside="--protocol")
        evaluate_transfer(
            model,
            Path(values.data),
            paths(values.beside),
            _path(values.embedder),
            _path(values.action_units),
            values.step,
            _path(values.output),
        )

    def _by_bench(self, model: Path, values: flags.FlagValues) -> None:
        from faceswap_jax.evaluation.bench import evaluate

        for name in ("beside", "action_units"):
            if values[name].present:
                raise InputError(f"--{name} goes with --protocol; give that too, or leave it out.")
        evaluate(
            model,
            Path(values.data),
            values.blend,
            _path(values.embedder),
            values.step,
            _path(values.output),
            _path(values.detector),
            _path(values.inception),
        )


class Compare(Command):
    """Compare the faces of two pictures or clips: identity, pose, expression, pixels, and where they differ."""

    name = "compare"
    usage = "A B [--output DIR] [--face NUMBER[,NUMBER]]"
    inputs = (2, 2)

    def define(self, values, arguments):
        meaning = (
            "Folder to write, which is not there yet: scores.json, scores.md, and difference.png, a picture of where "
            "both faces differ."
        )
        flags.DEFINE_string("output", None, meaning, values)
        meaning = (
            "Number of the person in both, from 'faceswap people', or A's and B's, such as 1,0. By default the largest "
            "in each."
        )
        flags.DEFINE_list("face", [], meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.evaluation.compare import compare

        faces = of_both(values.face) if values.face else None
        compare(*paths(inputs), _path(values.output), faces)


class Export(Command):
    """Write a run as an artifact: safetensors, StableHLO and ONNX, compared with the checkpoint."""

    name = "export"
    usage = "--workdir DIR --output DIR [--formats FORMAT,...] [--precision TYPE] [--persona NAME]"
    required = ("workdir", "output", "formats", "precision")

    def define(self, values, arguments):
        flags.DEFINE_string("workdir", None, "Folder of a trained run.", values)
        define_step(values)
        flags.DEFINE_string("output", None, "Folder to write, which is not there yet.", values)
        meaning = "Formats beside safetensors, which are always written."
        flags.DEFINE_list("formats", "safetensors,stablehlo,onnx", meaning, values)
        meaning = "Type of the stored weights: float32, float16 or bfloat16."
        flags.DEFINE_string("precision", "float32", meaning, values)
        meaning = "The only persona that the artifact knows, or a mix, such as alice:0.7,bob:0.3. By default all."
        flags.DEFINE_string("persona", None, meaning, values)

    def run(self, values, inputs):
        from faceswap_jax.artifacts.export import export

        export(
            Path(values.workdir),
            Path(values.output),
            values.step,
            values.formats,
            values.precision,
            values.persona,
        )


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


def numbered(texts: Sequence[str]) -> dict[int, str]:
    """Personas by number of the face, from texts such as "0=alice".

    Raises:
        InputError: a text is written otherwise, or a number comes twice.
    """
    personas = {}
    for text in texts:
        number, _, name = text.partition("=")
        if not (number.strip().isdecimal() and name.strip()):
            raise InputError(f"--personas has '{text}'; write numbers and names: 0=alice,1=bob.")
        if int(number) in personas:
            raise InputError(f"--personas names face {int(number)} twice; name each once.")
        personas[int(number)] = name.strip()
    return personas


def of_both(texts: Sequence[str]) -> tuple[int, int]:
    """Numbers of the people who are compared, from one for both or one for each.

    Raises:
        InputError: there are others, or none.
    """
    if len(texts) not in (1, 2) or not all(text.strip().isdecimal() for text in texts):
        raise InputError(
            f"--face is '{','.join(texts)}'; give a number for both, or two, such as 1,0."
        )
    first, *_, last = map(int, (*texts, *texts))
    return first, last


def define_swap(values: flags.FlagValues) -> None:
    """The flags of commands that blend faces into a clip."""
    define_run(values)

    # Whom to show: exactly one of the two, which `inference.who` checks
    meaning = "Whom to show: one of the run's personas, or a mix, such as alice:0.7,bob:0.3, where the run can."
    flags.DEFINE_string("persona", None, meaning, values)
    flags.DEFINE_list(
        "identity",
        [],
        "In place of --persona, for a run that takes anybody: pictures or clips of one person, separated by commas.",
        values,
    )

    # How
    define_blend(values)
    meaning = (
        "Outline of the face: hull; inner, which leaves out temples and sideburns; forehead, with room for brows that "
        "an edit raises; or wide, with room for faces of another shape. By default the model's own."
    )
    flags.DEFINE_string("outline", None, meaning, values)

    # Whose face is replaced
    meaning = "Number of the person whose face is replaced, from 'faceswap people'. By default the largest."
    flags.DEFINE_integer("face", None, meaning, 0, None, values)
    meaning = "In place of --face: a picture or clip of that person."
    flags.DEFINE_string("reference", None, meaning, values)
    meaning = "In place of --persona and --face: several at once, such as 0=alice,1=bob."
    flags.DEFINE_list("personas", [], meaning, values)


def define_blend(values: flags.FlagValues) -> None:
    """The flag that says how generated faces become part of pictures."""
    meaning = "How the face is blended in: multiband, poisson or none."
    flags.DEFINE_string("blend", "multiband", meaning, values)


def swap_choices(values: flags.FlagValues) -> dict[str, object]:
    """What these flags say, as arguments of `swap`.

    Raises:
        InputError: --personas is written otherwise.
    """
    return {
        "method": values.blend,
        "step": values.step,
        "identity": paths(values.identity),
        "face": values.face,
        "reference": _path(values.reference),
        "personas": numbered(values.personas),
        "outline": values.outline,
        "coding": coding_of(values),
    }


def define_run(values: flags.FlagValues) -> None:
    """The flags of commands that make images: which run makes them, and where to."""
    define_model(values, "Folder of a trained run.")
    define_step(values)
    meaning = (
        "Picture or clip (.mp4, .mov, .mkv) to write, or numbered pictures, such as out.%04d.exr; or a folder for "
        "these, if the input is such."
    )
    flags.DEFINE_string("output", None, meaning, values)
    meaning = (
        "Codec of a clip to write: h264, hevc or prores, which wants .mov or .mkv. By default h264, and hevc where the "
        "input has more than 8 bits."
    )
    flags.DEFINE_string("codec", None, meaning, values)
    define_colorspace(values)
    meaning = "Frames a second of an input of numbered pictures. By default 25."
    flags.DEFINE_string("fps", None, meaning, values)


def footage(text: str, values: flags.FlagValues) -> Path:
    """The picture or clip that is to be used, at the rate that the flags say.

    Raises:
        InputError: a rate is given that is none, or for what has one.
    """
    from faceswap_jax.faces.sequence import at_rate

    path = Path(text)
    return path if values.fps is None else at_rate(path, values.fps)


def define_colorspace(values: flags.FlagValues) -> None:
    """The flag that says what the colours of a clip are."""
    meaning = (
        "Colour space of an input whose file does not tell it, such as 'S-Log3 S-Gamut3.Cine' or 'ARRI LogC4': one of "
        "OpenColorIO's, which the extra 'film' installs. By default what the file says."
    )
    flags.DEFINE_string("colorspace", None, meaning, values)


def coding_of(values: flags.FlagValues) -> object:
    """What the flags say of clips, a `Coding`."""
    from faceswap_jax.inference.clip import Coding

    return Coding(values.codec, values.colorspace)


def define_step(values: flags.FlagValues) -> None:
    """The flag that names a checkpoint."""
    meaning = "Number of steps of the checkpoint to use. By default the newest one."
    flags.DEFINE_integer("step", None, meaning, 0, None, values)


def define_model(values: flags.FlagValues, workdir: str) -> None:
    """The flags that say what makes the images; `workdir` explains the first one."""
    flags.DEFINE_string("workdir", None, workdir, values)
    meaning = "In place of --workdir: an artifact, the folder that 'faceswap export' has written."
    flags.DEFINE_string("model", None, meaning, values)


def model_of(values: flags.FlagValues) -> Path:
    """The folder of what makes the images.

    Raises:
        InputError: not exactly one is given, or what should be an artifact is none.
    """
    from faceswap_jax.artifacts.manifest import Artifact

    if (values.workdir is None) == (values.model is None):
        raise InputError(
            "Say what makes the images: --workdir, a run, or --model, an artifact, one of the two."
        )
    if values.workdir:
        return Path(values.workdir)
    folder = Path(values.model)
    artifact = Artifact.load(folder)
    artifact.check(folder, artifact.learned())
    return folder


def _path(text: str | None) -> Path | None:
    """What a flag names, if it is given."""
    return None if text is None else Path(text)
