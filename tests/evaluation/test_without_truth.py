"""Swaps whose perfect result nobody knows."""

import shutil

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.evaluation.clip_world import ClipWorld, identity_values
from faceswap_jax.evaluation.expression import GROUPS
from faceswap_jax.evaluation.swapping import score_swaps
from faceswap_jax.evaluation.wanted import Wanted, pairs_of
from faceswap_jax.evaluation.without_truth import ClipBench
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path
from faceswap_jax.faces.people import find_people
from faceswap_jax.faces.picture import write_picture
from tests.support.bench import SEEN, mean
from tests.support.frozen import write_inception
from tests.support.generators import PixelGenerator


def test_a_perfect_swap_without_truth(large, generator, tmp_path):
    folder, perfect = large
    data = tmp_path / "data"
    # One person as a folder of clips, one as a clip
    (data / "ada").mkdir(parents=True)
    shutil.copy(folder / "ada.mp4", data / "ada" / "a.mp4")
    shutil.copy(folder / "ben.mp4", data)
    bench = ClipBench(data)
    [(_, clip)] = pairs_of(["ada", "eve"], bench.clips)
    landmarker = SidecarLandmarker(sidecar_path(folder / "ben.mp4"))
    performer = {number: landmarker(None, number)[0] for number in range(SEEN)}
    swapped = {Wanted("ada"): {"multiband": perfect}, Wanted("ben"): {"multiband": clip.path}}
    results = bench.compare(clip, generator, performer, swapped)
    result = results[Wanted("ada")]
    assert list(result.rows) == ["do nothing", "swap", "ceiling", "persona"]
    assert result.images.shape == (2, 3, 192, 192, 3)
    assert mean(result, "do nothing", "found") > 80
    for name in ("yaw", "pitch", "roll"):
        assert mean(result, "do nothing", name) == 0
        assert mean(result, "swap", name) < 8
    for judge in ("dlib", "SFace"):
        identity, performer = f"identity by {judge}", f"performer by {judge}"
        assert mean(result, "swap", identity) > mean(result, "do nothing", identity)
        assert mean(result, "swap", performer) < mean(result, "do nothing", performer)
        assert mean(result, "persona", identity) > mean(result, "do nothing", identity)
        found = f"found by {judge}"
        assert mean(result, "persona", found) == 100 and mean(result, "do nothing", found) < 50
    for group in GROUPS:
        if group == "brows":  # which hardly move in half a second
            continue
        for measure in ("correlation", "amplitude"):
            assert mean(result, "do nothing", f"{group} {measure}") == pytest.approx(1)
        assert mean(result, "do nothing", f"{group} difference") == 0
        assert mean(result, "swap", f"{group} difference") < 0.7
    # The puppet turns away: the landmarker sees its face in a few frames alone.
    assert mean(result, "swap", "mouth correlation") > 0.4
    # Its own face, but softer
    assert mean(result, "ceiling", "mouth correlation") > mean(result, "swap", "mouth correlation")
    assert (
        0 < mean(result, "ceiling", "mouth difference") < mean(result, "swap", "mouth difference")
    )
    assert 0.3 < mean(result, "swap", "mouth amplitude") < 3
    assert mean(result, "do nothing", "unsteadiness") == pytest.approx(1)
    assert mean(result, "swap", "unsteadiness") == pytest.approx(
        mean(result, "swap", "flicker") / mean(result, "do nothing", "flicker")
    )
    assert mean(result, "do nothing", "seam") == 1

    # The untouched clip as a result: it follows itself.
    same = results[Wanted("ben")].rows
    assert set(same) == {"do nothing", "swap", "ceiling", "persona"}
    for name, values in same["swap"].items():
        np.testing.assert_array_equal(values, same["do nothing"][name], name)


def test_an_identity_is_found_where_nobody_else_is_nearer():
    """Of a persona, the performer and a third one, in two dimensions; one face is not there."""
    to_the_right, upwards, between = np.float32([[1, 0], [0, 1], [0.6, 0.8]])
    faces = np.stack([to_the_right, upwards, between, np.full(2, np.nan)])
    own, performing, third = (
        {"judge": person[None]} for person in (between, upwards, to_the_right)
    )
    values = identity_values({"judge": faces}, own, performing, [performing, third])
    np.testing.assert_array_equal(values["found by judge"], [0, 0, 100, np.nan])
    alone = identity_values({"judge": faces}, own, performing, [])
    assert np.isnan(alone["found by judge"]).all()


def test_an_expression_that_is_lent_is_expected_moment_by_moment(large, generator, tmp_path):
    """The target untouched follows somebody who does the same, and nobody else."""
    folder, _ = large
    data = shutil.copytree(folder, tmp_path / "data", ignore=shutil.ignore_patterns("*.json"))
    for path in (data / "ben.mp4", sidecar_path(data / "ben.mp4")):
        shutil.copy(path, path.with_name(path.name.replace("ben", "twin")))
    write_inception(tmp_path / "inception.npz")
    bench = ClipBench(data, inception=tmp_path / "inception.npz")
    clip = next(clip for clip in bench.clips if clip.persona == "ben")
    performer = find_people(clip.path, SidecarLandmarker(sidecar_path(clip.path)))[0].faces
    like, unlike = Wanted(expression="twin"), Wanted(expression="ada")
    swapped = {wanted: {"multiband": clip.path} for wanted in (like, unlike)}
    results = bench.compare(clip, generator, performer, swapped)
    for group in GROUPS:
        same, other = (mean(results[wanted], "swap", f"{group} difference") for wanted in swapped)
        assert same == 0 and other > 0.03, group
    assert mean(results[like], "swap", "jaw correlation") == pytest.approx(1)
    assert mean(results[unlike], "swap", "jaw correlation") < 0.5
    assert mean(results[unlike], "swap", "yaw") == 0

    assert bench.columns(like.roles, ["none"]) == ["expression", "target", "swap --blend none"]
    assert results[like].images.shape[1:3] == (3, 192)
    # The performer stays, and cannot show how well one can follow another.
    assert np.isnan(results[like].rows["swap"]["performer by SFace"]).all()
    assert np.isnan(results[like].rows["ceiling"]["jaw difference"]).all()
    # Inception compares sets of faces, and knows nobody.
    assert [name for name in bench.scores if "Inception" in name] == ["features by Inception"]
    assert bench.scores["features by Inception"].title == "KID (Inception)"
    assert np.isfinite(mean(results[like], "swap", "features by Inception"))


def test_numbered_pictures_are_scored(large, tmp_path):
    folder, _ = large
    data = tmp_path / "data"
    (data / "ben").mkdir(parents=True)
    shutil.copy(folder / "ada.mp4", data)
    for frame in video.read_frames(folder / "ben.mp4"):
        write_picture(data / "ben" / f"{frame.index:03d}.png", frame.image)
    bench, generator = ClipBench(data), PixelGenerator(np.copy, 64, personas=("ada",))
    scored = score_swaps(bench, generator, pairs_of(["ada"], bench.clips), ["none"], tmp_path)
    [(comparison,)] = scored.results.values()
    assert mean(comparison, "swap --blend none", "found") > 80
    assert video.probe(tmp_path / "ben_%03d.png_as_ada_none.mp4").frames == SEEN


def test_numbered_pictures_are_clips_of_whom_no_clip_shows(large, tmp_path):
    folder, _ = large
    data = tmp_path / "data"
    for name in ("ada", "cy"):
        (data / name).mkdir(parents=True)
        for number in (1, 2, 3):
            write_picture(data / name / f"{number:04d}.png", np.zeros((8, 8, 3), np.uint8))
    shutil.copy(folder / "ada.mp4", data / "ada" / "a.mp4")
    assert [clip.name for clip in ClipWorld(data).clips] == ["ada/a.mp4", "cy/%04d.png"]


def test_frames_without_the_performer_are_not_measured(large, generator, tmp_path):
    folder, perfect = large
    data = shutil.copytree(folder, tmp_path / "data", ignore=shutil.ignore_patterns("*.json"))
    bench = ClipBench(data)
    [(_, clip)] = pairs_of(["ada", "eve"], bench.clips)
    landmarker = SidecarLandmarker(sidecar_path(folder / "ben.mp4"))
    performer = {number: landmarker(None, number)[0] for number in range(6)}
    swapped = {Wanted("ada"): {"multiband": perfect}}
    result = bench.compare(clip, generator, performer, swapped)[Wanted("ada")]
    for row in ("do nothing", "swap"):
        assert 0 < mean(result, row, "found") <= 50
        assert np.isnan(result.rows[row]["yaw"][6:]).all()


def test_no_embedder_has_inceptions_name(large, tmp_path):
    folder, _ = large
    with pytest.raises(InputError, match="Inception' has a name that is kept for Inception"):
        ClipWorld(folder, tmp_path / "Inception")
