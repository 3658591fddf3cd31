"""The report of an installation names versions and devices."""

from __future__ import annotations

import torch

from flambeau.foundation.show_install import show_install


def test_versions_and_devices_are_printed(capsys):
    show_install()
    lines = capsys.readouterr().out.splitlines()
    assert f"{'torch':<16}{torch.__version__.split('+')[0]}" in [line.split("+")[0] for line in lines]
    assert any(line.startswith("default device") for line in lines)
