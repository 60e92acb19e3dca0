"""ARCHITECTURE.md shows the code as it is."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "ARCHITECTURE.md").read_text()


def rooms_told() -> dict[str, set[str]]:
    """The files that each room's list names."""
    lists = re.findall(r"^`([\w/]+)/`:.*?```text\n(.*?)```", TEXT, re.MULTILINE | re.DOTALL)
    return {room: set(re.findall(r"^(\w+\.py) ", lines, re.MULTILINE)) for room, lines in lists}


def rooms_there() -> dict[str, set[str]]:
    """The files that each room has."""
    rooms = {}
    for package in ("faceswap_jax", "data_pipelines"):
        for path in (ROOT / package).rglob("*.py"):
            if path.name != "__init__.py":
                room = path.parent.relative_to(ROOT).as_posix()
                rooms.setdefault(room, set()).add(path.name)
    return rooms


def test_every_file_of_every_room_is_named():
    assert rooms_told() == rooms_there()


def test_the_minimal_system_is_the_one_that_a_test_trains():
    shown = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    support = ROOT / "tests" / "support"
    assert shown == [(support / name).read_text() for name in ("minimal_task.py", "minimal.py")]


def test_what_else_it_names_exists():
    paths = re.findall(r"`((?:tests|faceswap_jax|data_pipelines|experiments)/[\w/]+\.\w+)`", TEXT)
    assert paths and [path for path in paths if not (ROOT / path).exists()] == []
