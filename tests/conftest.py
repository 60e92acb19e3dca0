"""All tests see eight simulated CPU devices, so that meshes are real; what names no mesh runs on the first."""

import os
from pathlib import Path

import pytest

os.environ["JAX_COMPILATION_CACHE_DIR"] = ""  # tests leave the user's cache alone
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# Tests compile much and compute little: a good part of the time went into making programs faster.
os.environ["XLA_FLAGS"] = " ".join(
    [
        os.environ.get("XLA_FLAGS", ""),
        "--xla_backend_optimization_level=0",
        "--xla_cpu_use_fusion_emitters=false",
    ]
)

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 8)
# Programs need not know where in our files their operations come from.
jax.config.update("jax_traceback_in_locations_limit", 0)


def pytest_collection_modifyitems(items):
    """Files with slow tests first: they are dealt out whole, and at the end one process would wait for the other."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def compiled(tmp_path_factory):
    """A cache of compiled programs that all tests of this run share, those in processes of their own too."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "xla"
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    jax.config.update("jax_compilation_cache_dir", str(folder))

    from faceswap_jax.training import programs

    # It would overrule the flags above.
    programs.QUICK["xla_backend_optimization_level"] = 0


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> Path:
    """A folder with a short clip of each of two puppets, and their landmarks."""
    from data_pipelines.puppets.clips import write_clip
    from tests.support.tiny_run import FRAMES, PERSONAS, RATE, SIZE

    folder = tmp_path_factory.mktemp("clips")
    for p, name in enumerate(PERSONAS):
        write_clip(folder / f"{name}.mp4", 0, p, 0, FRAMES, SIZE, RATE)
    return folder


@pytest.fixture(scope="session")
def data(clips, tmp_path_factory) -> Path:
    """The faces of these clips, prepared."""
    from data_pipelines.prepare.prepare import prepare
    from data_pipelines.prepare.settings import Settings
    from tests.support.tiny_run import PERSONAS, RESOLUTION

    folder = tmp_path_factory.mktemp("prepared") / "data"
    prepare([clips / f"{name}.mp4" for name in PERSONAS], folder, Settings(resolution=RESOLUTION))
    return folder


@pytest.fixture(scope="session")
def run(data, tmp_path_factory) -> Path:
    """The finished training run of the tiny comb network; copy it to change it."""
    from faceswap_jax.train import train
    from tests.support.tiny_run import experiment

    workdir = tmp_path_factory.mktemp("runs") / "run"
    assert train(experiment(data), workdir)
    return workdir


@pytest.fixture
def faceswap(capfd):
    """Runs the command; returns its exit code, stdout and stderr."""
    from faceswap_jax import cli

    def run(*arguments):
        capfd.readouterr()
        code = cli.main([str(a) for a in arguments])
        return code, *capfd.readouterr()

    return run
