"""A lazy module imports nothing until it is used, then behaves as the module."""

from __future__ import annotations

import subprocess
import sys

import pytest

from flambeau.foundation.lazy import LazyModule


def test_nothing_is_imported_before_the_first_use():
    code = """
import sys
from flambeau.foundation.lazy import LazyModule
colors = LazyModule("colorsys")
assert "imported when first used" in repr(colors) and not hasattr(colors, "__wrapped__")
assert "colorsys" not in sys.modules
assert colors.rgb_to_hsv(0, 0, 0) == (0, 0, 0) and "colorsys" in sys.modules
print(repr(colors))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "<module 'colorsys' (imported)>", done.stderr


def test_it_lists_reads_and_writes_the_module():
    import colorsys

    lazy = LazyModule("colorsys")
    assert "rgb_to_hsv" in dir(lazy)
    assert lazy.rgb_to_hsv is colorsys.rgb_to_hsv
    lazy.EXTRA = 1
    try:
        assert colorsys.EXTRA == 1
    finally:
        del colorsys.EXTRA


def test_a_missing_attribute_or_module_is_told_as_by_python():
    with pytest.raises(AttributeError, match=r"colorsys.*no_such"):
        _ = LazyModule("colorsys").no_such
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        _ = LazyModule("no_such_module").anything
