"""Loading a model never runs code: nothing that unpickles or evaluates is called anywhere in the library."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from source_files import imports_in, short_name, source_paths, syntax_tree

PICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}
EVALUATORS = {"eval", "exec", "compile", "__import__"}


def offences(tree: ast.Module, file: str) -> list[str]:
    """Return what a file does that could run code from data, one line each."""
    wrong = [
        f"{found.place}: imports {found.module}"
        for found in imports_in(tree, "flambeau.checked", file)
        if found.module.split(".")[0] in PICKLERS
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (reason := forbidden_call(node)):
            wrong.append(f"{file}:{node.lineno}: {reason}")
        elif isinstance(node, ast.ImportFrom) and node.module == "torch" and "load" in [one.name for one in node.names]:
            wrong.append(f"{file}:{node.lineno}: write torch.load(..., weights_only=True) in full")
    return wrong


def forbidden_call(call: ast.Call) -> str:
    """Return why a call is forbidden, or an empty string."""
    name = ast.unparse(call.func)
    last = name.rpartition(".")[2]
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
    if name in EVALUATORS or (name.startswith("builtins.") and last in EVALUATORS):
        return f"calls {name}"
    if name == "torch.load" and keywords.get("weights_only") != "True":
        return "calls torch.load without weights_only=True"
    if last == "load" and keywords.get("allow_pickle", "False") != "False":
        return f"calls {name} with allow_pickle"
    if last in ("read_pickle", "to_pickle"):
        return f"calls {name}"
    if last == "import_module" and call.args and ast.unparse(call.args[0]).strip("'\"") in PICKLERS:
        return f"imports {ast.unparse(call.args[0])}"
    return ""


@pytest.mark.parametrize("path", source_paths(), ids=short_name)
def test_nothing_unpickles_or_evaluates(path: Path) -> None:
    wrong = offences(syntax_tree(path), short_name(path))
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize(
    "written",
    [
        "import pickle",
        "def late():\n    from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=trusted)",
        "from torch import load",
        "np.load(path, allow_pickle=True)",
        "eval(text)",
        "builtins.exec(text)",
        "compile(text, 'file', 'exec')",
        "pd.read_pickle(path)",
        "importlib.import_module('pickle')",
    ],
)
def test_each_way_to_run_code_is_found(written: str) -> None:
    assert len(offences(ast.parse(written), "file.py")) == 1


@pytest.mark.parametrize(
    "written",
    [
        *("model.eval()", "torch.compile(model)", "re.compile('a')", "torch.load(path, weights_only=True)"),
        *("np.load(path)", "import pickletools"),  # which lists a pickle's operations and runs none
    ],
)
def test_calls_that_only_look_alike_are_allowed(written: str) -> None:
    assert offences(ast.parse(written), "file.py") == []
