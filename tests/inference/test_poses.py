"""Tables of head poses."""

import numpy as np
import pytest

from faceswap_jax.errors import InputError
from faceswap_jax.inference.poses import read_poses

HEADER = "time,yaw,pitch,roll\n"


def test_poses_change_linearly_between_the_moments(tmp_path):
    path = tmp_path / "poses.csv"
    path.write_text(HEADER + "0.5,0,10,0\n0.7,20,10,-5\n\n1.0,20,10,10\n")
    poses = read_poses(path)
    assert poses.shape == (13, 3)  # half a second at 25 frames a second, both ends
    np.testing.assert_allclose(poses[:, 0], np.interp(np.arange(13), [0, 5], [0, 20]))
    np.testing.assert_allclose(poses[:, 1], 10)
    np.testing.assert_allclose(poses[[5, 12], 2], [-5, 10], atol=1)


def test_one_moment_is_one_frame(tmp_path):
    path = tmp_path / "poses.csv"
    path.write_text(HEADER + "3, 1, 2, 3\n")
    np.testing.assert_array_equal(read_poses(path), [[1, 2, 3]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("yaw,pitch\n1,2\n", "begins with 'yaw,pitch'; write time,yaw,pitch,roll"),
        (HEADER, "no pose below"),
        (HEADER + "0,1,2,3\n1,1,,3\n", "no pitch in line 3, ''"),
        (HEADER + "0,1,2\n", "no roll in line 2"),
        (HEADER + "0,left,2,3\n", "no yaw in line 2, 'left'"),
        (HEADER + "0,nan,2,3\n", "no yaw in line 2, 'nan'"),
        (HEADER + "1,1,2,3\n1,1,2,3\n", "from 1 s to 1 s; .*order"),
        (HEADER + "0,1,2,3\n7200,1,2,3\n", "lasts 7200 s"),
        ("", "is empty"),
    ],
)
def test_a_wrong_table_is_told(tmp_path, content, message):
    path = tmp_path / "poses.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=f"{path}.*{message}"):
        read_poses(path)


def test_a_file_that_is_no_text_is_told(tmp_path):
    path = tmp_path / "poses.csv"
    path.write_bytes(bytes(range(128, 256)))
    with pytest.raises(InputError, match=f"{path} is no table"):
        read_poses(path)
