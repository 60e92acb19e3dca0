"""Tasks and networks by name: those of this package, and anybody's, from outside of the repository."""

import subprocess
import sys
from pathlib import Path

import ml_collections
import numpy as np
import pytest

from faceswap_jax import config as configs
from faceswap_jax.errors import InputError
from faceswap_jax.models import comb
from faceswap_jax.parallel.mesh import make_mesh
from faceswap_jax.tasks.registry import network_class, task_class
from faceswap_jax.train import train
from faceswap_jax.training import runs
from tests.support.tiny_run import rows

MINIMAL = Path(__file__).parents[1] / "support" / "minimal.py"


def test_a_network_of_this_package_has_a_short_name():
    config = ml_collections.ConfigDict({"model": {"network": "comb"}})
    assert network_class(config) is comb.Network


@pytest.mark.parametrize("name", ["cmob", "json", ""])
def test_what_is_no_task_is_refused_with_those_there_are(name):
    with pytest.raises(
        InputError,
        match=rf"config\.task is '{name}'.*autoencoder, x2face, attribute, .*, oracle, detector",
    ):
        task_class(ml_collections.ConfigDict({"task": name}))


def test_an_experiment_takes_its_task_from_a_package_beside_it(tmp_path):
    package = tmp_path / "beside" / "my_package"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "system.py").write_text("class Task: pass\n")
    (tmp_path / "beside" / "experiment.py").write_text(
        "import ml_collections\n"
        "from my_package import system\n"
        "def get_config(): return ml_collections.ConfigDict({'task': system.__name__})\n"
    )
    code = (
        "from pathlib import Path\n"
        "from faceswap_jax import config\n"
        "from faceswap_jax.tasks.registry import task_class\n"
        "print(task_class(config.from_experiment(Path('beside/experiment.py'))).__module__)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == "my_package.system"


def test_the_minimal_system_trains_continues_and_makes_images(tmp_path):
    config = configs.from_experiment(MINIMAL)
    config.update(steps=6, batch=8)
    config.data.update(frames=10, resolution=16)
    config.run.update(log=1, preview=3, checkpoint=3)
    config.mesh.cpu_devices = 8
    config.lock()  # as the command does
    assert train(config, tmp_path / "run")
    losses = [row["loss"] for row in rows(tmp_path / "run")]
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert [row["step"] for row in rows(tmp_path / "run", evaluation=True)] == [3, 6]
    assert train(config, tmp_path / "run")  # finished: there is nothing to do

    run = runs.load(tmp_path / "run", make_mesh())
    made = run.task.synthesis(run.phase)
    variables = run.task.variables(run.phase, run.state)
    crops = np.zeros((2, 16, 16, 3), np.uint8)
    images = made.images(variables, {"weights": np.ones(1)}, {"crops": crops}, None)
    assert images.shape == crops.shape and len(made.personas) == 1
