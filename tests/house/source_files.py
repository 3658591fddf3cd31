"""What the house tests share: the files of the library, read as syntax trees, and the imports in them."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src"
PACKAGE = SOURCE / "flambeau"


@dataclass(frozen=True)
class Import:
    """One imported module: where it is written, and whether importing the file runs it."""

    importer: str
    module: str
    place: str
    at_import_time: bool


def source_paths() -> list[Path]:
    """Return every Python file of the library."""
    return sorted(PACKAGE.rglob("*.py"))


def short_name(path: Path) -> str:
    """Return a path as it is written from the project's root: the id of a parametrised test."""
    return path.relative_to(ROOT).as_posix()


def module_name(path: Path) -> str:
    """Return the dotted name under which a file is imported."""
    parts = path.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@cache
def module_names() -> frozenset[str]:
    """Return the dotted names of all modules of the library."""
    return frozenset(module_name(path) for path in source_paths())


@cache
def syntax_tree(path: Path) -> ast.Module:
    """Return the parsed file."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def imports_in(tree: ast.Module, importer: str, file: str, is_package: bool = False) -> list[Import]:
    """Return all imports of a file, those inside functions and under TYPE_CHECKING too."""
    package = importer if is_package else importer.rpartition(".")[0]
    found = []
    for statement, runs in _import_statements(tree.body, True):
        for module in _imported_modules(statement, package):
            found.append(Import(importer, module, f"{file}:{statement.lineno}", runs))
    return found


@cache
def imports_of(path: Path) -> tuple[Import, ...]:
    """Return all imports of a file of the library."""
    is_package = path.name == "__init__.py"
    return tuple(imports_in(syntax_tree(path), module_name(path), short_name(path), is_package))


def all_imports() -> Iterator[Import]:
    """Yield the imports of every file of the library."""
    for path in source_paths():
        yield from imports_of(path)


def _import_statements(
    body: list[ast.stmt], runs: bool
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool]]:
    for statement in body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            yield statement, runs
        elif isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _import_statements(statement.body, False)
        elif isinstance(statement, ast.If) and _is_type_checking(statement.test):
            yield from _import_statements(statement.body, False)
            yield from _import_statements(statement.orelse, runs)
        else:
            for block in ("body", "orelse", "finalbody"):
                yield from _import_statements(getattr(statement, block, []), runs)
            for handler in [*getattr(statement, "handlers", []), *getattr(statement, "cases", [])]:
                yield from _import_statements(handler.body, runs)


def _is_type_checking(test: ast.expr) -> bool:
    return ast.unparse(test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def _imported_modules(statement: ast.Import | ast.ImportFrom, package: str) -> list[str]:
    if isinstance(statement, ast.Import):
        return [alias.name for alias in statement.names]
    origin = statement.module or ""
    if statement.level:
        ancestors = package.split(".")
        origin = ".".join([*ancestors[: len(ancestors) - statement.level + 1], *filter(None, [origin])])
    names = [f"{origin}.{alias.name}" for alias in statement.names]
    # `from folder import file` imports the file; `from file import name` the file that holds the name
    return sorted({name if name in module_names() else origin for name in names})
