"""Every command of README.md runs, in order, in a folder with the clips that README names."""

import json
import re
from pathlib import Path

import pytest

from data_pipelines.puppets.clips import write_clip
from faceswap_jax.faces.landmarks import sidecar_path
from faceswap_jax.faces.video import read_frames
from tests.support import forked

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()

PAGES = [path.relative_to(ROOT).as_posix() for path in sorted(ROOT.glob("*.md"))]
PAGES += [
    "docs/bench.md",
    "docs/editing.md",
    "docs/export.md",
    "docs/footage.md",
    "docs/reenact.md",
    "docs/roles.md",
    "docs/scale.md",
    "docs/speed.md",
    "docs/transfer.md",
    "launch/README.md",
    "launch/beam/README.md",
]

# Blocks that make the environment, which this test runs in.
LEFT_OUT = ("make demo", "make .venv/.ready")

# What a newcomer brings: file, number of the puppet that plays the part.
CLIPS = {
    "alice.mp4": 0,
    "bob/scene.mp4": 1,
    "carol.mp4": 2,
    "held_out/alice.mp4": 0,
    "held_out/bob.mp4": 1,
    "vox2/dev/mp4/id00012/a/00001.mp4": 0,
    "vox2/dev/mp4/id00013/b/00001.mp4": 1,
}
SIZE, FRAMES, RATE = 160, 8, 8

_RUN = " --config.mesh.cpu_devices=1 --config.run.log=1 --config.run.preview=2 --config.run.checkpoint=2"
_SHAPE = " --config.model.width=0.02 --config.model.latent=8 --config.batch=2"
# What ships is of another shape.
_NETWORK = _SHAPE + " --config.init='' --config.freeze.steps=0"
_LEVELS = ' --config.level_steps="(0,0,2)" --config.final_steps=1'
_LONGER = (
    "faceswap train --config experiments/comb_cpu.py --workdir runs/first --config.data.path=data"
    " --config.final_steps="
)
_FACES = (
    " --config.steps=2 --config.warm_up=1 --config.batch=2 --config.model.side=16"
    ' --config.model.blocks="(1,1)" --config.model.channels="(4,4)"'
)
_PUPPETS = " --personas 2 --tracks 1 --frames 4 --processes 1"

# The only changes to README's commands: flags that make a job small, behind those that begin so.
SMALL = {
    "faceswap prepare": " --beta 0 --processes 1",
    _LONGER: _NETWORK + _LEVELS + _RUN + " --config.final_steps=3",
    "faceswap train --config experiments/comb_cpu.py --workdir runs/three": _SHAPE + _LEVELS + _RUN,
    "faceswap train --config experiments/comb": _NETWORK + _LEVELS + _RUN,
    "faceswap train --config experiments/identity.py": _FACES + _RUN,
    "faceswap puppets --output puppets/people": _PUPPETS + " --personas 8",
    "faceswap puppets": _PUPPETS,
    "faceswap compile": " --devices 2 --config.mesh.persona=2" + _NETWORK + _LEVELS,
    "faceswap sweep": _NETWORK + _LEVELS + _RUN,
}


def blocks(language: str = "sh") -> list[str]:
    """The shell commands of README, block by block, or its Python."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def commands(block: str) -> list[str]:
    """The commands of a block, each in one line and without its comment."""
    lines = block.replace("\\\n", " ").splitlines()
    return [re.sub(r"\s+#.*", "", line) for line in lines]


def small(command: str) -> str:
    """A command with the flags of the first entry of SMALL that it begins with."""
    for start, flags in SMALL.items():
        if command.startswith(start):
            return command + flags
    return command


def test_only_blocks_that_make_the_environment_are_left_out():
    left_out = [block for block in blocks() if block.startswith("make")]
    assert [block.startswith(start) for block, start in zip(left_out, LEFT_OUT, strict=True)]
    # Nothing that looks like a command stands in a block of another kind.
    assert not re.findall(r"^ {4}(faceswap|make|python|launch/)", README, re.MULTILINE)
    assert README.count("```") == 2 * (len(blocks()) + len(blocks("python")))


@pytest.mark.parametrize("name", PAGES)
def test_links_lead_to_files(name):
    page = ROOT / name
    links = re.findall(r"\]\((?!http|#)([^)#]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.fixture
def desk(tmp_path) -> Path:
    """A newcomer's folder: the clips, and the checkout's experiments."""
    for name, persona in CLIPS.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, 0, persona, 0, FRAMES, SIZE, RATE)
        # People find no landmarks beside their clips.
        sidecar_path(path).unlink()
    (tmp_path / "experiments").symlink_to(ROOT / "experiments")
    return tmp_path


@pytest.mark.slow
def test_every_command_runs_and_leaves_what_it_promises(desk, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    said = {}
    for block in blocks():
        if block.startswith(LEFT_OUT):
            continue
        for command in commands(block):
            code, said[command], errors = forked.run(small(command), desk)
            assert code == 0, f"{small(command)}\n{said[command]}{errors}"

    # The swapped clip plays.
    assert len(list(read_frames(desk / "bob_as_alice.mp4"))) == FRAMES
    # Where README says that it can be seen
    assert (desk / "data/report/index.html").exists()
    assert list((desk / "runs/first/previews").iterdir())
    for run in ("first", "puppets"):
        (scores,) = (desk / f"runs/{run}/evaluation").glob("*/*/scores.md")
        assert "do nothing" in scores.read_text()
    assert "finished" in said["faceswap status runs/first"]
    assert json.loads((desk / "runs/first/progress.json").read_text())["step"] == 5
    assert said["faceswap status runs/sweep"].count("\n") >= 2
    assert "all-reduce" in next(said[name] for name in said if "compile" in name)

    # What the commands made is nothing that git would add.
    made = {path.name for path in desk.iterdir()} - {"experiments", "bob", "vox2"}
    ignored = (ROOT / ".gitignore").read_text().split()
    assert not {n for n in made if f"/{n}/" not in ignored and not n.endswith(".mp4")}
