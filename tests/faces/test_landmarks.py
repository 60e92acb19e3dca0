"""The landmarks file."""

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.faces import landmarks as lm


def points(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-20, 1920, (68, 2)).astype(np.float32)


@pytest.fixture
def clip(tmp_path):
    return tmp_path / "a.mp4"


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
            assert (
                face.landmarks.dtype == np.float32
                and face.confidence == 1
                and np.isnan(face.irises).all()
            )
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
