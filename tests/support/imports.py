"""Who imports whom in this project, read from its files."""

import ast
from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOTS = ("faceswap_jax", "data_pipelines", "experiments")


def modules(root: Path) -> dict[str, Path]:
    """Files below `root` by dotted name; a package stands for its `__init__.py`."""
    found = {}
    for top in ROOTS:
        for path in (root / top).rglob("*.py"):
            name = ".".join(path.relative_to(root).with_suffix("").parts)
            found[name.removesuffix(".__init__")] = path
    return found


def imports(root: Path) -> dict[str, set[str]]:
    """What each module imports: modules of this project by full name, others by their top package.

    Imports inside functions count too. So do those that are for type checkers alone.
    """
    known = modules(root)
    return {name: set(_imported(path, known)) - {name} for name, path in known.items()}


def _imported(path: Path, known: Mapping[str, Path]):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            # `from package import module` names a module, `from module import thing` does not.
            full = [f"{node.module}.{alias.name}" for alias in node.names]
            names = [name if name in known else node.module for name in full]
        else:
            continue
        yield from (n if n in known else n.partition(".")[0] for n in names)


def room(module: str) -> str:
    """The package that a module lives in; files at the top of a root are rooms of their own.

    The experiments are one room: values only, which nothing but their names tells apart.
    """
    parts = module.split(".")
    if parts[0] == "faceswap_jax" or len(parts) > 2:
        return ".".join(parts[:2])
    return module if parts[0] == "data_pipelines" else parts[0]


def circle(graph: Mapping[str, set[str]]) -> Sequence[str]:
    """One circle of a graph, as the names along it; empty if there is none."""
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        return error.args[1]
    return ()


def between_rooms(graph: Mapping[str, set[str]]) -> dict[str, set[str]]:
    """The same graph with rooms in place of modules."""
    rooms: dict[str, set[str]] = {}
    for module, imported in graph.items():
        own = rooms.setdefault(room(module), set())
        own |= {room(name) for name in imported if name in graph} - {room(module)}
    return rooms
