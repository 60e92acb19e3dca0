"""`faceswap invert` and `reenact --random`, from the command line on."""

import numpy as np
import pytest

from faceswap_jax import cli
from faceswap_jax.errors import InputError
from faceswap_jax.faces import video
from faceswap_jax.faces.landmarks import sidecar_path, write_landmarks
from faceswap_jax.faces.picture import read_picture, write_picture
from faceswap_jax.invert import invert
from faceswap_jax.reenact import reenact
from tests.support.frozen import write_identity, write_inversion, write_transfer
from tests.support.plain_restyle import write_restyle
from tests.support.tiny_run import FRAMES


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Of fresh weights: an inversion, and a transfer with it."""
    folder = tmp_path_factory.mktemp("latent")
    write_inversion(folder / "inversion")
    write_transfer(folder / "transfer")
    return folder


@pytest.mark.parametrize("name", ["inversion", "transfer"])
def test_faces_of_a_clip_are_drawn_above_their_inversions(runs, clips, tmp_path, capfd, name):
    output = tmp_path / "inverted.png"
    flags = [f"--workdir={runs / name}", f"--output={output}"]
    assert cli.main(["invert", str(clips / "ada.mp4"), *flags]) == 0
    assert "inverted.png: PSNR" in capfd.readouterr().err
    height, width, _ = read_picture(output).shape
    assert width > 2 * height


def test_public_weights_invert_without_a_run(clips, tmp_path, capfd):
    weights = tmp_path / "restyle.npz"
    write_restyle(weights)
    output = tmp_path / "inverted.png"
    arguments = ["invert", str(clips / "ada.mp4"), f"--output={output}", f"--weights={weights}"]
    assert cli.main(arguments) == 0
    assert "inverted.png: PSNR" in capfd.readouterr().err and output.exists()
    for more, message in (
        ("--workdir=run", "--workdir, a run, or --weights, a file, one of the two"),
        ("--step=2", "--step says nothing beside --weights"),
    ):
        assert cli.main([*arguments, more]) == 2
        assert message in capfd.readouterr().err
    with pytest.raises(InputError, match=r"holds no ReStyle; give a run's folder, or a file"):
        invert(tmp_path / "nowhere", clips / "ada.mp4", output)


def test_somebody_who_does_not_exist_acts_as_a_clip_does(runs, clips, tmp_path):
    outputs = [tmp_path / f"{i}.mp4" for i in range(2)]
    for seed, output in zip((1, 2), outputs, strict=True):
        flags = [f"--workdir={runs / 'transfer'}", f"--random={seed}", f"--output={output}"]
        assert cli.main(["reenact", f"--drive={clips / 'ben.mp4'}", *flags]) == 0
    frames = [np.stack([f.image for f in video.read_frames(path)]) for path in outputs]
    assert [len(clip) for clip in frames] == [FRAMES, FRAMES]
    assert (frames[0] != frames[1]).any()


def test_the_baseline_takes_the_performer_at_rest_off(runs, clips, tmp_path):
    output = tmp_path / "out.mp4"
    count = reenact(runs / "inversion", [clips / "ada.mp4"], clips / "ben.mp4", output)
    assert count.frames == FRAMES


def test_what_cannot_be_inverted_or_drawn(runs, clips, tmp_path):
    output, ada = tmp_path / "out.png", clips / "ada.mp4"
    blank = tmp_path / "blank.png"
    write_picture(blank, np.full((64, 64, 3), 128, np.uint8))
    write_landmarks(sidecar_path(blank), {})
    write_identity(tmp_path / "identity")
    for arguments, message in (
        ((runs / "inversion", ada, tmp_path / "out.mp4"), "out.mp4"),
        ((tmp_path / "identity", ada, output), "which inverts no pictures; give one of inversion"),
        ((runs / "inversion", tmp_path / "none.png", output), "none.png"),
        ((runs / "inversion", blank, output), "blank.png shows no face"),
    ):
        with pytest.raises(InputError, match=message):
            invert(*arguments)
    assert not output.exists()
    poses = tmp_path / "poses.csv"
    poses.write_text("time,yaw,pitch,roll\n0,0,0,0\n1,10,0,0\n")
    with pytest.raises(InputError, match=r"adds how a performer differs .*give --drive a clip"):
        reenact(runs / "inversion", [ada], poses, tmp_path / "out.mp4")
    with pytest.raises(InputError, match="--random draws somebody; leave out pictures"):
        reenact(runs / "transfer", [ada], ada, tmp_path / "out.mp4", random=1)
    with pytest.raises(InputError, match="draws nobody; leave out --random, and give pictures"):
        reenact(runs / "inversion", [], ada, tmp_path / "out.mp4", random=1)
