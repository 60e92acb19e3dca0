"""Every experiment: the config that it resolves to is the stored one, and a tiny run of it trains.

A change of a value is to be seen, for it changes what the experiment's card promises. One that is meant is accepted by

    python -m tests.experiments.test_experiments

which also stores the config of a new experiment and forgets that of a removed one.
"""

import difflib
import json
import math
import re
import tempfile
from pathlib import Path

import jax
import ml_collections
import pytest

from data_pipelines.puppets.dataset import write_records
from faceswap_jax import config as configs
from faceswap_jax.cost.program import batch_of
from faceswap_jax.cost.report import without_data
from faceswap_jax.parallel.batches import put
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.registry import task_class
from faceswap_jax.train import train
from tests.support.frozen import write_networks
from tests.support.tiny_run import rows

RENEW = "If this is meant: python -m tests.experiments.test_experiments"
ROOT, GOLDEN = Path(__file__).parents[2], Path(__file__).with_name("golden")
FILES = {file.stem: file for file in sorted((ROOT / "experiments").glob("[!_]*.py"))}
PERSONAS, SIDE = 4, 16  # of the data: two to train the embedder on and two to hold out; pixels
ALIGNMENTS = ("eyes", "stable", "ffhq")  # of the systems that are given frozen networks

# What makes a run of an experiment tiny, by its task, or by its network: sizes and numbers only. Its losses, orders and
# rates stay.
RUN = {"run.log": 1, "run.preview": 2, "run.checkpoint": 2, "batch": 8}
SMALL = {
    "autoencoder": RUN
    | {"level_steps": (0, 0, 2), "final_steps": 0, "personas_per_step": 2}
    | {"init": "", "freeze.steps": 0}
    | {"model.width": 1 / 64, "model.channels": (), "model.latent": 8},
    "parts": {"model.part_latent": 4, "model.part_channels": ()},
    "tunable": {"model.part_latent": 4, "model.part_channels": (), "model.code": 4},
    "identity": RUN
    | {"resolution": SIDE, "steps": 2, "warm_up": 1, "data.test": 8}
    | {
        "model.blocks": (1,),
        "model.channels": (8,),
        "model.stem": 8,
        "model.embedding": 8,
        "model.side": SIDE,
    },
    "expression": RUN
    | {"resolution": SIDE, "steps": 2, "warm_up": 1, "data.test": 8}
    | {"model.stem": 8, "model.levels": (8,), "model.squeeze": 4, "model.hidden": 8},
    "x2face": RUN
    | {"steps": 2, "data.test": 8, "data.sources": 1, "data.driving": 1}
    | {"model.resolution": SIDE, "model.width": 1 / 64, "model.inner": 8, "model.vector": 8},
    "attribute": RUN
    | {"steps": 2, "final_steps": 1, "data.test": 8, "loss.penalty_every": 1}
    | {"model.resolution": SIDE, "model.levels": 2, "model.layers": 1, "model.width": 1 / 64}
    | {"model.discriminator.halvings": 2, "model.discriminator.scales": 1}
    | {"model.discriminator.width": 1 / 16},
    "stylegan2": RUN
    | {"steps": 2, "data.test": 8}
    | {"model.resolution": 8, "model.latent": 8, "model.width": 1 / 1024},
    "inversion": RUN
    | {"steps": 2, "data.test": 8, "refinements": 2, "model.side": 8}
    | {"model.blocks": (1,), "model.channels": (8,), "model.stem": 8},
    "transfer": RUN
    | {"steps": 2, "data.test": 8}
    | {"model.blocks": (1,), "model.channels": (8,), "model.stem": 8},
    "sync": RUN
    | {"steps": 2, "warm_up": 1, "data.times": 2, "data.test": 8, "resolution": SIDE}
    | {"model.side": 8, "model.stem": 4, "model.levels": (4,), "model.embedding": 8},
    "detector": RUN
    | {"resolution": SIDE, "steps": 2, "warm_up": 1, "data.test": 8}
    | {"model.halvings": 2, "model.scales": 2, "model.width": 1 / 16},
    "oracle": RUN
    | {"steps": 2, "warm_up": 1, "data.test": 8}
    | {"model.stem": 8, "model.levels": (8, 8), "model.squeeze": 8},
}


def write_data(folder: Path) -> Path:
    """Records of a few puppets, as `faceswap prepare` would make them, and runs of frozen networks."""
    sizes = {"frames": 2, "rate": 2.0, "resolution": SIDE}
    write_records(folder, 0, range(PERSONAS), range(1), **sizes, together=2)
    for alignment in ALIGNMENTS:
        write_networks(folder / alignment, alignment)
    return folder


def experiment(name: str, data: Path) -> ml_collections.ConfigDict:
    """The values of an experiment, on these data and with these networks if it wants any."""
    config = configs.from_experiment(FILES[name])
    if "path" in config.data:
        config.data.path = str(data)
    for system, folders in config.get("fakes", {}).items():
        if folders:
            config.fakes[system] = (str(data),)
    for role, path in config.get("features", {}).items():
        if path:
            config.features[role] = str(data / config.alignment / role)
    for role, path in config.get("networks", {}).items():
        if path:
            written = "identity" if role == "sets" else role
            config.networks[role] = str(data / config.alignment / written)
    return config


def resolved(name: str, data: Path) -> str:
    """The resolved config as text. What differs from machine to machine, paths and digests, is made the same."""
    config = experiment(name, data)
    values = configs.plain(task_class(config).resolve(config))
    text = json.dumps(values, indent=2) + "\n"
    return re.sub(r"\b[0-9a-f]{16,}\b", "DIGEST", text.replace(str(data), "DATA"))


@pytest.fixture(scope="module")
def puppets(tmp_path_factory):
    """The data of all experiments."""
    return write_data(tmp_path_factory.mktemp("puppets") / "data")


def test_every_stored_config_is_of_an_experiment():
    assert {file.stem for file in GOLDEN.iterdir()} <= FILES.keys(), RENEW


@pytest.mark.parametrize("name", FILES)
def test_the_resolved_config_is_the_stored_one(name, puppets):
    path = GOLDEN / f"{name}.json"
    texts = path.read_text() if path.exists() else "", resolved(name, puppets)
    lines = (text.splitlines() for text in texts)
    changes = "\n".join(
        difflib.unified_diff(*lines, str(path.relative_to(ROOT)), "now", lineterm="")
    )
    if changes:
        pytest.fail(f"{changes}\n\n{RENEW}", pytrace=False)


def tiny(name: str, data: Path) -> ml_collections.ConfigDict:
    """An experiment whose run is tiny."""
    config = experiment(name, data)
    config.update_from_flattened_dict(SMALL[config.task])
    if "network" in config.model:
        config.update_from_flattened_dict(SMALL.get(config.model.network, {}))
    return config


@pytest.mark.parametrize("name", FILES)
def test_shapes_without_data_are_those_of_the_first_batch(name, puppets):
    """Of as many personas."""
    mesh = make_mesh()
    there = tiny(name, puppets)
    blank = without_data(there, PERSONAS)
    task, without = (task_class(c)(task_class(c).resolve(c)) for c in (there, blank))
    phase = task.phases[-1]
    first = put(task.train_data(phase, 0, 1)[0], task.batch_spec, mesh)
    expected = jax.tree.map(_described, first)
    for told in (task, without):
        assert jax.tree.map(_described, batch_of(told, phase, mesh)) == expected


def _described(array) -> str:
    return f"{array.dtype}{array.shape} {array.sharding.spec}"


@pytest.mark.parametrize("name", FILES)
def test_a_tiny_run_trains(name, puppets, tmp_path):
    assert train(tiny(name, puppets), tmp_path)
    steps = rows(tmp_path)
    assert [row["step"] for row in steps] == [1, 2]
    assert all(
        math.isfinite(value) for row in steps for value in row.values() if isinstance(value, float)
    )
    assert (tmp_path / "checkpoints" / "2").is_dir()
    assert (tmp_path / "previews" / "step_0000002.png").stat().st_size


def renew() -> None:
    """Stores what the experiments resolve to now."""
    GOLDEN.mkdir(exist_ok=True)
    for stale in GOLDEN.iterdir():
        stale.unlink()
    with tempfile.TemporaryDirectory() as folder:
        data = write_data(Path(folder) / "data")
        for name in FILES:
            (GOLDEN / f"{name}.json").write_text(resolved(name, data))


if __name__ == "__main__":
    renew()
