"""Arrows point down: a folder imports only from lower floors, nothing runs in circles, and nobody imports a face."""

from __future__ import annotations

import ast

from source_files import PACKAGE, Import, all_imports, imports_in, module_names

FLOORS = {
    "foundation": 0,
    "data": 1,
    "nn": 1,
    "course": 1,
    "train": 2,
    "interpret": 3,
    "vision": 4,
    "text": 4,
    "tabular": 4,
    "trees": 4,
    "collab": 4,
    "diffusion": 4,
    "apps": 5,
    "cli": 6,
}
# two siblings may be seen: a diffusion model is trained on pictures, and trees learn from the same tables as nets
ALLOWED_SIDEWAYS = {"diffusion": "flambeau.vision.data", "trees": "flambeau.tabular"}


def folder_of(module: str) -> str:
    """Return the folder of a module inside flambeau; "" for the modules at the top (`__init__`, `__main__`)."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and (PACKAGE / parts[1]).is_dir() else ""


def breaks_arrow(found: Import) -> bool:
    """Tell whether an import goes up, or sideways to a sibling."""
    if found.module.split(".")[0] != "flambeau" or found.module == "flambeau":
        return False
    importer, imported = folder_of(found.importer), folder_of(found.module)
    sideways = ALLOWED_SIDEWAYS.get(importer)
    if is_face(found.importer) and FLOORS[imported] == FLOORS[importer]:
        return False  # a face is a list of names for a user, who wants nets and trees side by side
    if importer in (imported, "") or (sideways and f"{found.module}.".startswith(f"{sideways}.")):
        return False
    return FLOORS[imported] >= FLOORS[importer]


def circle_in(graph: dict[str, set[str]]) -> list[str]:
    """Return one circle of a graph as a path whose end is its start, or an empty list."""
    finished: set[str] = set()

    def visit(node: str, path: list[str]) -> list[str]:
        if node in path:
            return [*path[path.index(node) :], node]
        if node not in finished:
            for neighbour in sorted(graph.get(node, ())):
                if circle := visit(neighbour, [*path, node]):
                    return circle
            finished.add(node)
        return []

    return next((circle for node in sorted(graph) if (circle := visit(node, []))), [])


def test_every_folder_has_its_floor() -> None:
    folders = {path.name for path in PACKAGE.iterdir() if (path / "__init__.py").exists()}
    assert folders <= FLOORS.keys(), f"no floor is written for {sorted(folders - FLOORS.keys())}"


def test_imports_only_point_to_lower_floors() -> None:
    wrong = [f"{one.place}: {one.importer} imports {one.module}" for one in all_imports() if breaks_arrow(one)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_no_circle_when_modules_are_imported() -> None:
    graph: dict[str, set[str]] = {}
    for found in all_imports():
        if found.at_import_time and found.module in module_names():
            graph.setdefault(found.importer, set()).add(found.module)
    circle = circle_in(graph)
    assert not circle, "modules import each other: " + " -> ".join(circle)


def test_nothing_in_the_library_imports_a_face() -> None:
    wrong = [f"{found.place}: imports {found.module}" for found in all_imports() if is_face(found.module)]
    assert not wrong, "\n" + "\n".join(wrong)


def test_course_names_are_imported_by_faces_only() -> None:
    wrong = [
        f"{found.place}: imports {found.module}"
        for found in all_imports()
        if folder_of(found.module) == "course" and not is_face(found.importer) and folder_of(found.importer) != "course"
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def is_face(module: str) -> bool:
    """Tell whether a module is the `all.py` of an application."""
    return module.startswith("flambeau.") and module.endswith(".all")


def test_an_import_upwards_is_found_wherever_it_is_written() -> None:
    written = """
from typing import TYPE_CHECKING
if TYPE_CHECKING:
    from flambeau.train import loop
def late():
    import flambeau.nn.losses
class Inside:
    from flambeau.foundation import errors
"""
    found = imports_in(ast.parse(written), "flambeau.data.batch", "batch.py")
    places = [(one.place, one.at_import_time) for one in found if breaks_arrow(one)]
    assert places == [("batch.py:4", False), ("batch.py:6", False)]


def test_a_relative_import_is_resolved() -> None:
    written = "from ..nn import losses\nfrom . import other"
    found = imports_in(ast.parse(written), "flambeau.data.batch", "batch.py")
    assert [one.module.split(".")[1] for one in found] == ["nn", "data"]


def test_a_circle_is_found() -> None:
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
