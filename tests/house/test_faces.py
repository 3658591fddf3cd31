"""One home per name: a face (`all.py`) is a written list of names, an `__init__.py` holds a docstring only."""

from __future__ import annotations

import ast
import importlib
from collections import Counter
from pathlib import Path

import pytest
from source_files import PACKAGE, module_name, short_name, source_paths, syntax_tree

FACES = sorted(PACKAGE.rglob("all.py"))
INITS = [path for path in source_paths() if path.name == "__init__.py"]


def written_face(tree: ast.Module) -> list[str] | None:
    """Return the names of an `__all__` that is one literal list of strings, or None."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign | ast.AnnAssign) and statement.value is not None:
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            if [ast.unparse(target) for target in targets] == ["__all__"]:
                value = statement.value
                if not isinstance(value, ast.List | ast.Tuple):
                    return None
                names = [item.value for item in value.elts if isinstance(item, ast.Constant)]
                strings = [name for name in names if isinstance(name, str)]
                return strings if len(strings) == len(value.elts) else None
    return None


@pytest.mark.parametrize("path", FACES, ids=short_name)
def test_a_face_is_a_written_list_without_duplicates(path: Path) -> None:
    names = written_face(syntax_tree(path))
    assert names, f"{short_name(path)}: expected `__all__ = [...]` with the names written out as strings"
    twice = [name for name, count in Counter(names).items() if count > 1]
    assert not twice, f"{short_name(path)}: in __all__ more than once: {twice}"


@pytest.mark.parametrize("path", FACES, ids=short_name)
def test_every_name_of_a_face_exists(path: Path) -> None:
    face = importlib.import_module(module_name(path))
    missing = [name for name in face.__all__ if not hasattr(face, name)]
    assert not missing, f"{short_name(path)}: in __all__ but not there: {missing}"


@pytest.mark.parametrize("path", INITS, ids=short_name)
def test_an_init_holds_a_docstring_only(path: Path) -> None:
    tree = syntax_tree(path)
    assert ast.get_docstring(tree), f"{short_name(path)}:1: no docstring"
    for statement in tree.body[1:]:
        is_version = path.parent == PACKAGE and ast.unparse(statement).startswith("__version__ = ")
        assert is_version, f"{short_name(path)}:{statement.lineno}: more than a docstring: {ast.unparse(statement)}"


def test_a_computed_face_is_not_a_written_one() -> None:
    assert written_face(ast.parse("__all__ = ['one', 'two']")) == ["one", "two"]
    assert written_face(ast.parse("__all__ = ['one'] + other.__all__")) is None
    assert written_face(ast.parse("__all__ = ['one', *others]")) is None
