"""Swaps by roles: an identity and an expression, each of pictures or of a clip, alone or together."""

import itertools
from fractions import Fraction

import numpy as np
import pytest

from faceswap_jax.artifacts.export import export
from faceswap_jax.errors import InputError
from faceswap_jax.faces import align, video
from faceswap_jax.faces.landmarks import SidecarLandmarker, sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture
from faceswap_jax.inference.clip import Count
from faceswap_jax.inference.generator import Who
from faceswap_jax.inference.trained import load
from faceswap_jax.inference.who import faces_of, shown_in
from faceswap_jax.roles.lending import expression_of
from faceswap_jax.swap import swap, swap_with
from tests.support.face_scenes import write_clip
from tests.support.frozen import IDENTITY
from tests.support.generators import PixelGenerator
from tests.support.tiny_attribute import write_run
from tests.support.tiny_run import FRAMES, RATE

pytestmark = pytest.mark.usefixtures("loaded_once")


def crops_of(generator, path) -> np.ndarray:
    """The face in each frame of a clip or picture, as the generator cuts it."""
    landmarker = SidecarLandmarker(sidecar_path(path))
    cut = []
    for frame in video.read_frames(path):
        (face,) = landmarker(None, frame.index)
        side = generator.resolution
        cut.append(align.cut_face(frame.image, face.landmarks, side, generator.alignment))
    return np.stack(cut)


class Watched:
    """A generator that keeps what it is asked for."""

    def __init__(self, generator):
        self._generator = generator
        self.asked = []

    def __getattr__(self, name):
        return getattr(self._generator, name)

    def __call__(self, identity, faces, edit=None):
        self.asked.append((identity, faces))
        return self._generator(identity, faces, edit)


def test_a_clip_drives_from_frame_to_frame(generator, clips, tmp_path):
    """The person stays."""
    watched = Watched(generator)
    driver, target = clips / "ada.mp4", clips / "ben.mp4"
    output = tmp_path / "out.mp4"
    assert swap_with(lambda: watched, None, target, output, expression=[driver]) == Count(FRAMES, 0)
    expected = generator.features("expression", crops_of(generator, driver))
    given = np.concatenate([faces.expression for _, faces in watched.asked])
    np.testing.assert_allclose(given[:FRAMES], expected, rtol=1e-4, atol=1e-5)
    assert [identity for identity, _ in watched.asked] == [{}, {}]


def test_pictures_hold_one_expression_together(generator, stills, clips, tmp_path):
    """And an identity beside it is that of its own pictures."""
    watched = Watched(generator)
    ada, ben = (sorted((stills / name).glob("*.png")) for name in ("ada", "ben"))
    swap_with(
        lambda: watched, None, clips / "ben.mp4", tmp_path / "o.mp4", identity=ben, expression=ada
    )
    crops = np.concatenate([crops_of(generator, path) for path in ada])
    expected = generator.features("expression", crops).mean(0)
    shown = generator.identity(Who(pictures=list(shown_in(faces_of(ben), generator).pictures)))
    for identity, faces in watched.asked:
        np.testing.assert_allclose(faces.expression, np.tile(expected, (8, 1)), rtol=1e-4)
        np.testing.assert_array_equal(identity["identity"], shown["identity"])


def test_an_identity_alone_lends_no_expression(generator, stills, clips, tmp_path):
    watched = Watched(generator)
    ada = [stills / "ada" / "0.png"]
    swap_with(lambda: watched, None, clips / "ben.mp4", tmp_path / "out.mp4", identity=ada)
    assert all(faces.expression is None for _, faces in watched.asked)


def test_the_same_picture_in_all_roles_changes_what_the_network_changes_of_itself(
    lending, stills, tmp_path
):
    """As in the repair of a photo, where another one of the person lends: only features differ."""
    photo = stills / "ben" / "7.png"
    results = []
    for roles in ({"expression": [photo]}, {"expression": [photo], "identity": [photo]}):
        output = tmp_path / "out.png"
        assert swap(lending, None, photo, output, **roles) == Count(1, 0)
        results.append(read_picture(output).astype(int))
    np.testing.assert_allclose(*results, atol=1)
    assert np.abs(results[0] - read_picture(photo)).max() > 10


def test_between_its_frames_with_a_face_a_clip_lends_what_is_nearest_in_time(
    generator, clips, tmp_path, capfd
):
    """So it does before the first of them, and to the end of a longer target, which is told."""
    frames = [frame.image for frame in video.read_frames(clips / "ada.mp4")][:6]
    driver = write_clip(tmp_path / "driver.mp4", frames, rate=Fraction(5))
    landmarker = SidecarLandmarker(sidecar_path(clips / "ada.mp4"))
    shown = (1, 2, 5)
    write_landmarks(sidecar_path(driver), {i: landmarker(None, i)[0].landmarks for i in shown})

    lent = expression_of(generator, [driver], clips / "ada.mp4")
    np.testing.assert_allclose(lent.times, [0.2, 0.4, 1.0])
    at = lent.at([0.0, 0.29, 0.31, 0.69, 0.71, 9.0])
    np.testing.assert_array_equal(at, lent.vectors[[0, 0, 1, 1, 2, 2]])
    # Six frames of a fifth of a second, ten of 12.5 a second
    assert "driver.mp4" not in capfd.readouterr().err

    short = write_clip(tmp_path / "short.mp4", frames[:2], rate=Fraction(5))
    write_landmarks(sidecar_path(short), {0: landmarker(None, 0)[0].landmarks})
    expression_of(generator, [short], clips / "ada.mp4")
    told = capfd.readouterr().err
    assert "short.mp4 ends after 0.4 s" in told and f"ada.mp4 after {FRAMES / RATE:.1f} s" in told


def test_wrong_lenders_are_told(generator, clips, stills, faceless, tmp_path):
    clip, photo = clips / "ada.mp4", stills / "ada" / "0.png"
    dark = write_clip(tmp_path / "dark.mp4", [np.zeros((96, 96, 3), np.uint8)] * 3)
    write_landmarks(sidecar_path(dark), {})
    before = sorted(tmp_path.rglob("*"))
    for target, roles, message in (
        (clip, {"expression": [clip, photo]}, "names 2 files, but .*ada.mp4 is a clip"),
        (clip, {"expression": [clip, clip]}, "names 2 files, but .*ada.mp4 is a clip"),
        (photo, {"expression": [clip]}, "0.png is one picture, but --expression names a clip"),
        (clip, {"expression": [faceless]}, "faceless.png shows no face"),
        (clip, {"expression": [dark]}, "None of the 3 frames shows a face in .*dark.mp4"),
        (clip, {"expression": [tmp_path / "gone.png"]}, "gone.png does not exist"),
        (clip, {"expression": [photo], "identity": [faceless]}, "faceless.png shows no face"),
        (clip, {"expression": [photo], "persona": "ada"}, "knows nobody by name"),
        (clip, {}, "Say who lends what: .* for --identity or --expression"),
    ):
        persona = roles.pop("persona", None)
        output = tmp_path / f"out{target.suffix}"
        with pytest.raises(InputError, match=message):
            swap_with(lambda: generator, persona, target, output, **roles)
    assert sorted(tmp_path.rglob("*")) == before


def test_who_can_be_lent_no_expression_says_so(clips, stills, tmp_path):
    changes = {"features.expression": "", "shapes": {"identity": IDENTITY}}
    knows_identities = load(write_run(tmp_path / "run", **changes))
    assert knows_identities.roles == ("identity",)
    photo, clip = stills / "ada" / "0.png", clips / "ben.mp4"
    for generator in (knows_identities, PixelGenerator(np.invert, 16)):
        with pytest.raises(InputError, match="takes no expression from others"):
            expression_of(generator, [photo], clip)


@pytest.mark.parametrize("kind", ["safetensors", "stablehlo", "onnx"])
def test_an_artifact_is_lent_what_its_run_is(lending, stills, tmp_path, kind):
    if kind == "onnx":
        pytest.importorskip("jax2onnx")
    export(lending, tmp_path / "model", None, [kind], "float32", None)
    card = (tmp_path / "model" / "README.md").read_text()
    assert "| others can lend | identity, expression |" in card
    photo, ada = stills / "ben" / "7.png", stills / "ada" / "0.png"
    shown = []
    for roles in (
        {"identity": [ada]},
        {"expression": [ada]},
        {"identity": [ada, photo], "expression": [photo, ada]},
    ):
        results = []
        for model in (lending, tmp_path / "model"):
            swap(model, None, photo, tmp_path / "out.png", **roles)
            results.append(read_picture(tmp_path / "out.png").astype(int))
        np.testing.assert_allclose(*results, atol=1)
        shown.append(results[0])
    for one, other in itertools.pairwise(shown):
        assert np.abs(one - other).max() > 2
