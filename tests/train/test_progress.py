"""Progress: what a terminal, a notebook and a log file show of the same training."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch
from small_learners import line_learner

from flambeau.train.callback import Callback
from flambeau.train.callbacks import progress
from flambeau.train.callbacks.progress import Lines, Notebook, Terminal, choose_display, clock, number

HERE = Path(__file__).resolve()
BACK_AND_ESCAPE = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")


def a_metric_whose_name_is_long(pred: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return (pred - target).abs().mean()


def test_a_log_has_a_line_an_epoch_and_no_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    line_learner(metrics=["mae", a_metric_whose_name_is_long]).fit(3, 0.1)
    said = capsys.readouterr().out
    lines = said.splitlines()
    assert len(lines) == 4
    assert not BACK_AND_ESCAPE.search(said)
    assert lines[0].split() == ["epoch", "train_loss", "valid_loss", "mae", "a_metric_whose_name_is_long", "time"]
    assert [line.split()[0] for line in lines[1:]] == ["0", "1", "2"]


def test_columns_stand_below_their_heads(capsys: pytest.CaptureFixture[str]) -> None:
    line_learner(metrics=[a_metric_whose_name_is_long]).fit(2, 0.1)
    lines = capsys.readouterr().out.splitlines()
    ends = [[match.end() for match in re.finditer(r"\S+", line)] for line in lines]
    assert ends[0] == ends[1] == ends[2]


def test_each_fit_has_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    line_learner().fine_tune(1)
    assert capsys.readouterr().out.count("train_loss") == 2


def test_no_logging_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    learn = line_learner()
    with learn.no_logging():
        learn.fit(1, 0.1)
    assert capsys.readouterr().out == ""
    learn.fit(1, 0.1)
    assert "train_loss" in capsys.readouterr().out


def test_without_default_callbacks_nothing_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    learn = line_learner(default_cbs=False)
    learn.fit(1, 0.1)
    assert capsys.readouterr().out == ""
    assert len(learn.recorder.values) == 1


class FakeTerminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_the_display_suits_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    assert type(choose_display(True)) is Lines
    monkeypatch.setattr(sys, "stdout", FakeTerminal())
    assert type(choose_display(True)) is Terminal
    assert type(choose_display(False)) is Lines
    monkeypatch.setattr(sys, "stdout", object())
    assert type(choose_display(True)) is Lines


def test_no_bar_keeps_the_table_in_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = FakeTerminal()
    monkeypatch.setattr(sys, "stdout", stream)
    learn = line_learner()
    with learn.no_bar():
        learn.fit(1, 0.1)
    assert len(stream.getvalue().splitlines()) == 2
    assert not BACK_AND_ESCAPE.search(stream.getvalue())


SLOW_FIT = f"""
import sys, time
sys.path.insert(0, {str(HERE.parent)!r})
from small_learners import line_learner
from flambeau.train.callback import Callback
class Slow(Callback):
    def before_batch(self): time.sleep(0.06)
line_learner(10, 5, metrics="mae").fit(2, 0.1, cbs=Slow())
"""


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals are a thing of POSIX systems")
def test_a_terminal_shows_a_bar_that_goes_away() -> None:
    import pty

    main, other = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[2] / "src"), "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen([sys.executable, "-c", SLOW_FIT], stdout=other, stderr=other, env=env) as process:
        os.close(other)
        parts = []
        while part := _read(main):
            parts.append(part)
    os.close(main)
    assert process.returncode == 0, b"".join(parts)
    raw = b"".join(parts).decode()
    assert "epoch 1/2 training, loss " in raw
    assert "epoch 2/2 validating" in raw
    assert raw.count("\x1b[?25l") == raw.count("\x1b[?25h")  # the cursor is shown again
    assert [line.split()[:1] for line in _screen(raw)] == [["epoch"], ["0"], ["1"]]


def _read(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 4096)
    except OSError:  # Linux says so when the other side is closed
        return b""


def _screen(raw: str) -> list[str]:
    """Return the lines that are left on a screen: cursor up, clear line and carriage return are obeyed."""
    lines, row = [""], 0
    for token in re.findall(r"\x1b\[\??\d*(?:;\d+)*[A-Za-z]|\r|\n|[^\x1b\r\n]+", raw):
        if token == "\n":
            row += 1
            lines += [""] * (row + 1 - len(lines))
        elif token.endswith("A") and token.startswith("\x1b"):
            row -= int(token[2:-1] or 1)
        elif token == "\x1b[2K":
            lines[row] = ""
        elif not token.startswith(("\x1b", "\r")):
            lines[row] += token
    return [line for line in lines if line.strip()]


class FakeHandle:
    """What a notebook gives for a display; keeps every picture of it."""

    def __init__(self) -> None:
        self.shown: list[str] = []

    def update(self, display: Any) -> None:
        self.shown.append(display._repr_html_())


@pytest.fixture
def handle(monkeypatch: pytest.MonkeyPatch) -> FakeHandle:
    made = FakeHandle()
    module = types.ModuleType("IPython.display")
    module.display = lambda display, display_id: made  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "IPython.display", module)
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    return made


def test_a_notebook_shows_one_growing_table(handle: FakeHandle, capsys: pytest.CaptureFixture[str]) -> None:
    line_learner(metrics="mae").fit(2, 0.1)
    assert handle.shown[-1].count("<tr>") == 3
    assert "<progress" not in handle.shown[-1]
    assert ">mae</th>" in handle.shown[-1]
    assert capsys.readouterr().out == ""


def test_a_notebook_shows_a_bar_unless_told_not_to(handle: FakeHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(progress, "REFRESH_SECONDS", -1.0)
    learn = line_learner()
    learn.fit(1, 0.1)
    assert any("<progress value='1' max='4'>" in shown for shown in handle.shown)
    handle.shown.clear()
    with learn.no_bar():
        learn.fit(1, 0.1)
    assert not any("<progress" in shown for shown in handle.shown)


def test_the_bar_goes_away_when_a_fit_breaks(handle: FakeHandle, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaks(Callback):
        order = 70

        def after_batch(self) -> None:
            raise KeyboardInterrupt

    monkeypatch.setattr(progress, "REFRESH_SECONDS", -1.0)
    learn = line_learner()
    with pytest.raises(KeyboardInterrupt):
        learn.fit(1, 0.1, cbs=Breaks())
    assert any("<progress" in shown for shown in handle.shown)
    assert "<progress" not in handle.shown[-1]
    assert learn.cbs[1].display is None


def test_names_are_escaped_in_html(handle: FakeHandle) -> None:
    display = Notebook()
    display.start(["<b>"])
    assert "&lt;b&gt;" in display._repr_html_()
    assert repr(display) == "<b>"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.34, "0.3s"), (9.9, "9.9s"), (10.2, "0:10"), (75, "1:15"), (3661, "1:01:01")]
)
def test_durations_are_short_words(seconds: float, words: str) -> None:
    assert clock(seconds) == words


def test_huge_and_tiny_numbers_keep_their_columns_apart(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    lines.start(["epoch", "train_loss", "valid_loss", "time"])
    lines.row(["0", number(1e9), number(12345.678901), "0.1s"])
    lines.row(["1", number(-1234567890.5), number(0.1234567), "100:00:00.000"])
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[1] == ["0", "1e+09", "12346", "0.1s"]
    assert rows[2] == ["1", "-1.2346e+09", "0.123457", "100:00:00.000"]
    assert [number(float("nan")), number(999.25)] == ["nan", "999.250000"]
