"""The report of a training: after reading it you know what is worth looking at once a model has been trained.

A folder with the history as a table, pictures (a batch, the losses, the schedule, the confusion matrix, the top losses)
and one HTML page that shows them all and needs no other file.
"""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

from flambeau.data.kinds import Category
from flambeau.data.loaders import DataLoader
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.numbers import number_words
from flambeau.foundation.paths import Path, atomic_write
from flambeau.interpret.interpretation import ClassificationInterpretation, Interpretation

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.train.learner import Learner

N_TOP_LOSSES = 12
ANSWERS = ("actual", "predicted", "note", "loss", "probability")
WIDE = 1400  # pixels: a wider picture is scrolled, not shrunk until its letters are lost
STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #59636e; --line: #d1d9e0; --paper: #ffffff; --card: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9198a1; --line: #3d444d; --paper: #0d1117; --card: #151b23; }
  img { filter: brightness(.92); }
}
body { font: 16px/1.55 system-ui, sans-serif; color: var(--ink); background: var(--paper); margin: 0; }
main { max-width: 60rem; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size: 1.9rem; margin: 0 0 .25rem; } h2 { font-size: 1.2rem; margin: 2.5rem 0 .5rem; }
p { margin: .4rem 0 1rem; } .soft { color: var(--soft); }
.figures { display: flex; flex-wrap: wrap; gap: 1rem; margin: 1.25rem 0; }
.figure { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .7rem 1.1rem; }
.figure b { display: block; font-size: 1.6rem; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: .3rem .9rem; border-bottom: 1px solid var(--line);
  white-space: nowrap; } th { color: var(--soft); }
img { max-width: 100%; height: auto; background: #fff; border: 1px solid var(--line); border-radius: .6rem; }
img.wide { max-width: none; }
pre { background: var(--card); border: 1px solid var(--line); border-radius: .6rem; padding: .8rem 1rem;
  overflow-x: auto; }
"""


@dataclass
class Report:
    """What was written: the page, the pictures by name, and the final values of loss and metrics."""

    folder: Path
    page: Path
    pictures: dict[str, Path] = field(default_factory=dict)
    values: dict[str, float] = field(default_factory=dict)


def write_report(
    learn: Learner,
    folder: str | AnyPath,
    title: str,
    about: str = "",
    commands: list[str] | None = None,
    more: Sequence[tuple[str, str, Any]] = (),
) -> Report:
    """Draw what a trained learner does and gets wrong, and write it with the history to a folder.

    `more` are further pictures or tables for the page, each with a name for its file and a caption.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    history = learn.recorder.history
    with atomic_write(folder / "history.csv", "w") as file:
        history.to_csv(file, index=False)
    with learn.no_logging():
        interpretation = _interpret(learn)
    final = history.iloc[-1].to_dict() if len(history) else {}
    report = Report(folder, folder / "report.html", values={k: float(v) for k, v in final.items()})
    drawings: list[tuple[str, str, Any]] = []
    ours = isinstance(learn.dls.train, DataLoader)  # a plain loader does not know how its items look
    if ours:
        drawings.append(("batch", "A batch, as the model saw it in training", learn.dls.show_batch(max_n=16)))
    if learn.recorder.losses:
        drawings.append(("losses", "The loss over the last training", learn.recorder.plot_loss()))
    if isinstance(interpretation, ClassificationInterpretation):
        drawings.append(("confusion", "Which classes were taken for which", interpretation.plot_confusion_matrix()))
    if ours:
        top = interpretation.plot_top_losses(N_TOP_LOSSES)
        top = top if isinstance(top, Drawing) else _answers_first(top)
        drawings.append(("top_losses", "Where the model was most wrong (actual, then predicted)", top))
    drawings += more
    sections = []
    for name, caption, drawing in drawings:
        if isinstance(drawing, Drawing):
            report.pictures[name] = Path(drawing.save(folder / "pictures" / f"{name}.png", dpi=110))
            drawing.close()
            sections.append(_picture_section(caption, report.pictures[name]))
        else:
            table = _table(drawing, name == "top_losses")
            sections.append(f"<h2>{html.escape(caption)}</h2><div class=scroll>{table}</div>")
    if isinstance(interpretation, ClassificationInterpretation):
        sections.append(f"<h2>Class by class</h2><pre>{html.escape(interpretation.classification_report())}</pre>")
    if commands:
        sections.append(f"<h2>Try next</h2><pre>{html.escape(chr(10).join(commands))}</pre>")
    page = _page(title, about, history, report.values, sections)
    with atomic_write(report.page, "w") as file:
        file.write(page)
    return report


def _answers_first(rows: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a table with their answers in front, where a wide table does not hide them."""
    answers = [name for name in rows.columns if str(name).split(" ")[0] in ANSWERS]
    return rows[[*answers, *(name for name in rows.columns if name not in answers)]]


def _interpret(learn: Learner) -> Interpretation:
    kinds = learn.dls.kinds[learn.dls.n_inp :]
    one_class = len(kinds) == 1 and isinstance(kinds[0], Category)
    return (ClassificationInterpretation if one_class else Interpretation).from_learner(learn)


def _table(rows: pd.DataFrame, index: bool) -> str:
    from flambeau.data.text_table import TextTable

    return rows.as_html(index) if isinstance(rows, TextTable) else str(rows.to_html(index=index, border=0))


def _picture_section(caption: str, path: Path) -> str:
    raw = path.read_bytes()
    coded = base64.b64encode(raw).decode()
    shape = " class=wide" if int.from_bytes(raw[16:20], "big") > WIDE else ""  # a PNG's width
    picture = f"<img{shape} alt='{html.escape(caption)}' src='data:image/png;base64,{coded}'>"
    return f"<h2>{html.escape(caption)}</h2><div class=scroll>{picture}</div>"


def _page(title: str, about: str, history: Any, values: dict[str, float], sections: list[str]) -> str:
    shown = {k: v for k, v in values.items() if k not in ("fit", "epoch", "time")}
    figures = "".join(
        f"<div class=figure><b>{_figure(name, value)}</b><span class=soft>{html.escape(_spaced(name))}</span></div>"
        for name, value in shown.items()
    )
    table = history.to_html(index=False, border=0, float_format=number_words)
    return (
        f"<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{html.escape(title)}</title><style>{STYLE}</style><main><h1>{html.escape(title)}</h1>"
        f"<p class=soft>{html.escape(about)}</p><div class=figures>{figures}</div>"
        f"<h2>Epoch by epoch</h2><div class=scroll>{table}</div>{''.join(sections)}</main></html>\n"
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _figure(name: str, value: float) -> str:
    return f"{value:.1%}" if name in ("accuracy", "error_rate") else number_words(value)
