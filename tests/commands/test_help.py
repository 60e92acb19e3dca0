"""What the command says of itself."""

import re
import subprocess
import sys

import pytest

from faceswap_jax.commands import COMMANDS

HEAVY = ("jax", "cv2", "av", "grain", "mediapipe", "wandb")


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_command(faceswap, arguments):
    code, out, err = faceswap(*arguments)
    assert code == 0 and not err
    for name, command in COMMANDS.items():
        assert f"\n  {name} " in out and command.summary in out


@pytest.mark.parametrize(
    ("name", "flags"),
    [
        ("prepare", "output resolution max_yaw splits"),
        ("verify", "repair"),
        ("train", "config workdir distributed profile"),
        ("compile", "config topology devices personas"),
        ("search", "data output count query by region"),
        ("people", "output"),
        (
            "swap",
            "workdir model persona identity expression output blend step outline face reference personas",
        ),
        ("synthesize", "workdir model step identities attributes output blend resolution"),
        ("anonymise", "workdir model step output blend key distance known codec colorspace fps"),
        ("reenact", "workdir model persona random drive output step paint write_embedded"),
        ("invert", "workdir weights step output"),
        ("fit-control", "workdir data step sound"),
        ("vector", "workdir step name part method positive negative query against data"),
        (
            "edit",
            "workdir model persona identity output blend step outline face personas keyframes weights only_changes",
        ),
        ("evaluate", "workdir model data blend embedder inception protocol beside action_units"),
        ("compare", "output face"),
        ("export", "workdir step output formats precision persona"),
        ("puppets", "output personas tracks frames format size resolution rate world_seed"),
        ("sweep", "local output devices"),
        ("demo", "output"),
        (
            "serve",
            "host port grpc_port keys grace picture_mib clip_mib megapixels seconds memory_gib keep_minutes",
        ),
    ],
)
def test_help_of_a_command_names_its_flags(faceswap, name, flags):
    for arguments in (["--help"], ["-h"], ["--output", "x", "--help"]):
        code, out, err = faceswap(name, *arguments)
        assert code == 0 and not err
        assert out.startswith(f"usage: faceswap {name} {COMMANDS[name].usage}\n")
    for flag in flags.split():
        assert f"\n  --{flag} " in out
    assert ("(default: 256)" in out) == (name in ("prepare", "puppets"))
    assert "None" not in out


def test_the_help_of_search_names_signals_that_there_are(faceswap):
    from faceswap_jax.commands.editing import SIGNALS
    from faceswap_jax.editing.expressions import BLENDSHAPES, QUICK

    assert set(SIGNALS) <= {*QUICK, *BLENDSHAPES}
    out = faceswap("search", "--help")[1]
    unnamed = [
        name for name in QUICK if name.removeprefix("left_").removeprefix("right_") not in out
    ]
    assert not unnamed


def test_help_is_fast():
    """It loads no library of weight."""
    code = (
        "import sys; from faceswap_jax.cli import main; from faceswap_jax.commands import COMMANDS;"
        "[main([c, '--help']) for c in COMMANDS];"
        f"print(*(m for m in {HEAVY} if m in sys.modules))"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "" and not result.stderr


def test_the_version_names_ours_and_that_of_jax(faceswap):
    code, out, err = faceswap("--version")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"faceswap [\d.]+, JAX [\d.]+\n", out)


@pytest.mark.parametrize("name", ["train", "compile"])
def test_the_help_lists_the_fields_of_an_experiment(faceswap, experiment, name):
    """With the values that the flags give, and the comments of all files that set them."""
    code, out, err = faceswap(name, f"--config={experiment}", "--config.batch=3", "--help")
    assert code == 0 and not err
    assert re.search(r"\n  --config.batch=3 +the file's own comment\n", out)
    assert re.search(r"\n  --config.run.log=2 +Steps between lines of metrics.jsonl", out)
    assert "\n  --config.model.width=0.015625" in out
