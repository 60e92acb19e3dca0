"""docs/scale.md tells of every experiment what was compiled, what was run, and what was neither."""

import re
from pathlib import Path

from faceswap_jax.cost.topologies import SHAPES

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "scale.md").read_text()


def test_every_experiment_is_in_the_table():
    rows = re.findall(r"^\| `experiments/(\w+)\.py`(.*)\|$", TEXT, re.MULTILINE)
    told = {name: [cell.strip() for cell in cells.split("|")[1:]] for name, cells in rows}
    there = {path.stem for path in (ROOT / "experiments").glob("[!_]*.py")}
    assert told.keys() == there
    # Compiled, run, neither: none is empty, and something is said of each experiment.
    assert all(len(cells) == 3 and all(cells) for cells in told.values())
    assert all(set(cells) != {"-"} for cells in told.values())
    # Compiling takes neither data nor devices.
    assert all(compiled != "-" for compiled, _, _ in told.values())


def test_its_topologies_exist():
    named = re.findall(r"\b(v\d\w?):([\dx]+)", TEXT)
    assert named and all(shape in SHAPES[generation] for generation, shape in named)
