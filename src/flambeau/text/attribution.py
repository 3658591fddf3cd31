"""Which words speak for an answer: after reading it you know how an answer is shared out among the words.

The answer is the probability of a label, or the number that a regression gives, in the unit of its targets.

    occlusion              how much the answer falls when a word is taken away
    integrated gradients   all words are faded in together, from nothing to what they are; each word gets what the
                           answer gained by it on the way (Sundararajan 2017, equation 3), so that the scores add up
                           to what the text has over one without words

Both work on the vectors of the words: a vector is faded towards that of "no word", the mask where the model knows one,
else zeros (which is what dropout of whole words shows a model in training). Ids, and so masks and positions, stay.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from numbers import Integral
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from flambeau.data.dataset import columns_read
from flambeau.data.kinds import Category, MultiCategory, Number
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.nn.layers import TargetScale
from flambeau.text.as_read import TextAsRead, Word, as_read
from flambeau.text.models import SentenceEncoder
from flambeau.text.transformer_models import TransformerModel
from flambeau.text.transformer_windows import cut_windows, places_of_pairs, split_pairs

if TYPE_CHECKING:
    import pandas as pd

    from flambeau.train.learner import Learner

METHODS = ("integrated_gradients", "occlusion")
IDS_AT_ONCE = 4096  # in a batch of faded texts: a few hundred megabytes of a small transformer's activations
MOST_STEPS, TOLERANCE = 512, 0.02  # of a probability, or of the spread of numbers: by so much scores may miss their sum
GREEN, RED, GREY = (46, 160, 67), (218, 54, 51), "#8b949e"
STRONGEST = 0.65  # how opaque the colour of the highest score is: letters stay readable on it, dark or light
PLOT_INCHES, PLOT_SIZE, MARGIN = 8.0, 11, 0.15  # width, size of the letters in points, margin in inches


@dataclass(frozen=True, repr=False)
class Attribution:
    """What each word of a text adds to the probability of a label, or to a number.

    Args:
        words: the words with their places, markers among them; scores: one a word, 0 for markers.
        target: the label, or which number; answer: the text's probability of it, or its number; without_words: that
            of the same markers without any word.
        method: "integrated_gradients" or "occlusion". of_label: whether the answer is a probability.
    """

    words: list[Word]
    scores: list[float]
    target: Any
    answer: float
    without_words: float
    method: str
    of_label: bool = True

    @property
    def tokens(self) -> list[str]:
        """The words as a person reads them, markers among them."""
        return [word.text for word in self.words]

    def top(self, n: int = 10) -> pd.DataFrame:
        """Return the n words that count most, for or against the answer, as a table of word and score."""
        import pandas as pd

        rows = [(word.text, score) for word, score in self._pairs() if not word.is_marker]
        rows.sort(key=lambda row: -abs(row[1]))
        return pd.DataFrame(rows[:n], columns=["word", "score"])

    def to_html(self) -> str:
        """Return the text with coloured words: green and underlined what raises the answer, red and dashed the rest.

        It reads well on light and dark pages: the colours are translucent, letters are those of the page.
        """
        spans = "".join(_span(word, score, share) for word, score, share in self._shares())
        return (
            "<div style='line-height: 2; max-width: 60rem; text-align: left'>"
            f"<div style='opacity: .75'>{html.escape(self._headline())}</div>{spans}</div>"
        )

    def plot(self) -> Drawing:
        """Draw the text with coloured words."""
        import matplotlib.pyplot as plt

        figure, ax = plt.subplots(figsize=(PLOT_INCHES, 1))
        ax.set_axis_off()
        dpi = figure.dpi
        width, margin, line = PLOT_INCHES * dpi, MARGIN * dpi, 2.1 * PLOT_SIZE / 72 * dpi
        x, y = margin, margin + 1.5 * line
        ax.text(margin, margin + line / 2, self._headline(), fontsize=PLOT_SIZE - 1, va="center", parse_math=False)
        for word, _, share in self._shares():
            colour = tuple(part / 255 for part in (GREEN if share > 0 else RED))
            drawn = ax.text(
                x, y, word.text, fontsize=PLOT_SIZE, va="center", color=GREY if word.is_marker else "black",
                parse_math=False,
                bbox={"facecolor": (*colour, STRONGEST * abs(share)), "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip
            extent = drawn.get_window_extent().width
            x += 0.35 * PLOT_SIZE / 72 * dpi if word.after_blank and x > margin else 0
            if x > margin and x + extent > width - margin:
                x, y = margin, y + line
            drawn.set_position((x, y))
            x += extent
        height = y + line / 2 + margin
        figure.set_size_inches(PLOT_INCHES, height / dpi)
        ax.set_position((0, 0, 1, 1))  # a unit of the axes is a pixel, in which the words were measured
        ax.set(xlim=(0, width), ylim=(height, 0))
        return Drawing(figure)

    def _headline(self) -> str:
        how = self.method.replace("_", " ")
        answer, without = (f"{n:.1%}" if self.of_label else f"{n:.4g}" for n in (self.answer, self.without_words))
        return f"{self.target}: {answer}, without any word {without} ({how})"

    def _pairs(self) -> Iterator[tuple[Word, float]]:
        return zip(self.words, self.scores, strict=True)

    def _shares(self) -> list[tuple[Word, float, float]]:
        """Return words, scores, and the scores as shares of the largest, -1 to 1."""
        largest = max((abs(score) for score in self.scores), default=0.0) or 1.0
        return [(word, score, score / largest) for word, score in self._pairs()]

    def _repr_html_(self) -> str:
        return self.to_html()

    def __repr__(self) -> str:
        rows = [f"{score:+.4f}  {word}" for word, score in self.top().itertuples(index=False)]
        return "\n".join([self._headline(), *rows])


def _span(word: Word, score: float, share: float) -> str:
    blank, written = " " if word.after_blank else "", html.escape(word.text)
    if word.is_marker:
        return f"{blank}<span style='color: {GREY}; font-size: 85%'>{written}</span>"
    colour = ", ".join(map(str, GREEN if share > 0 else RED))
    style = (
        f"background: rgba({colour}, {STRONGEST * abs(share):.2f}); border-radius: .2em; padding: .1em; "
        f"border-bottom: 2px {'solid' if share > 0 else 'dashed'} rgba({colour}, {abs(share):.2f})"
    )
    return f"{blank}<span style='{style}' title='{score:+.4f}'>{written}</span>"


def attribute(
    learn: Learner,
    text: str | tuple[str, str],
    target: Any = None,
    method: str | None = None,
    steps: int = 32,
) -> Attribution:
    """Return what each word of a text (or of a pair of them) adds to the probability of a label, or to a number.

    Args:
        learn: a learner of texts with labels or numbers, recurrent or a transformer. Of the numbers that a transformer
            gives the scores are in the targets' unit.
        target: the label, None for the likeliest; of several numbers the column or the place of one, None for the
            first.
        method: "integrated_gradients", or "occlusion", which takes as many predictions as there are words. None is the
            first, but the second for task="similarity": two texts without words are alike, so that words which are
            faded in together would all seem to speak against it.
        steps: in how many steps integrated gradients fade the words in, at first: twice as many until scores add up.

    Of a recurrent classifier's document that is longer than `max_len`, gradients reach the last window alone.

    Raises:
        ArgumentError: the learner gives no labels or numbers for texts, or the text holds no word.
        UnknownNameError: there is no such label, or no such method; the nearest are proposed.
    """
    if method is None:
        method = "occlusion" if getattr(learn.model, "task", None) == "similarity" else "integrated_gradients"
    if method not in METHODS:
        raise unknown_name("method of attribution", method, METHODS)
    if not isinstance(steps, int) or steps < 1:
        raise ArgumentError(f"steps is a whole number of 1 or more, got {steps!r}.")
    names, of_label = _names(learn)
    read = as_read(learn.dls, text)
    with _Faded(learn, read) as faded:
        whole = faded.run(torch.ones(1, len(read.ids)))[0]
        usual = int(whole.argmax()) if of_label else 0
        number = usual if target is None else _number_of(target, names, of_label)
        found: dict[str, Any] = {"target": names[number], "answer": float(whole[number]), "of_label": of_label}
        found["without_words"] = float(faded.run(faded.without(read.inner))[0, number])
        if method == "occlusion":
            gates = torch.cat([faded.without([word]) for word in read.inner])
            left = torch.cat([faded.run(rows)[:, number] for rows in gates.split(faded.n_rows)])
            own = iter((whole[number] - left).tolist())
            scores = [0.0 if word.is_marker else next(own) for word in read.words]
        else:
            gains = faded.gains(number, steps)
            whole_gain = found["answer"] - found["without_words"]
            tolerance = TOLERANCE if of_label else TOLERANCE * _spread(learn, number, whole_gain)
            while steps < MOST_STEPS and abs(float(gains[faded.inner].sum()) - whole_gain) > tolerance:
                steps *= 2  # somewhere the answer jumps within a step
                gains = faded.gains(number, steps)
            scores = [0.0 if word.is_marker else float(gains[list(word.places)].sum()) for word in read.words]
    return Attribution(read.words, scores, method=method, **found)


def _names(learn: Learner) -> tuple[tuple[Any, ...], bool]:
    """Return the names of what a learner answers with, and whether they are labels."""
    kinds = learn.dls.kinds[learn.dls.n_inp :]
    kind = kinds[0] if len(kinds) == 1 else None
    if isinstance(kind, Category | MultiCategory):
        return kind.vocab, True
    if isinstance(kind, Number):
        return _columns(learn, kind.n) or (("number",) if kind.n == 1 else tuple(range(kind.n))), False
    told = ", ".join(type(kind).__name__ for kind in kinds) or "none"
    raise ArgumentError(
        f"Words speak for a label or a number, or against it, but the targets of this learner are {told}. Pass a "
        "learner of texts with labels or numbers, as text_classifier_learner and transformer_learner make them."
    )


def _columns(learn: Learner, n: int) -> tuple[Any, ...]:
    """Return the names of the n columns of a table that hold the targets, () where they are of no table."""
    pipelines = getattr(learn.dls.loaders[-1].dataset, "pipelines", ())
    names = columns_read(pipelines[learn.dls.n_inp]) if len(pipelines) > learn.dls.n_inp else []
    return tuple(names) if len(names) == n else ()


def _spread(learn: Learner, number: int, gain: float) -> float:
    """Return how far apart the numbers of a regression usually are, by the scale of its targets, else this gain."""
    scale = getattr(learn.model, "scale", None)
    return float(scale.std.reshape(-1)[number]) if isinstance(scale, TargetScale) else abs(gain)


def _number_of(target: Any, labels: Sequence[Any], of_label: bool) -> int:
    names = [str(label) for label in labels]
    if target not in labels and str(target) not in names:
        is_place = isinstance(target, Integral) and not isinstance(target, bool)  # numpy's whole numbers, too
        if not of_label and is_place and 0 <= target < len(names):
            return int(target)
        raise unknown_name("label" if of_label else "number", target, names)
    return labels.index(target) if target in labels else names.index(str(target))


class _Faded:
    """A model that sees the words of one text through gates (rows, time): 1 as they are, 0 as no word."""

    def __init__(self, learn: Learner, read: TextAsRead) -> None:
        self.model, self.activation, self.read = learn.model, learn.activation, read
        self.embedding = word_vectors(self.model, read.n_ids)
        self.device = self.embedding.weight.device
        self.ids = read.ids.to(self.device)
        self.n_rows = max(1, IDS_AT_ONCE // len(self.ids))
        self.inner = torch.tensor([place for word in read.inner for place in word.places])
        self.waiting: list[Tensor] = []

    def __enter__(self) -> _Faded:
        self.was_training = self.model.training
        self.model.eval()
        self.handle = self.embedding.register_forward_hook(self._fade)
        return self

    def __exit__(self, *error: object) -> None:
        self.handle.remove()
        self.model.train(self.was_training)

    def without(self, words: Sequence[Word]) -> Tensor:
        """Return gates (1, time) that close for these words."""
        gates = torch.ones(1, len(self.ids))
        gates[:, [place for word in words for place in word.places]] = 0
        return gates

    def run(self, gates: Tensor, learning: bool = False) -> Tensor:
        """Return the answers (rows, labels or numbers) to the text behind gates (rows, time)."""
        x = self.ids.expand(len(gates), -1)
        self.waiting = [self._of_pieces(gates.to(self.device), x)]
        # cuDNN goes back through recurrent layers in training mode alone
        without_cudnn = torch.backends.cudnn.flags(enabled=False) if learning else nullcontext()
        with torch.set_grad_enabled(learning), _one_window(self.model, len(self.ids)), without_cudnn:
            answers: Tensor = self.activation(self.model(x).float())
        answers = answers.reshape(len(gates), -1)
        return answers if learning else answers.cpu()

    def gains(self, number: int, steps: int) -> Tensor:
        """Return what each token (time,) adds to an answer while all are faded in together."""
        total = torch.zeros(len(self.ids))
        # the middle of each step: twice as near to the integral as its end
        for some in ((torch.arange(steps) + 0.5) / steps).split(self.n_rows):
            gates = torch.ones(len(some), len(self.ids))
            gates[:, self.inner] = some[:, None]
            gates.requires_grad_()
            # a gate's gradient is the vector's, along the way from no word to the word
            (slopes,) = torch.autograd.grad(self.run(gates, learning=True)[:, number].sum(), gates)
            total += slopes.sum(0) / steps
        return total

    def _fade(self, layer: nn.Module, inputs: Any, vectors: Tensor) -> Tensor:
        # a recurrent classifier reads one window after the other
        n_time = vectors.shape[1]
        gates, rest = self.waiting[0].split([n_time, self.waiting[0].shape[1] - n_time], 1)
        self.waiting = [rest]
        table, place = self.embedding.weight.detach(), self.read.baseline
        none = torch.zeros_like(table[0]) if place is None else table[place]
        return none + gates[..., None].to(vectors) * (vectors.detach() - none)

    def _of_pieces(self, gates: Tensor, x: Tensor) -> Tensor:
        """Return the gates of what a transformer reads: windows, texts of a pair apart; of markers they are open."""
        model = self.model
        if not isinstance(model, TransformerModel):
            return gates
        lengths = [x.shape[1]] * len(x)
        if model.likeness is not None:
            before, after = (gates.new_ones(len(markers)) for markers in (model.before, model.after))
            texts = [torch.cat([before, gates[n, part], after]) for n, part in places_of_pairs(x, lengths, model)]
            x = pad_sequence(split_pairs(x, lengths, model), batch_first=True, padding_value=model.pad_id)
            gates = pad_sequence(texts, batch_first=True, padding_value=1.0)
            lengths = [len(text) for text in texts]
        elif x.shape[1] <= model.window:
            return gates
        pieces = cut_windows(x, lengths, model)
        rows = [
            torch.cat([gates.new_ones(p.offset), gates[p.row, p.start : p.stop], gates.new_ones(p.n_after)])
            for p in pieces
        ]
        return pad_sequence(rows, batch_first=True, padding_value=1.0)


def word_vectors(model: nn.Module, n_ids: int) -> nn.Embedding:
    """Return the layer that turns a model's ids into vectors.

    Raises:
        ArgumentError: there is none, or several could be it.
    """
    if isinstance(model, TransformerModel):
        found: nn.Embedding = model.net.get_input_embeddings()
        return found
    layers = [part for part in model.modules() if isinstance(part, nn.Embedding) and part.num_embeddings >= n_ids]
    if len(layers) != 1:
        raise ArgumentError(
            f"Words are faded in the layer that turns their {n_ids} ids into vectors, and {type(model).__name__} has "
            f"{len(layers)} nn.Embedding of that many rows. Attribution needs exactly one."
        )
    return layers[0]


@contextmanager
def _one_window(model: nn.Module, n_time: int) -> Iterator[None]:
    """Let a recurrent classifier read a document at once: the same answer, and gradients that reach its first word."""
    encoders = [part for part in model.modules() if isinstance(part, SentenceEncoder)]
    encoders = [part for part in encoders if part.max_len is None or n_time <= part.max_len]
    before = [part.bptt for part in encoders]
    for part in encoders:
        part.bptt = n_time
    try:
        yield
    finally:
        for part, bptt in zip(encoders, before, strict=True):
            part.bptt = bptt
