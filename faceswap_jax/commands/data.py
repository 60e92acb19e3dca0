"""Commands that make data: from clips, or by rendering."""

import sys
from collections.abc import Sequence
from pathlib import Path

from absl import flags

from faceswap_jax.commands.base import ANY_NUMBER, Command, paths
from faceswap_jax.errors import InputError
from faceswap_jax.faces.ahead import cores

MOST_PUPPETS = 100_000  # also of tracks and frames


class Prepare(Command):
    """Clips to aligned face tracks; run it again to continue."""

    name = "prepare"
    usage = "INPUT... --output DIR"
    inputs = (1, ANY_NUMBER)
    required = ("output",)

    def define(self, values, arguments):
        from data_pipelines.prepare.settings import Settings

        flags.DEFINE_string("output", None, "Folder of the data, made or continued.", values)
        meaning = (
            "Whom to keep where clips show several people, if not who fills most of a persona's clips: pictures or "
            "clips of the people, by persona, such as alice=alice.png,bob=bob.png."
        )
        flags.DEFINE_list("person", [], meaning, values)
        _define_processes(values)
        Settings.define_flags(values)

    def run(self, values, inputs):
        from data_pipelines.prepare.prepare import prepare
        from data_pipelines.prepare.settings import Settings

        settings = Settings.from_flags(values)
        people = pictures_of(values.person)
        prepare(paths(inputs), Path(values.output), settings, values.processes, people)


def pictures_of(texts: Sequence[str]) -> dict[str, Path]:
    """The pictures of people, by name of their persona, from texts such as alice=alice.png.

    Raises:
        InputError: a text is written otherwise, or a persona comes twice.
    """
    pictures = {}
    for text in texts:
        persona, _, picture = text.partition("=")
        if not (persona and picture):
            raise InputError(
                f"--person has '{text}'; write personas and pictures: alice=alice.png,bob=bob.png."
            )
        if persona in pictures:
            raise InputError(f"--person names '{persona}' twice; name each once.")
        pictures[persona] = Path(picture)
    return pictures


class Verify(Command):
    """Check every record of prepared face tracks; repair what is broken."""

    name = "verify"
    usage = "DIR [--repair]"
    inputs = (1, 1)

    def define(self, values, arguments):
        flags.DEFINE_boolean("repair", False, "Drop what is broken.", values)

    def run(self, values, inputs):
        from data_pipelines.prepare.verify import verify

        sound = verify(Path(inputs[0]), values.repair)
        return 0 if sound else 1


class Puppets(Command):
    """Render clips or records of procedural people; run it again to continue."""

    name = "puppets"
    usage = "--output DIR --personas N --tracks M --frames F"
    required = ("output", "personas", "tracks", "frames")

    def define(self, values, arguments):
        def number(name, default, meaning, low=0, high=None):
            flags.DEFINE_integer(name, default, meaning, low, high, flag_values=values)

        flags.DEFINE_string("output", None, "Folder to make or to continue.", values)
        number("personas", None, "How many puppets.", 1, MOST_PUPPETS)
        number("tracks", None, "How many clips of each, in as many scenes.", 1, MOST_PUPPETS)
        number("frames", None, "How many frames of each track.", 1, MOST_PUPPETS)
        # What is written
        flags.DEFINE_enum(
            "format",
            "clips",
            ["clips", "records"],
            "clips: .mp4 files with audio and landmarks, for `faceswap prepare`; records: a prepared data set.",
            values,
        )
        number("size", 256, "Side of the clips' frames in pixels, even.")
        number("resolution", 128, "Side of the records' crops in pixels, a power of two.")
        flags.DEFINE_float("rate", 25.0, "Frames per second.", None, None, values)
        # Which puppets of which world: several commands can share the work.
        number("world_seed", 0, "Another world has other puppets.")
        number("first_persona", 0, "Number of the first puppet in the world.")
        number("first_track", 0, "Number of the first track.")
        number(
            "together",
            1,
            "With --format=records: this many neighbouring puppets show the same performances.",
            1,
            MOST_PUPPETS,
        )
        meaning = (
            "With --format=records: in every track a puppet has the glasses, hair, beard and skin tone of another one, "
            "so that the shape of the face alone tells who it is."
        )
        flags.DEFINE_boolean("restyled", False, meaning, values)
        number(
            "alike",
            1,
            "With --format=records: this many neighbouring puppets differ in face and expression alone. They share "
            "pose, scene and somebody else's looks.",
            1,
            MOST_PUPPETS,
        )
        _define_processes(values)

    def run(self, values, inputs):
        from data_pipelines.puppets.dataset import PuppetClips, write_clips, write_records
        from data_pipelines.puppets.sheet import write_contact_sheet

        # Clips have a size and records a resolution; the other flag would do nothing.
        of_records = ("resolution", "together", "restyled", "alike")
        unused = of_records if values.format == "clips" else ("size",)
        for name in unused:
            if values[name].present:
                raise InputError(
                    f"--{name} says nothing about --format={values.format}; leave it out."
                )
        output = Path(values.output)
        personas = range(values.first_persona, values.first_persona + values.personas)
        tracks = range(values.first_track, values.first_track + values.tracks)

        if values.format == "records":
            write_records(
                output,
                values.world_seed,
                personas,
                tracks,
                values.frames,
                values.rate,
                values.resolution,
                values.processes,
                values.together,
                values.restyled,
                values.alike,
            )
            return
        clips = PuppetClips.regular(
            values.world_seed, personas, tracks, values.frames, values.size, values.rate
        )
        write_clips(output, clips, values.processes)
        sheet = write_contact_sheet(output, clips)
        print(f"{sheet}: moments of all puppets, to look at", file=sys.stderr)


def _define_processes(values: flags.FlagValues) -> None:
    """The flag for the number of processes, by default one for each core that this process may use."""
    flags.DEFINE_integer(
        "processes",
        cores(),
        "How many clips, or parts of long ones, are worked on at once.",
        1,
        None,
        values,
    )
