"""The command line: what it says, what it returns and what it leaves behind."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import av
import numpy as np
import pytest

from faceswap_jax import cli
from faceswap_jax import train as loop
from faceswap_jax.errors import DivergedError, JobError
from faceswap_jax.faces.picture import write_picture
from tests.support.tiny_run import FRAMES, SIZE

FILE = """
from tests.support import tiny_run

def get_config():
    return tiny_run.experiment()
"""


@pytest.fixture
def experiment(tmp_path_factory) -> Path:
    """An experiment file."""
    path = tmp_path_factory.mktemp("experiment") / "tiny.py"
    path.write_text(FILE)
    return path


@pytest.fixture
def faceswap(capfd):
    """Runs the command; returns its exit code, stdout and stderr."""

    def run(*arguments):
        capfd.readouterr()
        code = cli.main([str(a) for a in arguments])
        return code, *capfd.readouterr()

    return run


@pytest.fixture
def refused(faceswap, tmp_path, monkeypatch):
    """Runs the command in an empty folder; returns the sentence with which it refuses. Nothing may be left behind."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(Path().rglob("*"))
        code, out, err = faceswap(*arguments)
        assert (code, out) == (2, "")
        assert err.startswith("faceswap: ") and err.count("\n") == 1, err
        assert sorted(Path().rglob("*")) == before
        return err

    return run


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(faceswap, arguments):
    code, out, err = faceswap(*arguments)
    assert code == 0 and not err
    assert all(
        f"\n  {name} " in out and command.summary in out for name, command in cli.COMMANDS.items()
    )


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_help_of_a_command_names_its_flags(faceswap, name):
    for arguments in (["--help"], ["-h"], ["--output", "x", "--help"]):
        code, out, err = faceswap(name, *arguments)
        assert code == 0 and not err
        assert out.startswith(f"usage: faceswap {name} {cli.COMMANDS[name].usage}\n")
    flags = {
        "prepare": "output resolution max_yaw splits",
        "verify": "repair",
        "train": "config workdir distributed profile",
        "compile": "config devices",
        "status": "",
        "swap": "workdir persona output blend step",
        "evaluate": "workdir data blend embedder",
        "puppets": "output personas tracks frames format size resolution rate world_seed first_persona first_track",
        "sweep": "local output devices",
    }
    for flag in flags.get(name, "output").split():
        assert f"\n  --{flag} " in out
    assert ("(default: 256)" in out) == (name in ("prepare", "puppets"))


def test_help_is_fast():
    """It loads no library of weight."""
    code = (
        "import sys; from faceswap_jax.cli import COMMANDS, main;"
        "[main([c, '--help']) for c in COMMANDS];"
        "print(*(m for m in ('jax', 'cv2', 'av', 'grain', 'mediapipe', 'wandb') if m in sys.modules))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout.splitlines()[-1] == "" and not result.stderr


def test_wrong_commands(refused):
    assert f"no command 'traim'; choose one of {', '.join(cli.COMMANDS)}" in refused("traim")
    assert "no command '--verbose'" in refused("--verbose")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("verify", "the number of inputs is 0; usage: faceswap verify DIR [--repair]"),
        (
            "verify nowhere",
            "The data folder nowhere does not exist; make one with `faceswap prepare`.",
        ),
        ("prepare", "--output must be given; usage: faceswap prepare INPUT... --output DIR"),
        ("prepare a.mp4", "--output must be given"),
        ("prepare --output data", "number of inputs is 0; usage: faceswap prepare INPUT"),
        ("prepare a.mp4 --ouput data", "Unknown command line flag 'ouput'. Did you mean: output ?"),
        (
            "prepare a.mp4 --output",
            "Missing value for flag --output; 'faceswap prepare --help' explains the flags.",
        ),
        ("prepare a.mp4 --output data --resolution wide", "flag --resolution=wide"),
        (
            "prepare a.mp4 --output data --resolution 100",
            "--resolution=100 cannot be used; it must be a power of two",
        ),
        (
            "prepare a.mp4 --output data --splits 70,20,20",
            "--splits=70,20,20 cannot be used; it must be like 75,15,10",
        ),
        (
            "prepare a.mp4 --output data --splits most",
            "--splits=most cannot be used; it must be like 75,15,10",
        ),
        ("prepare a.mp4 --output data --processes 0", "flag --processes=0"),
        ("prepare a.mp4 --output data", "a.mp4 does not exist; check its name"),
        (
            "train",
            "--config, --workdir must be given; usage: faceswap train --config FILE --workdir DIR",
        ),
        ("train --config= --workdir w", "There is no config file"),
        (
            "train --config no.py --workdir w",
            "There is no config file 'no.py'; give an experiment, such as",
        ),
        ("train --workdir w", "--config must be given"),
        ("train w --config", "Missing value for flag --config"),
        (
            "swap a.mp4 --workdir w --persona p --output o.mp4 --step last",
            "flag --step=last",
        ),
        ("status", "the number of inputs is 0; usage: faceswap status DIR"),
        ("status w", "'w' holds no run; give the folder that was --workdir of 'faceswap train'"),
        (
            "swap",
            "--workdir, --persona, --output must be given; usage: faceswap swap INPUT --workdir DIR",
        ),
        (
            "swap a.mp4 b.mp4 --workdir w --persona p --output o.mp4",
            "number of inputs is 2; usage: faceswap swap",
        ),
        (
            "swap a.mp4 --workdir w --persona p --output o.mp4 --blend x",
            "no blending 'x'; choose one of multiband",
        ),
        ("swap a.mp4 --workdir w --persona p --output o.mp4", "a.mp4 does not exist"),
        (
            "puppets",
            "--output, --personas, --tracks, --frames must be given; usage: faceswap puppets --output DIR",
        ),
        ("demo more", "number of inputs is 1; usage: faceswap demo [--output DIR]"),
    ],
)
def test_wrong_arguments(refused, arguments, message):
    assert message in refused(*arguments.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--personas 0", "flag --personas=0: 0 is not an integer in the range"),
        (
            "--frames 1000000000",
            "flag --frames=1000000000: 1000000000 is not an integer in the range",
        ),
        ("--first_track -1", "flag --first_track=-1"),
        ("--processes 0", "flag --processes=0"),
        ("--format gif", "flag --format=gif"),
        ("--size 33", "The size of puppet clips is 33 px; it must be even and between 16 and 1024"),
        ("--size 9999", "is 9999 px; it must be even"),
        ("--rate 0", "The frame rate of puppets is 0.0; it must lie between 1 and 240"),
        (
            "--personas 9999 --tracks 9999",
            "9999 puppets with 9999 tracks are 99980001; make 1 to 100000",
        ),
        ("--resolution 64", "--resolution says nothing about --format=clips; leave it out"),
        ("--size 64 --format records", "--size says nothing about --format=records; leave it out"),
        ("--resolution 33 --format records", "--resolution=33 cannot be used"),
        ("--output /dev/null/d", "/dev/null/d cannot be written"),
    ],
)
def test_puppets_that_cannot_be(refused, arguments, message):
    good = ["--output=d", "--personas=1", "--tracks=1", "--frames=1"]
    assert message in refused("puppets", *good, *arguments.split())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("model.widht=0.5", "has no field 'model.widht'; did you mean --config.model.width?"),
        ("modle.width=0.5", "has no field 'modle.width'; did you mean --config.model.width?"),
        ("width=0.5", "has no field 'width'; did you mean --config.model.width?"),
        ("model.width.x=1", "has no field 'model.width.x'; did you mean"),
        ("model=1", "has no field 'model'; did you mean --config.model.width?"),
        ("bacth=1", "has no field 'bacth'; did you mean --config.batch?"),
        ("model.width=abc", "flag --config.model.width=abc: could not convert string to float"),
        ("batch=1.5", "flag --config.batch=1.5: invalid literal for int()"),
        ("batch", "Missing value for flag --config.batch"),
        (
            "data.path=nowhere",
            "The data folder nowhere does not exist; make one with `faceswap prepare`",
        ),
        ("run.checkpoint=0", "config.run.checkpoint is 0; give 1 or more"),
        (
            "seed=1 --profile=3",
            "--profile=3 cannot be used; give the first and the last step, such as 10:14",
        ),
    ],
)
def test_wrong_values_of_a_config(refused, experiment, data, override, message):
    arguments = ["train", "--config", experiment, "--workdir", "w", f"--config.data.path={data}"]
    overrides = f"--config.{override}".split()
    assert message in refused(*arguments, *overrides)
    assert message in refused(
        *arguments[:1], "--workdir=w", f"--config={experiment}", *arguments[5:], *overrides
    )


def test_wrong_config_files(refused, experiment):
    for text in ("def get_config(:", "raise SystemError('two\\nlines')", "get_config = dict"):
        experiment.write_text(text)
        assert f"'{experiment}'" in refused("train", "--config", experiment, "--workdir", "w")


def test_data_that_do_not_fit(refused, experiment, data, clips, faceswap, tmp_path_factory):
    arguments = ["train", "--config", experiment, "--workdir", "w", "--config.data.path"]
    one = tmp_path_factory.mktemp("one") / "data"
    assert faceswap("prepare", clips / "ada.mp4", "--output", one, "--resolution", 16)[0] == 0
    assert f"'{one}' has only the persona 'ada'; a swap needs at least two" in refused(
        *arguments, one
    )
    steps = "--config.level_steps=(0, 4, 4, 4)"
    assert "persona ada have 16 px, but 32 px are wanted" in refused(*arguments, data, steps)
    assert "(2, 7, 8, 8, 3) does not divide among the mesh" in refused(
        *arguments, data, "--config.batch=7"
    )


def test_clips_that_do_not_serve(refused, clips, run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("odd")
    with av.open(str(folder / "sound.mp4"), "w") as output:
        stream = output.add_stream("aac", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(
            np.zeros((1, 4000), np.int16), format="s16", layout="mono"
        )
        frame.sample_rate = 8000
        output.mux([*stream.encode(frame), *stream.encode(None)])
    (folder / "text.mp4").write_text("no clip")
    (folder / "empty.mp4").touch()
    (folder / "cut.mp4").write_bytes((clips / "ada.mp4").read_bytes()[:2000])
    for name, message in (
        ("sound.mp4", "has no video; give a clip or a picture that shows a face"),
        ("text.mp4", "is damaged or not a video"),
        ("empty.mp4", "is empty (0 bytes)"),
        ("cut.mp4", "is damaged or not a video"),
    ):
        for command in (
            ["prepare", clips / "ada.mp4", folder / name, "--output", "data"],
            ["swap", folder / name, "--workdir", run, "--persona", "ada", "--output", "out.mp4"],
        ):
            error = refused(*command)
            assert f"{folder / name} {message}" in error


def test_a_whole_run(faceswap, experiment, clips, tmp_path, monkeypatch):
    """Prepare, train in two goes, swap; all but the last lines are on stderr."""
    monkeypatch.chdir(tmp_path)
    people = [clips / "ada.mp4", clips / "ben.mp4"]
    code, out, err = faceswap("prepare", *people, "--output", "data", "--resolution=16")
    assert (code, out) == (0, "") and "ada" in err
    train = [
        "train",
        f"--config={experiment}",
        "--workdir",
        "w",
        "--config.level_steps=(0,0,2)",
        "--config.run.log",
        "1",
    ]
    code, out, err = faceswap(*train)
    assert (code, out) == (0, "") and "Finished: 'w' is at step 2." in err and "nan" not in err
    assert faceswap(*train)[0] == 0
    code, _, err = faceswap(*train, "--config.batch=16")
    assert (
        code == 2
        and "'w' holds a run of another config (batch: 8 -> 16); undo it or choose a new" in err
    )
    code, out, err = faceswap(
        "swap", clips / "ben.mp4", "--workdir=w", "--persona=ada", "--output=out.mp4"
    )
    assert (code, out, err) == (0, "", f"out.mp4: {FRAMES} frames\n")
    assert sorted(p.name for p in Path().iterdir()) == ["data", "out.mp4", "w"]


def test_puppets_serve_the_other_commands(faceswap, experiment, tmp_path, monkeypatch):
    """Clips can be prepared, records trained on; the same command again changes nothing."""
    monkeypatch.chdir(tmp_path)
    puppets = [
        "--personas=2",
        "--tracks=1",
        "--frames=8",
        "--rate=8",
        "--first_persona=3",
        "--processes=1",
    ]
    for _ in range(2):
        code, out, err = faceswap("puppets", "--output=clips", *puppets, "--size=64")
        assert (code, out) == (0, "") and "clips/contact_sheet.png" in err
    assert "2 done before" in err
    assert sorted(p.name for p in Path("clips").iterdir()) == [
        "contact_sheet.png",
        "puppet003",
        "puppet004",
        "puppets.json",
    ]
    code, _, err = faceswap(
        "prepare", "clips/puppet003", "clips/puppet004", "--output=data", "--resolution=16"
    )
    assert code == 0 and "2 in all" in err
    code, out, err = faceswap(
        "puppets", "--output=records", "--format=records", *puppets, "--resolution=16"
    )
    assert (code, out) == (0, "") and " 16 │   16 " in err
    assert faceswap("verify", "records")[0] == 0
    train = ["train", f"--config={experiment}", "--workdir=w", "--config.level_steps=(0,0,1)"]
    code, _, err = faceswap(*train, "--config.data.path=records")
    assert code == 0 and "Finished: 'w' is at step 1." in err
    code, _, err = faceswap("puppets", "--output=clips", *puppets, "--size=32")
    assert code == 2 and "clips holds other puppets" in err
    code, _, err = faceswap("puppets", "--output=records", *puppets)
    assert code == 2 and "records exists and is not an empty folder" in err


def test_endings_that_are_no_fault_of_the_input(faceswap, experiment, monkeypatch):
    for error, code, message in (
        (
            DivergedError("loss is nan at step 3; lower config.learning_rate."),
            1,
            "loss is nan at step 3",
        ),
        (JobError("Process 0 has lost another process of this job."), 3, "has lost another"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ):

        def train(config, workdir, profile, error=error):
            raise error

        monkeypatch.setattr(loop, "train", train)
        result = faceswap("train", "--config", experiment, "--workdir", "w")
        assert result[:2] == (code, "") and message in result[2] and result[2].count("\n") == 1


def test_an_unknown_error_is_told_apart_from_those_that_would_happen_again(
    faceswap, experiment, monkeypatch
):
    def train(*_):
        raise RuntimeError("the network cable")

    monkeypatch.setattr(loop, "train", train)
    code, out, err = faceswap("train", "--config", experiment, "--workdir", "w")
    assert code == 70 and not out and "Traceback" in err and "the network cable" in err


@pytest.mark.slow
def test_a_real_process_is_quiet_and_ends(run, clips, tmp_path):
    """With MediaPipe on a picture without a face, then with the landmarks of a clip."""
    picture = tmp_path / "wall.png"
    write_picture(picture, np.full((SIZE, SIZE, 3), 90, np.uint8))
    shutil.copy(clips / "ben.mp4", tmp_path / "ben.mp4")
    shutil.copy(clips / "ben.mp4.landmarks.csv", tmp_path / "ben.mp4.landmarks.csv")
    for source, output, code, message in (
        (
            "wall.png",
            "out.png",
            2,
            "faceswap: None of the 1 frames shows a face; give another clip, or landmarks beside it.\n",
        ),
        ("ben.mp4", "out.mp4", 0, f"out.mp4: {FRAMES} frames\n"),
    ):
        command = ["swap", source, "--workdir", run, "--persona", "ada", "--output", output]
        environment = os.environ | {"JAX_PLATFORMS": "cpu"}
        result = subprocess.run(
            [sys.executable, "-m", "faceswap_jax.cli", *command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert (result.returncode, result.stdout, result.stderr) == (code, "", message)
        assert (tmp_path / output).exists() == (code == 0)
