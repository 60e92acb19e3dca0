"""What experiment files say of their fields, in the comments beside the values."""

import ast
import inspect
import io
import runpy
import tokenize
from pathlib import Path
from types import ModuleType

from faceswap_jax import config as configs


def of_experiment(path: Path) -> dict[str, str]:
    """The comments on an experiment's fields, by the field's full name.

    Those of `config.defaults` and of the experiments that this one builds on come first; the file's own replace them.
    """
    # From the general to the special: later comments replace earlier ones.
    comments = of_source(inspect.getsource(configs))
    for module in runpy.run_path(str(path)).values():
        if isinstance(module, ModuleType) and hasattr(module, "get_config"):
            comments |= of_experiment(Path(module.__file__))
    return comments | of_source(path.read_text())


def of_source(source: str) -> dict[str, str]:
    """The comments on assignments to attributes, such as `c.model.width = 1.0  # of all channel counts`.

    A comment belongs to the assignment that it stands in or behind, or else directly above.
    """
    # All comments, by line
    lines = source.splitlines()
    comments = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ")

    # Assignments, with the comments inside their lines or else right above
    found = {}
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Assign) or not isinstance(node.targets[0], ast.Attribute):
            continue
        name = ast.unparse(node.targets[0]).partition(".")[2]
        numbers = [n for n in range(node.lineno, node.end_lineno + 1) if n in comments]
        if not numbers:
            above = node.lineno - 1
            while above in comments and lines[above - 1].lstrip().startswith("#"):
                numbers.insert(0, above)
                above -= 1
        if numbers:
            found[name] = " ".join(comments[n] for n in numbers)
    return found
