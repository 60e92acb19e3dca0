"""Configs as files, text and differences, and the tables that check them."""

import sys

import ml_collections
import pytest

from experiments import comb
from faceswap_jax import config as configs
from faceswap_jax.config import at_least, below, between, inside, multiple_of, one_of, positive
from faceswap_jax.errors import InputError


def test_a_stored_config_is_the_same_config(tmp_path):
    config = comb.get_config()
    path = tmp_path / "config.json"
    configs.save(config, path)
    stored = configs.load(path)
    assert configs.differences(stored, config) == []
    assert configs.plain(stored) == configs.plain(config)
    assert list(stored.level_steps) == [100_000] * 9


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


def test_of_long_values_the_ends_and_the_length_are_told():
    old, new = comb.get_config(), comb.get_config()
    old.personas = [f"puppet{i:04}" for i in range(5_000)]
    new.personas = [*old.personas, "zoe"]
    [told] = configs.differences(old, new)
    assert len(told) < 500
    assert "'puppet4999'] (5,000 long) -> ['puppet0000'," in told and "'zoe'] (5,001 long)" in told


def test_fields_have_full_names():
    fields = configs.fields(comb.get_config())
    assert fields["model.width"] == 1.0 and fields["seed"] == 0 and "model" not in fields


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"task"', '{"width": 1}'])
def test_no_config_of_a_run(tmp_path, text):
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(InputError, match=f"'{path}' is not the config of a run"):
        configs.load(path)


def test_no_run(tmp_path):
    with pytest.raises(InputError, match=f"'{tmp_path}' holds no run.*--workdir"):
        configs.load(tmp_path / "config.json")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:", "SyntaxError: .*line 1"),
        ("import nosuchmodule", "nosuchmodule"),
        ("x = 1", "get_config"),
        ("def get_config(): return 1 / 0", "ZeroDivisionError"),
        ("def get_config(): return {'task': 'comb'}", "field 'task'"),
    ],
)
def test_wrong_experiments(tmp_path, text, message):
    path = tmp_path / "experiment.py"
    path.write_text(text)
    with pytest.raises(InputError, match=f"'{path}' .*{message}"):
        configs.from_experiment(path)
    with pytest.raises(InputError, match="no config file"):
        configs.from_experiment(tmp_path / "nowhere.py")


def test_an_experiment_imports_modules_beside_it(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "beside_it.py").write_text("SEED = 5")
    text = "import beside_it, ml_collections\n"
    text += (
        "def get_config(): return ml_collections.ConfigDict({'task': 'x', 'seed': beside_it.SEED})"
    )
    (tmp_path / "experiment.py").write_text(text)
    assert configs.from_experiment(tmp_path / "experiment.py").seed == 5


@pytest.mark.parametrize(
    ("demand", "good", "bad"),
    [
        (at_least(1), (1, 7), (0, -1)),
        (between(0, 1), (0, 0.5, 1), (-0.1, 1.1)),
        (inside(0, 1), (0.5,), (0, 1)),
        (below(0, 1), (0, 0.9), (1, -0.1)),
        (positive(), (0.1,), (0, -1)),
        (multiple_of("unit", 4), (0, 4, 8), (2, -4)),
        (one_of("stop", "rollback"), ("stop",), ("go",)),
    ],
)
def test_a_table_of_demands_names_the_field_the_value_and_the_remedy(demand, good, bad):
    for value in (*good, *bad):
        config = ml_collections.ConfigDict({"group": {"field": value}})
        if value in good:
            configs.check(config, {"group.field": demand})
        else:
            with pytest.raises(InputError) as error:
                configs.check(config, {"group.field": demand})
            message = str(error.value)
            assert "config.group.field" in message and repr(value) in message
            assert demand.remedy in message


def test_a_field_that_is_missing_is_told():
    config = ml_collections.ConfigDict({"group": {}})
    with pytest.raises(InputError, match=r"config\.group\.field is missing; add it"):
        configs.check(config, {"group.field": positive()})


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"log": 0}, "log"),
        ({"preview": 0}, "preview"),
        ({"checkpoint": 0}, "checkpoint"),
        ({"keep": 0}, "keep"),
        ({"keep_every": 3, "checkpoint": 2}, "keep_every"),
        ({"keep_every": -2, "checkpoint": 2}, "keep_every"),
        ({"best": "psnr", "checkpoint": 3, "preview": 2}, "checkpoint"),
        ({"not_finite": "ignore"}, "not_finite"),
    ],
)
def test_wrong_values_of_a_run_are_refused(changes, field):
    config = configs.defaults()
    configs.check_run(config)
    config.run.update(changes)
    with pytest.raises(InputError, match=f"config.run.{field} is {config.run[field]!r}"):
        configs.check_run(config)
