"""The landmarks file, and what can be said of MediaPipe without a face."""

import builtins
import os
import subprocess
import sys

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import landmarks as lm


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-20, 1920, (68, 2)).astype(np.float32)


@pytest.fixture
def clip(tmp_path):
    return tmp_path / "a.mp4"


def test_groups_cover_each_landmark_once():
    groups = [lm.JAW, lm.RIGHT_BROW, lm.LEFT_BROW, lm.NOSE, lm.RIGHT_EYE, lm.LEFT_EYE, lm.OUTER_LIPS, lm.INNER_LIPS]
    assert [i for group in groups for i in group] == list(range(68))
    assert [*lm.RIGHT_BROW, *lm.LEFT_BROW] == list(lm.BROWS)
    assert [*lm.OUTER_LIPS, *lm.INNER_LIPS] == list(lm.MOUTH)
    assert lm.MEDIAPIPE_TO_IBUG.shape == (68, 2) and lm.MEDIAPIPE_TO_IBUG.max() < 468


def test_sidecar_round_trip(clip):
    path = lm.sidecar_path(clip)
    assert path.name == "a.mp4.landmarks.csv"
    given = {7: points(7), 0: points(0), 3: points(3)}
    lm.write_landmarks(path, given)
    landmarker = lm.open_landmarker(clip)
    assert isinstance(landmarker, lm.SidecarLandmarker)
    image = np.zeros((4, 4, 3), np.uint8)
    for frame in range(9):
        faces = landmarker(image, frame)
        assert len(faces) == (frame in given)
        for face in faces:
            assert face.landmarks.dtype == np.float32 and face.confidence == 1
            np.testing.assert_allclose(face.landmarks, given[frame], atol=6e-4)
    landmarker.close()


def test_sidecar_from_a_spreadsheet(clip):
    """Byte order mark, Windows line ends, an empty last line, rows out of order."""
    path = lm.sidecar_path(clip)
    lm.write_landmarks(path, {0: points(0), 1: points(1)})
    header, *rows = path.read_text().splitlines()
    path.write_bytes("\r\n".join([header, *reversed(rows), "", ""]).encode("utf-8-sig"))
    landmarker = lm.SidecarLandmarker(path)
    np.testing.assert_allclose(landmarker(None, 1)[0].landmarks, points(1), atol=6e-4)


def numbers(count: int = 136) -> str:
    return ",".join(str(value) for value in np.resize(points(0), count))


@pytest.mark.parametrize(
    ("rows", "line", "complaint"),
    [
        (["frame,x,y"], 1, "header"),
        ([], 1, "header"),
        ([..., f"0,{numbers(135)}"], 2, "136 values where 137"),
        ([..., f"0,{numbers()}", f"1,{numbers(137)}"], 3, "138 values"),
        ([..., f"0,{numbers(135)},left"], 2, "not a number.*left"),
        ([..., f"zero,{numbers()}"], 2, "not a number.*zero"),
        ([..., f"1.5,{numbers()}"], 2, "not a number.*1.5"),
        ([..., f"-1,{numbers()}"], 2, "negative"),
        ([..., f"4,{numbers()}", f"4,{numbers()}"], 3, "frame 4 appears a second time"),
        ([..., f"0,{numbers(135)},nan"], 2, "not finite"),
        ([..., "0" + ",0" * 136], 2, "both eyes lie at one point"),
    ],
)
def test_malformed_sidecar(clip, rows, line, complaint):
    path = lm.sidecar_path(clip)
    lines = [",".join(lm.HEADER) if row is ... else row for row in rows]
    path.write_text("\n".join(lines))
    with pytest.raises(InputError, match=f"a.mp4.landmarks.csv, line {line}: .*{complaint}"):
        lm.open_landmarker(clip)


def test_unreadable_sidecar(clip):
    with pytest.raises(InputError, match="does not exist"):
        lm.SidecarLandmarker(lm.sidecar_path(clip))
    lm.sidecar_path(clip).write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(InputError, match=r"a\.mp4\.landmarks\.csv cannot be read"):
        lm.open_landmarker(clip)
    with pytest.raises(InputError, match="cannot be read"):
        lm.SidecarLandmarker(clip.parent)


def test_without_mediapipe_the_error_names_the_extra(clip, monkeypatch):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("mediapipe"):
            raise ModuleNotFoundError("No module named 'mediapipe'", name="mediapipe")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"faceswap-jax\[faces\]"):
        lm.open_landmarker(clip)


def test_mediapipe_sees_no_face_in_noise_and_starts_silently(clip):
    pytest.importorskip("mediapipe.python.solution_base")
    code = """
import sys
import numpy as np
from pathlib import Path
from faceswap_jax.faces.landmarks import MediaPipeLandmarker, open_landmarker
assert "mediapipe" not in sys.modules and "jax" not in sys.modules
landmarker = open_landmarker(Path("a.mp4"))
assert isinstance(landmarker, MediaPipeLandmarker)
rng = np.random.default_rng(0)
for height, width in ((240, 320), (97, 33)):
    assert landmarker(rng.integers(0, 256, (height, width, 3), np.uint8), 0) == []
landmarker.close()
print("a real complaint", file=sys.stderr)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=clip.parent, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stderr.splitlines() == ["a real complaint"]


def test_other_lines_and_errors_pass_the_filter(capfd):
    with pytest.raises(ZeroDivisionError), lm._without_mediapipe_chatter():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\n")
        os.write(2, b"W0000 00:00:1.2 some.cc:1] chatter\n")
        os.write(2, b"E0000 00:00:1.2 some.cc:1] no memory left\n")
        _ = 1 / 0
    assert capfd.readouterr().err == "E0000 00:00:1.2 some.cc:1] no memory left\n"
