"""Frames per second of `faceswap swap`, and what each of its stages takes: decode, find, align, network, blend, encode.

    faceswap demo --output build/demo
    python -m experiments.benchmarks.swap_speed --workdir build/demo/run [CLIP ...] [--frames 96] [--repeats 2]
    python -m experiments.benchmarks.swap_speed --workdir build/demo/run --minutes 1,10

Without clips it takes filmed puppets at 480 px, 1080p and 4K. The first table has CPU milliseconds of a frame, stage by
stage, each done alone; a swap reads its clip twice, so it decodes twice. The second one has whole swaps, in which the
stages overlap. With --minutes it swaps clips of 480 px that last so long instead, and tells the largest memory that the
process held.
"""

import itertools
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path

from absl import app, flags

from experiments.benchmarks.filmed import RATE, film
from experiments.benchmarks.measuring import print_table, seconds_of, silence_orbax
from faceswap_jax.artifacts.models import load
from faceswap_jax.faces import blend, people, tracking, video
from faceswap_jax.faces.encode import video_writer
from faceswap_jax.faces.landmarks import open_landmarker
from faceswap_jax.inference.batching import BATCH, Performance, fill_up, read_inputs
from faceswap_jax.inference.clip import Generated, Replacement, blended_frames, find_people
from faceswap_jax.inference.generator import Generator, Identity
from faceswap_jax.inference.who import who_is
from faceswap_jax.swap import swap_with

WORKDIR = flags.DEFINE_string("workdir", None, "Of a run that swaps.", required=True)
PERSONA = flags.DEFINE_string("persona", "ada", "Whom to show.")
FRAMES = flags.DEFINE_integer("frames", 96, "Of each filmed puppet.", 1)
SIZES = flags.DEFINE_list("sizes", ["480", "1080", "2160"], "Heights of the filmed puppets.")
REPEATS = flags.DEFINE_integer("repeats", 2, "Whole swaps; the fastest counts.", 1)
MINUTES = flags.DEFINE_list("minutes", [], "In place of all else: how long the clips last.")

STAGES = ("decode", "find", "align", "network", "blend", "encode")


def main(argv: Sequence[str]) -> None:
    """Measures and prints the tables."""
    silence_orbax()
    generator = load(Path(WORKDIR.value))
    identity = generator.identity(who_is(generator, PERSONA.value, ()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        if MINUTES.value:
            print_memory(folder)
            return

        clips = {Path(name).name: Path(name) for name in argv[1:]}
        if not clips:
            clips = {
                f"{size} px": film(folder / f"{size}.mp4", int(size), FRAMES.value)
                for size in SIZES.value
            }
        stages = []
        swaps = []
        for name, clip in clips.items():
            # Compiles and loads all that is needed.
            swap(generator, clip, folder / "out.mp4")
            spent = seconds_of_stages(generator, identity, clip, folder / "out.mp4")
            frames = video.probe(clip).frames
            cells = [1000 * spent[stage] / frames for stage in STAGES]
            sum_ = sum(cells) + cells[0]
            stages.append([name, *(f"{cell:.1f}" for cell in cells), f"{sum_:.0f}"])

            seconds = []
            before = cpu()
            for _ in range(REPEATS.value):
                seconds.append(seconds_of(partial(swap, generator, clip, folder / "out.mp4")))
            busy = (cpu() - before) / REPEATS.value
            best = min(seconds)
            swaps.append([name, f"{frames / best:.1f}", f"{1000 * busy / frames:.0f}"])
    columns = ["CPU ms of a frame", *STAGES, "all, two decodes"]
    print_table(columns, stages)
    print_table(["swap", "frames/s", "CPU ms of a frame"], swaps)


def swap(generator: Generator, clip: Path, output: Path) -> None:
    """A whole swap, but for loading the run."""
    swap_with(lambda: generator, PERSONA.value, clip, output)


def cpu() -> float:
    """Seconds that all threads of this process have computed."""
    return time.process_time()


def seconds_of_stages(
    generator: Generator, identity: Identity, clip: Path, output: Path
) -> Counter[str]:
    """CPU seconds of each stage over all frames of a clip; most of the time on one thread."""
    spent: Counter[str] = Counter()

    @contextmanager
    def stage(name: str) -> Iterator[None]:
        begin = cpu()
        yield
        spent[name] += cpu() - begin

    # Who is in the clip, as `find_people` does it
    replacement = Replacement(find_people(clip)[0], identity)
    is_cut = tracking.ShotCuts(people.CUT)
    watcher = people.Watcher()
    with closing(open_landmarker(clip)) as landmarker, video_writer(output, clip) as write:
        frames = video.read_frames(clip)
        while True:
            with stage("decode"):
                group = list(itertools.islice(frames, BATCH))
            if not group:
                break
            with stage("find"):
                for frame in group:
                    cut = is_cut(frame.image) is not None
                    watcher(frame.image, landmarker(frame.image, frame.index), cut)
            with stage("align"):
                faces = [replacement.person.faces[frame.index] for frame in group]
                inputs = fill_up(read_inputs(generator, Performance(group, faces)))
            with stage("network"):
                images = generator(identity, inputs)
            with stage("blend"):
                pairs = zip(group, images, strict=False)
                made = [Generated(frame, {0: image}, {}) for frame, image in pairs]
                blended = list(
                    blended_frames(
                        made, [replacement], generator, blend.DEFAULT_METHOD, generator.outline
                    )
                )
            with stage("encode"):
                for frame in blended:
                    write(frame)
    return spent


def print_memory(folder: Path) -> None:
    """Swaps clips of several lengths, each in a process of its own, and prints the memory that it held."""
    rows = []
    for minutes in sorted(MINUTES.value, key=float):
        clip = film(folder / "long.mp4", 480, round(60 * RATE * float(minutes)))
        arguments = [f"--workdir={WORKDIR.value}", f"--persona={PERSONA.value}"]
        arguments += [clip, f"--output={folder / 'out.mp4'}"]
        command = [sys.executable, "-m", "faceswap_jax.cli", "swap", *arguments]
        seconds = seconds_of(partial(subprocess.run, command, check=True))
        # Of all processes so far: the shortest clip comes first.
        most = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
        rows.append([f"{minutes} min", f"{most:.0f}", f"{seconds:.0f}"])
    print_table(["480 px", "largest memory, MiB", "seconds"], rows)


if __name__ == "__main__":
    app.run(main)
