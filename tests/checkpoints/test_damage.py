"""Damaged checkpoints are told, and the ones before them used."""

import os
import subprocess
import sys

import pytest

from faceswap_jax.checkpoints.digests import digests
from faceswap_jax.checkpoints.store import FOLDER, Checkpoints
from faceswap_jax.errors import InputError
from tests.support.states import config, empty, flip, largest, layout, make_state, names

DAMAGES = {
    "a bit": lambda folder: flip(largest(folder)),
    "half a file": lambda folder: os.truncate(largest(folder), largest(folder).stat().st_size // 2),
    "a file": lambda folder: largest(folder).unlink(),
    "its metadata": lambda folder: [p.unlink() for p in folder.rglob("_CHECKPOINT_METADATA")],
    "its structure": lambda folder: [p.write_text("{") for p in folder.rglob("_METADATA")],
    "all": empty,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(tmp_path, caplog, damage):
    folder = tmp_path / FOLDER
    with Checkpoints(tmp_path, config(keep=9), writing=True) as checkpoints:
        for step in (2, 4, 6):
            checkpoints.save(make_state(step))
    DAMAGES[damage](folder / "6")
    damaged = sorted(p.relative_to(folder / "6") for p in (folder / "6").rglob("*"))
    with Checkpoints(tmp_path, config()) as checkpoints:  # a reader tells, and changes nothing
        assert int(checkpoints.restore(layout).step) == 4
    assert (
        names(tmp_path) == ["checkpoints"]
        and "step 6" in caplog.text
        and "that of step 4 is used" in caplog.text
    )
    with Checkpoints(tmp_path, config(keep=9), writing=True) as checkpoints:
        assert digests(checkpoints.restore(layout)) == digests(make_state(4))
        assert f"it is kept as '{tmp_path / 'damaged' / '6'}'" in caplog.text
        assert checkpoints.steps == [2, 4]
        checkpoints.save(make_state(6))
        checkpoints.wait()
        empty(folder / "6")
        assert int(checkpoints.restore(layout).step) == 4  # and once more
    assert names(tmp_path / "damaged") == ["6", "6.1"]
    aside = tmp_path / "damaged" / "6"
    assert sorted(p.relative_to(aside) for p in aside.rglob("*")) == damaged


def test_when_all_are_damaged_none_is_moved(tmp_path):
    folder = tmp_path / FOLDER
    with Checkpoints(tmp_path, config(keep=9), writing=True) as checkpoints:
        for step in (2, 4):
            checkpoints.save(make_state(step))
    for step in "24":
        flip(largest(folder / step))
    with (
        Checkpoints(tmp_path, config(), writing=True) as checkpoints,
        pytest.raises(
            InputError, match=r"step 4 in .* is damaged .*, and so are all before it; use"
        ),
    ):
        checkpoints.restore(layout)
    assert names(folder) == ["2", "4"]


LIMITED = """
import logging, resource, sys
from pathlib import Path
import jax.numpy as jnp
from faceswap_jax import config as configs
from faceswap_jax.checkpoints.store import Checkpoints
from faceswap_jax.errors import InputError
from tests.support.states import config, make_state

with Checkpoints(Path(sys.argv[1]), config(keep=9), writing=True) as checkpoints:
    checkpoints.save(make_state(2))
    checkpoints.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))  # files cannot grow, as on a full disk
    try:
        checkpoints.save(make_state(4))
        checkpoints.wait()
    except InputError as error:
        print(error)
"""


def test_a_full_disk_leaves_the_last_good_one(tmp_path):
    folder = tmp_path / FOLDER
    result = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], capture_output=True, text=True, check=True
    )
    assert f"A checkpoint could not be written to '{folder}'" in result.stdout, result.stderr
    assert "it continues after step 2." in result.stdout and result.stdout.count("\n") == 1
    with Checkpoints(tmp_path, config(), writing=True) as checkpoints:
        assert digests(checkpoints.restore(layout)) == digests(make_state(2))
    assert names(folder) == ["2"]
