"""Swaps of puppets against the rendered truth."""

import dataclasses

import numpy as np
import pytest

from data_pipelines.puppets.dataset import PuppetClips
from data_pipelines.puppets.parameters import PERFORMANCE_SPANS, PERSONA_SPANS, sample_persona
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.evaluation.ceiling import Ceiling
from faceswap_jax.evaluation.puppet_world import PuppetWorld, kept_of, motion_of
from faceswap_jax.evaluation.wanted import Wanted, pairs_of
from faceswap_jax.evaluation.with_truth import PuppetBench
from faceswap_jax.faces import align
from faceswap_jax.inference.clip import blend_side, put_face
from tests.support.bench import SEEN, mean
from tests.support.face_scenes import smooth_picture


@pytest.fixture(scope="module")
def bench(large):
    folder, _ = large
    return PuppetBench(folder, PuppetClips.load(folder))


def test_a_perfect_swap_against_the_truth(bench, large, generator):
    _, perfect = large
    [(wanted, clip)] = pairs_of(["ada", "eve"], bench.clips)
    assert (wanted, clip.persona) == (Wanted("ada"), "ben")
    result = bench.compare(clip, generator, {}, {wanted: {"multiband": perfect}})[wanted]
    assert result.images.shape == (2, 5, 128, 128, 3)
    assert mean(result, "swap", "psnr") > 33  # H.264 is all that is wrong
    assert mean(result, "swap", "ms_ssim") > 0.97
    assert mean(result, "swap", "sharpness") == pytest.approx(1, abs=0.1)
    assert mean(result, "swap", "identity") == 100 and mean(result, "do nothing", "identity") == 0
    assert mean(result, "swap", "distance") < mean(result, "do nothing", "distance") / 2
    assert mean(result, "do nothing", "seam") == 1
    for name, error in bench.floor.items():
        assert mean(result, "truth", name) < 3 * error
        assert mean(result, "swap", name) == pytest.approx(mean(result, "truth", name), abs=error)
    for name in ("gaze correlation", "mouth correlation", "brows correlation"):
        assert mean(result, "swap", name) > 0.6, name
    swap = result.rows["swap"]
    assert len(swap["flicker"]) == SEEN - 1 and len(swap["psnr"]) == SEEN


def test_a_wrong_performance_is_measured(bench, large, generator):
    """The persona's own clip in place of the swap: right identity, other performance."""
    folder, _ = large
    [(wanted, clip)] = pairs_of(["ada"], bench.clips)
    swapped = {wanted: {"multiband": folder / "ada.mp4"}}
    result = bench.compare(clip, generator, {}, swapped)[wanted]
    for name in ("gaze correlation", "mouth correlation"):
        assert mean(result, "swap", name) < mean(result, "truth", name) - 0.5, name
    for name, times in (("yaw", 3), ("mouth", 2), ("pitch", 1.5), ("lids", 1.3), ("gaze", 1.3)):
        assert mean(result, "swap", name) > times * mean(result, "truth", name), name
    assert mean(result, "swap", "psnr") < mean(result, "ceiling", "psnr")


def test_motion_is_told_in_correlation_and_amplitude():
    """A face that does half of everything, and one that does nothing; an eye that is closed shows no gaze."""
    tracks = performance_track(5, 0, 0, 100)
    performance = np.array([list(vars(frame).values()) for frame in tracks])
    middle = performance.mean(0)
    half = motion_of(middle + 0.5 * (performance - middle), performance)
    assert set(half) == {
        f"{group} {measure}"
        for group in ("gaze", "lids", "brows", "mouth")
        for measure in ("correlation", "amplitude")
    }
    for name, (value,) in half.items():
        assert value == pytest.approx(1 if name.endswith("correlation") else 0.5), name
    still = motion_of(np.broadcast_to(middle, performance.shape), performance)
    for name, (value,) in still.items():
        assert value < 1e-6, name

    lids = [list(PERFORMANCE_SPANS).index(name) for name in ("lid_left", "lid_right")]
    gaze = list(PERFORMANCE_SPANS).index("gaze_x")
    read = performance.copy()
    closed = performance[:, lids].min(1) <= 0.3
    assert closed.any() and not closed.all()
    read[closed, gaze] = 1
    assert motion_of(read, performance)["gaze correlation"] == pytest.approx(1)


@pytest.mark.parametrize("alignment", ["eyes", "stable"])
def test_the_ceiling_is_cut_as_the_generator_cuts(large, alignment):
    """What the generator's crop cannot hold at its resolution is lost in the ceiling, and nothing else is."""
    folder, _ = large
    world = PuppetWorld(folder, PuppetClips.load(folder))
    landmarks = world.landmarks(folder / "ben.mp4")[0]
    perfect, target = smooth_picture(192, 192), smooth_picture(192, 192, phase=2)
    ceiling = Ceiling(alignment, 16, "hull", landmarks[None])
    made, multiband = ceiling(target, perfect, landmarks, ["none", "multiband"])
    face = align.cut_face(perfect, landmarks, 16, alignment)
    side = blend_side([landmarks], alignment, 16)
    alone = put_face(target, face, landmarks, alignment, side, "multiband", "hull")
    np.testing.assert_array_equal(multiband, alone)
    transform = align.alignment_transform(landmarks, 16, alignment)
    # Beyond the face it is the target.
    inside = align.polygon_mask(align.face_polygon(landmarks), 192, 192) > 0
    np.testing.assert_array_equal(made[~inside], target[~inside])
    # Seen by the generator again, it is the perfect face, away from the edge.
    small = align.crop(made, transform, 16).astype(int)
    face = align.transform_points(align.face_polygon(landmarks), transform)
    core = align.polygon_mask(face.mean(0) + (face - face.mean(0)) / 2, 16, 16) == 1
    error = np.abs(small - align.crop(perfect, transform, 16))[core].mean()
    assert error < 4 < np.abs(small - align.crop(target, transform, 16))[core].mean()


def test_attributes_stay_where_an_identity_alone_is_lent(large, generator):
    """The target untouched, scored as a swap: it keeps everything, and is somebody else."""
    folder, _ = large
    puppets = PuppetClips.load(folder)
    tables = {}
    for stay in (False, True):
        bench = PuppetBench(folder, puppets, attributes_stay=stay)
        [(wanted, clip)] = pairs_of(["ada"], bench.clips)
        tables[stay] = bench.compare(clip, generator, {}, {wanted: {"multiband": clip.path}})
    swap, lent = tables[False][wanted], tables[True][wanted]
    assert mean(lent, "truth", "identity") == 100 and mean(lent, "do nothing", "identity") < 50
    # Less of the truth is another's, so less is missing.
    assert mean(lent, "do nothing", "psnr") > mean(swap, "do nothing", "psnr") + 1
    assert mean(lent, "truth", "attributes") < 20
    assert "attributes" not in swap.rows["truth"] and "attributes" in bench.scores


def test_an_expression_that_is_lent_is_expected_in_the_place_of_the_targets(large, generator):
    """The target untouched: everything is right but what its face does."""
    folder, _ = large
    bench = PuppetBench(folder, PuppetClips.load(folder), attributes_stay=True)
    clip = next(clip for clip in bench.clips if clip.persona == "ben")
    wanted = Wanted(expression="ada")
    result = bench.compare(clip, generator, {}, {wanted: {"multiband": clip.path}})[wanted]
    assert bench.columns(wanted.roles, ["multiband"])[:3] == ["expression", "target", "swap"]
    assert result.images.shape[1] == 5
    expression, pose = ("mouth", "lids", "brows"), ("yaw", "pitch", "roll")
    names = ("psnr", "identity", *expression, *pose)
    nothing, truth = (
        {name: mean(result, row, name) for name in names} for row in ("do nothing", "truth")
    )
    assert nothing["psnr"] < 30
    for name in expression:
        assert nothing[name] > truth[name] + 2, name
        assert truth[name] < 3 * bench.floor[name], name
    for name in pose:
        assert nothing[name] == pytest.approx(truth[name], abs=bench.floor[name]), name
    assert nothing["identity"] == pytest.approx(truth["identity"], abs=20)
    # The lender's eyes are shut.
    assert np.isnan(result.rows["truth"]["gaze"]).all()


def test_both_roles_are_played_by_two_people(large, generator):
    """Ben becomes ada and does what ada does: that is not ada's own clip, whose pose and light are others."""
    folder, _ = large
    bench = PuppetBench(folder, PuppetClips.load(folder), attributes_stay=True)
    clip = next(clip for clip in bench.clips if clip.persona == "ben")
    wanted = Wanted("ada", "ada")
    result = bench.compare(clip, generator, {}, {wanted: {"multiband": clip.path}})[wanted]
    assert bench.columns(wanted.roles, ["none"])[:3] == ["identity", "expression", "target"]
    assert result.images.shape[1] == 6
    assert mean(result, "truth", "identity") == 100
    assert mean(result, "truth", "mouth") < mean(result, "do nothing", "mouth")
    assert mean(result, "truth", "yaw") < 3 * bench.floor["yaw"]


def test_what_is_kept_of_the_target():
    target = sample_persona(5, 0)
    read = np.tile(list(vars(target).values()), (2, 1))
    glasses = list(PERSONA_SPANS).index("glasses")
    read[:, glasses] = 1, 0
    wearing, bare = (dataclasses.replace(target, glasses=worn) for worn in (1.0, 0.0))
    np.testing.assert_array_equal(kept_of(read, wearing)["glasses"], [100, 0])
    np.testing.assert_allclose(kept_of(read, wearing)["attributes"], [0, 25])
    assert np.isnan(kept_of(read, bare)["glasses"]).all()
    np.testing.assert_allclose(kept_of(read, bare)["attributes"], [25, 0])
