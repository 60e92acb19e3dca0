"""The rules of imports: which room may use which, and that no file and no room is part of a circle.

ARCHITECTURE.md shows the rooms; `RULES` is what holds them apart.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.imports import between_rooms, circle, imports, modules, room

ROOT = Path(__file__).parents[1]
GRAPH = imports(ROOT)

GROUND = {f"faceswap_jax.{name}" for name in ("errors", "files", "config", "state")}
FACES = {"faceswap_jax.faces", *GROUND}

# What the modules of a room may import of this project, besides the room itself.
RULES = {
    **{name: GROUND for name in GROUND},
    "faceswap_jax.faces": GROUND,
    "faceswap_jax.ops": GROUND,
    "faceswap_jax.models": {"faceswap_jax.ops", "faceswap_jax.faces.ibug", *GROUND},
    "faceswap_jax.losses": {
        "faceswap_jax.ops",
        "faceswap_jax.faces.ibug",
        "faceswap_jax.faces.expression",
    },
    "faceswap_jax.parallel": GROUND,
    "data_pipelines": FACES,  # and other rooms of data_pipelines
}

# What these must never import, at any distance of the import from the top of the file.
NEVER = {
    "faceswap_jax.tasks": ("training", "inference", "evaluation", "reporting", "sweeps"),
    "faceswap_jax.pretrained": ("tasks", "training", "inference", "evaluation", "reporting"),
    "faceswap_jax.checkpoints": ("tasks", "training", "inference", "evaluation", "reporting"),
    "faceswap_jax.training": ("cost", "inference", "evaluation", "sweeps"),
    "faceswap_jax.cost": ("inference", "evaluation", "sweeps"),
    "faceswap_jax.inference": ("evaluation", "sweeps"),
}

# Libraries that only some rooms may import.
LIBRARIES = {
    "flax": ("faceswap_jax.models",),
    "orbax": ("faceswap_jax.checkpoints",),
    "ray": ("faceswap_jax.serving",),
    "wandb": ("faceswap_jax.reporting",),
    "jax": (
        "faceswap_jax.artifacts",
        "faceswap_jax.checkpoints",
        "faceswap_jax.cost",
        "faceswap_jax.evaluation",
        "faceswap_jax.inference",
        "faceswap_jax.losses",
        "faceswap_jax.models",
        "faceswap_jax.ops",
        "faceswap_jax.parallel",
        "faceswap_jax.pretrained",
        "faceswap_jax.reporting",
        "faceswap_jax.state",
        "faceswap_jax.sweeps.foresight",
        "faceswap_jax.tasks",
        "faceswap_jax.train",
        "faceswap_jax.training",
        "experiments.benchmarks",
    ),
}


def belongs(module: str, rooms) -> bool:
    """Whether a module lies in one of these rooms, or in a package of them."""
    return any(module == name or module.startswith(f"{name}.") for name in rooms)


def test_every_room_imports_only_what_lies_below_it():
    broken = [
        f"{module} imports {name}"
        for place, allowed in RULES.items()
        for module in GRAPH
        if belongs(module, [place])
        for name in GRAPH[module]
        if name in GRAPH and name != "faceswap_jax" and not belongs(name, [place, *allowed])
    ]
    assert not broken


def test_tasks_and_what_is_below_them_know_nothing_of_those_who_use_them():
    broken = [
        f"{module} imports {name}"
        for place, others in NEVER.items()
        for module in GRAPH
        if belongs(module, [place])
        for name in GRAPH[module]
        if belongs(name, [f"faceswap_jax.{other}" for other in others])
    ]
    assert not broken


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_is_imported_in_its_rooms_alone(library):
    users = [module for module, imported in GRAPH.items() if library in imported]
    assert users and not [module for module in users if not belongs(module, LIBRARIES[library])]


def test_nothing_imports_the_command():
    """But the benchmark that times how it starts."""
    users = {module for module, imported in GRAPH.items() if "faceswap_jax.cli" in imported}
    assert users <= {"experiments.benchmarks.start"}


def test_no_file_is_part_of_a_circle():
    assert not circle(GRAPH)


def test_no_room_is_part_of_a_circle():
    assert not circle(between_rooms(GRAPH))


def test_the_top_of_the_library_has_few_files():
    """Verbs and the ground."""
    assert len(list((ROOT / "faceswap_jax").glob("*.py"))) <= 15


def test_data_faces_search_and_swaps_by_onnx_work_without_jax():
    """JAX is hidden from a process that imports them: Grain imports it where it can."""
    rooms = ["data_pipelines", "faceswap_jax.faces", "faceswap_jax.search"]
    names = [m for m in GRAPH if belongs(m, rooms)]
    # An artifact is swapped with, too.
    names += ["faceswap_jax.swap", "faceswap_jax.artifacts.runtime"]
    code = f"""
import importlib, sys
class Hide:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "flax"):
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Hide())
for name in {names}:
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_a_broken_rule_is_found(tmp_path):
    """The same reading of a small house in which two rules are broken."""
    files = {
        "faceswap_jax/__init__.py": "",
        "faceswap_jax/errors.py": "from faceswap_jax.tasks import base\n",
        "faceswap_jax/tasks/__init__.py": "",
        "faceswap_jax/tasks/base.py": "def late():\n    import faceswap_jax.training.loop\n",
        "faceswap_jax/training/__init__.py": "",
        "faceswap_jax/training/loop.py": "import jax.numpy\nfrom faceswap_jax.tasks.base import Task\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    graph = imports(tmp_path)

    assert set(graph) == set(modules(tmp_path))
    assert graph["faceswap_jax.errors"] == {"faceswap_jax.tasks.base"}
    assert "jax" in graph["faceswap_jax.training.loop"]
    assert set(circle(graph)) == {"faceswap_jax.tasks.base", "faceswap_jax.training.loop"}
    rooms = between_rooms(graph)
    assert "faceswap_jax.training" in rooms["faceswap_jax.tasks"]
    assert circle(rooms) and room("faceswap_jax.tasks.base") == "faceswap_jax.tasks"
