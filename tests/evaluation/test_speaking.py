"""Whole images that speak: a mouth that does what is heard, one that does not, and clips without sound."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest

from data_pipelines.clips import Clip
from data_pipelines.puppets.parameters import sample_persona, sample_scene
from data_pipelines.puppets.renderer import render
from data_pipelines.puppets.tracks import performance_track
from faceswap_jax.evaluation import speaking
from faceswap_jax.evaluation.acting import read_actor
from faceswap_jax.evaluation.speaking import BY_FRAMES, BY_SOUND, CEILING, read_speech, scores_of
from faceswap_jax.faces import audio, mel
from faceswap_jax.faces.align import cut_face
from faceswap_jax.faces.blendshapes import BlendshapeReader
from faceswap_jax.inference.batching import sound_window
from tests.support.bench import LARGE, SEEN, mean
from tests.support.generators import PosingGenerator
from tests.support.speech import without_sound
from tests.support.tiny_run import RATE

SIDE = 128
FEATURES = mel.STEPS * mel.BANDS


@dataclass
class TalkingGenerator(PosingGenerator):
    """Shows the driving face, or, of shifted latents, a face whose mouth is open so far: the first of the latents."""

    faces: Sequence[tuple[float, np.ndarray]] = ()

    def __call__(self, identity, faces, edit=None):
        if edit is None:
            return faces.crops
        openings = np.array([opening for opening, _ in self.faces])
        nearest = np.abs(edit.shift[:, :1] - openings).argmin(1)
        return np.stack([self.faces[i][1] for i in nearest])


@pytest.fixture(scope="module")
def reader():
    return BlendshapeReader()


@pytest.fixture(scope="module")
def actor(large):
    folder, _ = large
    return read_actor(Clip(folder / "ben.mp4", "ben", "ben.mp4"), "box", SIDE)


@pytest.fixture(scope="module")
def deaf():
    """A control to which no sound says anything."""
    control = TalkingGenerator(np.copy, SIDE).control(0)
    silent = np.zeros((FEATURES, 3)).tolist()
    return replace(control, to_poses=np.zeros((4, 3)).tolist(), by_sound=silent)


@pytest.fixture(scope="module")
def speech(reader, actor, deaf):
    """What ben says."""
    return read_speech(reader, TalkingGenerator(np.copy, SIDE, "box", "whole"), deaf, actor)


def test_what_is_said_is_that_of_the_driving_part(speech):
    numbers = [view.frame.index for view in speech.views]
    assert numbers == list(range(SEEN // 3, SEEN)) and len(speech.shift) == len(numbers)
    assert speech.opening.std() > 0.02


@pytest.fixture(scope="module")
def faces(actor):
    """Ben as in the picture, with the mouth opened by 0, 0.1 ... 1."""
    performances = performance_track(0, 1, 0, SEEN, RATE)
    own = performances[actor.picture.frame.index]
    shown = []
    for opening in np.linspace(0, 1, 11):
        performance = replace(own, mouth_open=opening)
        frame = render(sample_persona(0, 1), performance, sample_scene(0, 1, 0), LARGE)
        shown.append((opening, cut_face(frame.image, frame.landmarks, SIDE, "box")))
    return shown


def test_a_mouth_that_does_what_is_heard_follows(actor, deaf, speech, faces):
    # A control that has learned these sounds
    samples = audio.read_audio(actor.clip.path)
    windows = [sound_window(samples, view.frame.time, mel.WINDOW) for view in speech.views]
    heard = mel.log_mel(np.stack(windows))
    track = performance_track(0, 1, 0, SEEN, RATE)
    opening = np.array([track[view.frame.index].mouth_open for view in speech.views])
    by_sound = np.zeros((FEATURES, 3))
    by_sound[:, 0], *_ = np.linalg.lstsq(heard - heard.mean(0), opening - opening.mean())
    control = replace(deaf, by_sound=by_sound.tolist())
    known = [(opened - opening.mean(), image) for opened, image in faces]
    generator = TalkingGenerator(np.copy, SIDE, "box", "whole", faces=known)

    def compared(control):
        (scored,) = speaking.score_speech(generator, control, [actor]).values()
        return scored.scores, scored.results["ben driven by ben"][0]

    scores, spoken = compared(control)
    assert list(spoken.rows) == [BY_FRAMES, BY_SOUND, CEILING]
    assert spoken.images.shape == (2, 4, 128, 128, 3)
    for row, values in spoken.rows.items():
        assert set(values) == set(scores)
        # The nearest of eleven openings is shown: rounding decides between two of them.
        assert mean(spoken, row, "correlation") > 0.85
        # A mouth is read otherwise where the head looks elsewhere.
        for name in ("amplitude", "jitter"):
            assert mean(spoken, row, name) == pytest.approx(1, abs=0.4)
    # Who hears nothing shows one face.
    _, still = compared(deaf)
    assert [mean(still, BY_SOUND, name) for name in scores] == pytest.approx([100, 0, 0, 0])


def test_clips_without_sound_make_no_table(actor, deaf, tmp_path):
    mute = without_sound(actor.clip.path, tmp_path / "ben.mp4")
    silent = replace(actor, clip=replace(actor.clip, path=mute))
    generator = TalkingGenerator(np.copy, SIDE, "box", "whole")
    assert speaking.score_speech(generator, deaf, [silent]) == {}


def test_jitter_is_what_changes_from_change_to_change():
    driving = np.array([0, 1, 0, 1, 0, 1.0])
    twice = scores_of(2 * driving + 3, driving)
    np.testing.assert_allclose(np.concatenate([*twice.values()]), [100, 1, 2, 2])
    steady = scores_of(np.arange(6.0), driving)
    assert steady["jitter"].item() == 0
    # Frames without a face count on neither side.
    gap = driving.copy()
    gap[0] = np.nan
    gapped = scores_of(gap, driving)
    assert gapped["jitter"].item() == 1 and gapped["found"].item() == pytest.approx(100 * 5 / 6)
    assert np.isnan(scores_of(driving, np.ones(6))["jitter"]).all()
