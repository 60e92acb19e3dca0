"""Clips whose people become people who do not exist."""

import json
import re
import shutil

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.inference.clip import Count
from faceswap_jax.roles import anonymise as module
from faceswap_jax.roles.anonymise import anonymise
from tests.support.outlines import outside_faces
from tests.support.tiny_run import FRAMES

pytestmark = pytest.mark.usefixtures("loaded_once")

FAR = 0.02
"""As far as the people of a network with random weights are apart."""


def images(path) -> np.ndarray:
    return np.stack([frame.image for frame in video.read_frames(path)]).astype(int)


def test_a_key_says_who_is_drawn(lending, clips, tmp_path, capfd):
    clip = clips / "ben.mp4"
    made = {}
    for name, key in (("one", "a"), ("again", "a"), ("other", "b")):
        output = tmp_path / f"{name}.mp4"
        assert anonymise(lending, clip, output, key=key, least=FAR) == Count(FRAMES, 0)
        made[name] = images(output)
    np.testing.assert_array_equal(made["one"], made["again"])
    face = ~outside_faces(clip)
    assert np.abs(made["one"] - made["other"])[face].mean() > 1
    assert np.abs(made["one"] - images(clip))[face].mean() > 1

    told = capfd.readouterr().err
    (nearest, own), *_ = re.findall(
        rf"face 0, in {FRAMES} of {FRAMES} frames: the new identity is (\S+) from the nearest of 5 people known, "
        r"(\S+) from the own one; faces made with it are \S+ from the own one, \S+ from the new one",
        told,
    )
    assert min(float(nearest), float(own)) >= FAR


def test_everybody_is_replaced_each_by_one_identity_in_all_frames(
    lending, stills, tmp_path, monkeypatch
):
    given = []

    def watched(generator, roles, *arguments, **options):
        given.extend(roles)
        return swap_clip(generator, roles, *arguments, **options)

    swap_clip = module.swap_clip
    monkeypatch.setattr(module, "swap_clip", watched)
    halves = [read_picture(stills / name / "0.png") for name in ("ada", "ben")]
    source = tmp_path / "two.png"
    write_picture(source, np.concatenate(halves, 1).repeat(2, 0).repeat(2, 1))
    anonymise(lending, source, tmp_path / "out.png", key="a", least=FAR)
    first, second = (role.identity["identity"] for role in given)
    assert first.shape == second.shape == (5,) and np.abs(first - second).max() > 0.05


def test_without_a_key_a_random_one_is_told(lending, stills, tmp_path, capfd):
    photo = stills / "ada" / "0.png"
    anonymise(lending, photo, tmp_path / "out.png", least=FAR)
    (key,) = re.findall(r"--key=(\w{16}) makes the same people again", capfd.readouterr().err)
    anonymise(lending, photo, tmp_path / "again.png", key=key, least=FAR)
    np.testing.assert_array_equal(*(read_picture(tmp_path / n) for n in ("out.png", "again.png")))


def test_other_people_may_be_known(lending, data, stills, tmp_path, capfd):
    anonymise(lending, stills / "ada" / "0.png", tmp_path / "o.png", known=data, least=1e-4)
    assert "the nearest of 2 people known" in capfd.readouterr().err


def test_what_cannot_be_used_is_told(lending, run, clips, faceless, tmp_path):
    clip, output = clips / "ben.mp4", tmp_path / "out.mp4"
    moved = shutil.copytree(lending, tmp_path / "moved")
    config = json.loads((moved / "config.json").read_text())
    config["data"].update(kind="tracks", path="gone", split="train")
    (moved / "config.json").write_text(json.dumps(config))
    untold = shutil.copytree(moved, tmp_path / "untold")
    config["data"].update(path="")
    (untold / "config.json").write_text(json.dumps(config))
    before = sorted(tmp_path.rglob("*"))
    for arguments, choices, message in (
        ((untold, clip, output), {}, "does not say whom it was trained on.*--known"),
        ((run, clip, output), {}, "does not tell identities as vectors"),
        ((moved, clip, output), {}, "are not at 'gone' any more.*--known"),
        ((lending, clip, output), {"known": clips}, "settings.json"),
        ((lending, clip, output), {"least": 0.0}, "--distance is 0; give one between 0 and 1"),
        ((lending, clip, output), {"least": 0.9}, "none is 0.9 away"),
        ((lending, clip, output), {"method": "paste"}, "'paste'.* multiband"),
        ((lending, clip, tmp_path / "out.gif"), {}, "out.gif"),
        ((lending, faceless, tmp_path / "out.png"), {}, "faceless.png shows no face"),
    ):
        with pytest.raises(InputError, match=message):
            anonymise(*arguments, **choices)
    assert sorted(tmp_path.rglob("*")) == before
