"""Flags that are missing, misspelt or of no use are refused in one sentence, and nothing is left behind."""

import re
from pathlib import Path

import pytest

from experiments import comb
from faceswap_jax.commands import COMMANDS

PREPARE = "prepare a.mp4 --output data"
SWAP = "swap a.mp4 --workdir w --persona p --output o.mp4"
TRAIN = f"train --config {Path(comb.__file__)} --workdir w"
COMPILE = f"compile --config {Path(comb.__file__)}"
SEARCH = "search --data d --output o"
VECTOR = "vector --workdir w --name smile"
EXPORT = "export --workdir w --output o"
EVALUATE = "evaluate --workdir w --data d"
EDIT = "edit a.mp4 --workdir w --persona p --output o.mp4"
PUPPETS = "puppets --output=d --personas=1 --tracks=1 --frames=1"


def test_wrong_commands(refused):
    for name in ("traim", "--verbose"):
        error = refused(name)
        assert f"'{name}'" in error and all(command in error for command in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_what_is_missing_is_named_beside_the_usage(refused, name):
    command = COMMANDS[name]
    given = ("blend", "formats", "precision")  # by default
    flags = [f"--{flag}" for flag in command.required if name != "demo" and flag not in given]
    arguments = ["one", "two"] if command.inputs[1] == 0 else []
    if flags or arguments or command.inputs[0]:
        error = refused(name, *arguments)
        assert f"usage: faceswap {name} {command.usage}" in error
        assert ", ".join(flags) in error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("verify", "number of inputs is 0"),
        ("prepare --output data", "number of inputs is 0"),
        (f"{SWAP} b.mp4", r"number of inputs is 2 \(a.mp4, b.mp4\)"),
        ("demo more", r"number of inputs is 1 \(more\)"),
        ("demo --output=", "--output is empty"),
        ("swap a.mp4 --workdir= --persona ada --output b.mp4", "--workdir is empty"),
        ("swap a.mp4 --workdir w --identity b.png, --output o.mp4", "'b.png,' has a file or fold"),
        ("synthesize --workdir w --identities a,,b --attributes c --output o", "'a,,b' has a file"),
        ("serve a --seconds nan", "--seconds is nan; give a number"),
        ("serve a --memory_gib inf", "--memory_gib is inf; give a number"),
        ("prepare a.mp4 --ouput data", "'ouput'.*Did you mean: output"),
        ("prepare a.mp4 --output", "--output.*'faceswap prepare --help'"),
        ("train --config= --workdir w", "config file"),
        ("train --config no.py --workdir w", "'no.py'.*experiments/"),
        ("train --workdir w", "--config must be given"),
        ("train w --config", "--config"),
        (COMPILE, "either --topology, e.g. v5e:4x4 or h100:8, or --devices"),
        (f"{COMPILE} --topology v5e:4x4 --devices 8", "either --topology"),
        (f"{COMPILE} --topology v5e:3x5", "no topology 'v5e:3x5'.*v5e:2x2, "),
        (f"{COMPILE} --devices 0", "--devices=0"),
        (f"{COMPILE} --devices 8 --personas none", "--personas=none"),
        ("train --config --help", "--config"),
        (f"{PREPARE} --resolution wide", "--resolution=wide"),
        (f"{PREPARE} --resolution 100", "--resolution=100 .* power of two"),
        (f"{PREPARE} --splits 70,20,20", "--splits=70,20,20 .*75,15,10"),
        (f"{PREPARE} --splits most", "--splits=most .*75,15,10"),
        (f"{PREPARE} --processes 0", "--processes=0"),
        (f"{PREPARE} --person alice", "--person has 'alice'; write personas and pictures"),
        (f"{PREPARE} --person a=b.png,a=c.png", "--person names 'a' twice"),
        (PREPARE, "a.mp4 does not exist"),
        ("verify nowhere", "nowhere does not exist.*prepare"),
        ("status w", "'w' holds no run.*--workdir"),
        (f"{SWAP} --step last", "--step=last.* whole number;.*--help"),
        (f"{PREPARE} --cut abrupt", "--cut=abrupt.* a number;"),
        (f"{TRAIN} --config.batch=many", "--config.batch=many.* whole number;"),
        (f"{TRAIN} --config.level_steps=(0,20", r"--config.level_steps=\(0,20 .* \(0,0,20\);"),
        (f"{SWAP} --blend x", "blending 'x'.*multiband"),
        (SWAP, "a.mp4 does not exist"),
        (f"{SWAP} --model m", "--workdir, a run, or --model, an artifact, one of the two"),
        ("swap a.mp4 --persona p --output o.mp4", "--workdir, a run, or --model"),
        ("swap a.mp4 --model m --persona p --output o.mp4", "'m' holds no artifact"),
        (f"{EXPORT} --formats pickle", "'pickle'; choose of safetensors"),
        (f"{EXPORT} --precision int8", "'int8'; choose one of float32"),
        (EXPORT, "'w' holds no run"),
        (f"{EVALUATE} --protocol swap", "--protocol=swap.* <transfer>"),
        (f"{EVALUATE} --protocol transfer --blend none", "--blend says nothing beside --protocol"),
        (f"{EVALUATE} --beside b", "--beside goes with --protocol"),
        (f"{EVALUATE} --action_units a.onnx", "--action_units goes with --protocol"),
        (f"{EVALUATE} --protocol transfer", "'d' is no folder"),
        (SEARCH, "picture or with --query, one of the two"),
        (f"{SEARCH} a.png --query yaw>1", "one of the two"),
        (f"{SEARCH} a.png", "a.png does not exist"),
        (f"{SEARCH} --query yaw>1", "folder d does not exist.*prepare"),
        (f"{SEARCH} --query yaw>1 --region eyes", "--region says nothing beside --query"),
        (f"{SEARCH} --query smile>1", "no signal 'smile'.*mouthSmileLeft"),
        (f"{SEARCH} --query yaw", "'yaw'; write conditions"),
        (f"{SEARCH} a.png --count 0", "--count=0"),
        (f"{SEARCH} a.png --by magic", "--by=magic"),
        (VECTOR, "two sides: give --positive and --negative, or --query"),
        (f"{VECTOR} --positive a", "two sides"),
        (f"{VECTOR} --positive a --query yaw>1", "--positive says nothing beside --query"),
        (f"{VECTOR} --positive a --negative b --data d", "--data says nothing beside --positive"),
        (f"{VECTOR} --positive a --negative b", "'w' holds no run"),
        (f"{VECTOR} --query yaw>1 --method median", "no method 'median'; choose one of mean, pca"),
        ("vector --workdir w --name a=b --query yaw>1", "'a=b' cannot be the name"),
        (f"{VECTOR} --query yaw>1", "'w' holds no run"),
        (f"{EDIT}", "--keyframes or with --weights"),
        (f"{EDIT} --keyframes k --weights smile=1", "one of the two"),
        (f"{EDIT} --weights smile", "'smile'; write names and weights"),
        (f"{EDIT} --weights smile=1,smile=0", "'smile' twice"),
        (f"{EDIT} --keyframes k.json", "a.mp4 does not exist"),
        (f"{EDIT} --weights smile=1", "a.mp4 does not exist"),
    ],
)
def test_wrong_arguments(refused, arguments, message):
    assert re.search(message, refused(*arguments.split()))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--personas 0", "--personas=0"),
        ("--frames 1000000000", "--frames=1000000000"),
        ("--first_track -1", "--first_track=-1"),
        ("--processes 0", "--processes=0"),
        ("--format gif", "--format=gif"),
        ("--size 33", "33 px.* even"),
        ("--size 9999", "9999 px"),
        ("--rate 0", "0.0.* between 1 and 240"),
        ("--personas 9999 --tracks 9999", "99980001.* 100000"),
        ("--resolution 64", "--resolution .*--format=clips"),
        ("--size 64 --format records", "--size .*--format=records"),
        ("--resolution 33 --format records", "--resolution=33"),
        ("--output /dev/null/d", "/dev/null/d cannot be written"),
    ],
)
def test_puppets_that_cannot_be(refused, arguments, message):
    assert re.search(message, refused(*PUPPETS.split(), *arguments.split()))
