"""The bench of systems that are lent identities."""

import json
import shutil

from faceswap_jax.evaluation.bench import evaluate
from tests.support.puppets import describe_clips
from tests.support.tiny_run import FRAMES, RATE, SIZE


def test_everybody_of_a_folder_is_lent_to_everybody_else(lending, clips, tmp_path):
    data = shutil.copytree(clips, tmp_path / "held_out")
    describe_clips(SIZE, FRAMES, RATE).save(data)
    output = evaluate(lending, data, ("none",), output=tmp_path)
    rows = json.loads((output / "scores.json").read_text())["overall"]
    assert {"do nothing", "swap --blend none", "ceiling --blend none", "truth"} <= rows.keys()
    assert {"attributes", "glasses", "identity"} <= rows["truth"].keys()
    swapped = {path.name for path in (output / "clips").iterdir()}
    assert {"ada.mp4_as_ben_none.mp4", "ben.mp4_as_ada_none.mp4"} <= swapped
    assert (output / "grid.png").exists()
