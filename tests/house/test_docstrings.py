"""The source reads like a textbook: all that is public says what it is, and the examples in docstrings run."""

from __future__ import annotations

import ast
import doctest
import importlib
import inspect
from pathlib import Path

import pytest
from source_files import module_name, short_name, source_paths, syntax_tree

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
WITH_EXAMPLES = [path for path in source_paths() if ">>> " in path.read_text(encoding="utf-8")]


def undocumented(tree: ast.Module) -> list[tuple[int, str]]:
    """Return the line and dotted name of every public class, function and method without a docstring of its own."""
    missing = []
    for statement in tree.body:
        if not isinstance(statement, Definition) or not _is_public(statement):
            continue
        if not ast.get_docstring(statement):
            missing.append((statement.lineno, statement.name))
        if isinstance(statement, ast.ClassDef):
            missing += [
                (method.lineno, f"{statement.name}.{method.name}")
                for method in statement.body
                if isinstance(method, Definition) and _is_public(method) and not ast.get_docstring(method)
            ]
    return missing


def _is_public(definition: Definition) -> bool:
    # an overload and a setter share the docstring of the function or property they belong to
    decorators = [ast.unparse(decorator) for decorator in definition.decorator_list]
    shares = any(decorator.endswith(("overload", ".setter", ".deleter", ".register")) for decorator in decorators)
    return not definition.name.startswith("_") and not shares


def inherits_docstring(module: object, name: str) -> bool:
    """Tell whether a method overrides a documented one: `forward`, `encodes`, an event of a callback."""
    class_name, _, method_name = name.partition(".")
    return bool(method_name) and bool(inspect.getdoc(getattr(getattr(module, class_name), method_name)))


@pytest.mark.parametrize("path", source_paths(), ids=short_name)
def test_a_file_opens_with_a_docstring(path: Path) -> None:
    assert ast.get_docstring(syntax_tree(path)), f"{short_name(path)}:1: no docstring"


@pytest.mark.parametrize("path", source_paths(), ids=short_name)
def test_everything_public_has_a_docstring(path: Path) -> None:
    missing = undocumented(syntax_tree(path))
    if any("." in name for _, name in missing):
        module = importlib.import_module(module_name(path))
        missing = [(line, name) for line, name in missing if not inherits_docstring(module, name)]
    assert not missing, "no docstring:\n" + "\n".join(f"{short_name(path)}:{line}: {name}" for line, name in missing)


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=short_name)
def test_the_examples_in_docstrings_run(path: Path) -> None:
    module = importlib.import_module(module_name(path))
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    for example in doctest.DocTestFinder().find(module):
        runner.run(example, out=said.append)
    assert not runner.failures, "".join(said)


def test_a_missing_docstring_is_found() -> None:
    written = 'def one(): "Said."\ndef two(): pass\ndef _three(): pass\nclass Four:\n    def five(self): pass'
    assert undocumented(ast.parse(written)) == [(2, "two"), (4, "Four"), (5, "Four.five")]
