"""Configs as files, text and differences."""

import json

import pytest

from experiments import comb
from faceswap_jax import config as configs
from faceswap_jax.errors import InputError


def test_a_stored_config_is_the_same_config(tmp_path):
    config = comb.get_config()
    path = tmp_path / "config.json"
    configs.save(config, path)
    assert configs.differences(configs.load(path), config) == []
    assert configs.plain(configs.load(path)) == configs.plain(config)
    assert json.loads(path.read_text())["level_steps"] == [100_000] * 9


def test_differences_name_what_identifies_a_run():
    old, new = comb.get_config(), comb.get_config()
    new.model.width, new.level_steps = 0.5, (1, 2)
    new.run.log, new.mesh.persona = 1, 2  # watched otherwise, on other devices: the same run
    new.extra = "more"
    del new.loss.l1
    assert configs.differences(old, new) == [
        "extra: absent -> more",
        f"level_steps: {[100_000] * 9} -> [1, 2]",
        "loss.l1: 0.0 -> absent",
        "model.width: 1.0 -> 0.5",
    ]


def test_fields_have_full_names():
    fields = configs.fields(comb.get_config())
    assert fields["model.width"] == 1.0 and fields["seed"] == 0 and "model" not in fields


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"task"', '{"width": 1}'])
def test_no_config_of_a_run(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config.json' is not the config of a run"):
        configs.load(tmp_path / "config.json")


def test_no_run(tmp_path):
    with pytest.raises(
        InputError, match=f"'{tmp_path}' holds no run; give the folder that was --workdir"
    ):
        configs.load(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", r"cannot be used \(SyntaxError: .*line 1\)\); correct it"),
        (
            "import nosuchmodule",
            "cannot be used .ModuleNotFoundError: No module named 'nosuchmodule'",
        ),
        ("x = 1", "cannot be used .KeyError: 'get_config'"),
        ("def get_config(): return 1 / 0", "cannot be used .ZeroDivisionError"),
        (
            "def get_config(): return {'task': 'comb'}",
            "must return a ConfigDict with a field 'task'",
        ),
    ],
)
def test_wrong_experiments(tmp_path, text, message):
    path = tmp_path / "experiment.py"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        configs.from_experiment(path)
    with pytest.raises(InputError, match="There is no config file"):
        configs.from_experiment(tmp_path / "nowhere.py")
