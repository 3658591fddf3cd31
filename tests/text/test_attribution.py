"""The words that tell a label get the highest scores, and scores add up to the probability."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from small_reviews import reviews
from tiny_transformers import SENTENCES, label_of, loaders, tiny_folder
from torch import Tensor, nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.getters import ItemGetter
from flambeau.data.target_blocks import RegressionBlock
from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, UnknownNameError
from flambeau.foundation.seeds import set_seed
from flambeau.text.as_read import Word
from flambeau.text.attribution import Attribution, attribute
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.learner import TextLearner, language_model_learner, text_classifier_learner
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner
from flambeau.text.transformer_tokenizer import TransformerTokenizer
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner

SIZES = {"emb_sz": 16, "n_hid": 24, "n_layers": 2}
REVIEW = "The film was wonderful with a story about town."


@pytest.fixture(scope="module")
def recurrent(tmp_path_factory: pytest.TempPathFactory) -> TextLearner:
    """Return a recurrent classifier that tells good reviews from bad ones."""
    dls = TextDataLoaders.from_df(reviews(160), path=tmp_path_factory.mktemp("lstm"), bs=16, seed=1, device="cpu")
    torch.manual_seed(0)
    learn = text_classifier_learner(dls, AWD_LSTM, config=SIZES, pretrained=False, drop_mult=0.2)
    with learn.no_logging():
        learn.fit_one_cycle(8, 2e-2)
    return learn


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> TransformerLearner:
    """Return a tiny transformer that tells good sentences from bad ones."""
    set_seed(2)
    tokenizer = TransformerTokenizer.from_pretrained(tiny_folder("bert"))
    dls = loaders(tokenizer, path=tmp_path_factory.mktemp("bert"))
    learn = transformer_learner(dls, tiny_folder("bert"), dropout=0.0)
    with learn.no_logging():
        learn.fit_one_cycle(20, 5e-3)
    return learn


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_a_recurrent_classifier_hangs_on_the_telling_word(recurrent: TextLearner, method: str) -> None:
    found = attribute(recurrent, REVIEW, method=method)
    label, _, probabilities = recurrent.predict(REVIEW)
    assert found.target == label == "pos"
    assert found.answer == pytest.approx(float(probabilities.max()), abs=1e-5)
    assert found.top(1).values.tolist()[0][0] == "wonderful"
    assert found.tokens == ["xxbos", "The", "film", "was", "wonderful", "with", "a", "story", "about", "town", "."]
    against = attribute(recurrent, REVIEW, "neg", method)
    assert against.scores == pytest.approx([-score for score in found.scores], abs=1e-5)


@pytest.mark.parametrize("method", ["integrated_gradients", "occlusion"])
def test_a_transformer_hangs_on_the_telling_words(transformer: TransformerLearner, method: str) -> None:
    text = "The film was lovely, and the music lovely too"
    found = attribute(transformer, text, method=method, steps=64)
    assert found.target == "good"
    assert found.answer == pytest.approx(float(transformer.predict(text)[2].max()), abs=1e-5)
    words = set(found.top(2)["word"]) if method == "integrated_gradients" else set(found.top(1)["word"])
    assert words == {"lovely"}
    assert [score for word, score in zip(found.tokens, found.scores, strict=True) if word[0] == "["] == [0, 0]


@pytest.mark.parametrize("n_words", [12, 200])
def test_gains_add_up_to_the_probability_also_over_windows(recurrent: TextLearner, n_words: int) -> None:
    text = " ".join(["the film was wonderful and"] * (n_words // 5))
    found = attribute(recurrent, text, "pos", steps=256)
    assert abs(found.answer - found.without_words) > 0.01
    assert sum(found.scores) == pytest.approx(found.answer - found.without_words, abs=0.01)
    assert recurrent.model[0].bptt == 72
    assert recurrent.model.training is False


def test_a_long_document_of_a_transformer_is_explained_over_its_windows(transformer: TransformerLearner) -> None:
    text = "the film was lovely and " * 30
    found = attribute(transformer, text, "good", steps=256)
    assert found.answer == pytest.approx(float(transformer.predict(text)[2][1]), abs=1e-5)
    assert sum(found.scores) == pytest.approx(found.answer - found.without_words, abs=0.02)
    assert sum(score != 0 for score in found.scores) == 150
    taken = attribute(transformer, text, "good", "occlusion")
    assert len(taken.scores) == len(found.scores)


def test_words_add_to_a_number_in_the_unit_of_the_targets(tmp_path: Path) -> None:
    set_seed(2)
    frame = pd.DataFrame({"text": SENTENCES, "price": [9000.0 if label_of(s) == "good" else 1000.0 for s in SENTENCES]})
    frame["weight"] = frame["price"] / -1000
    for column, target, sign in (("price", None, 1), (["price", "weight"], "weight", -1)):
        dls = TextDataLoaders.from_df(
            frame, tmp_path, 0.25, seed=1, text_col="text", label_col=column, transformer=tiny_folder("bert"), bs=16,
            y_block=RegressionBlock(),
        )  # fmt: skip
        learn = transformer_learner(dls, tiny_folder("bert"), dropout=0.0)
        with learn.no_logging():
            learn.fit_one_cycle(20, 5e-3)
        text = "The film was lovely, and the music lovely too"
        found = attribute(learn, text, target)
        answers = torch.as_tensor(learn.predict(text)[0]).reshape(-1)
        place = 0 if target is None else 1
        assert found.target == ["price", "weight"][place]
        assert found.answer == pytest.approx(float(answers[place]), rel=1e-4)
        scale = float(learn.transformer.scale.std[place])
        assert sum(found.scores) == pytest.approx(found.answer - found.without_words, abs=0.05 * scale)
        for one, word, speaks in (
            (found, "lovely", sign), (attribute(learn, text.replace("lovely", "awful"), target), "awful", -sign)
        ):  # fmt: skip
            told = one.top(2)
            assert set(told["word"]) == {word}
            assert all(speaks * score > 0 for score in told["score"])
    assert attribute(learn, text, np.int64(1)).scores == attribute(learn, text, "weight").scores
    with pytest.raises(UnknownNameError, match="no number 'True'"):
        attribute(learn, text, True)
    with pytest.raises(UnknownNameError, match="no number '2'"):
        attribute(learn, text, 2)


class Smooth(nn.Module):
    """Average the vectors of the words and squash them: a network whose integral is easily found."""

    def __init__(self, n_words: int) -> None:
        super().__init__()
        self.vectors, self.out = nn.Embedding(n_words, 4), nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        """Return two numbers a text."""
        out: Tensor = self.out(torch.tanh(self.vectors(x).sum(1)))
        return out


def test_gains_of_a_network_of_ones_own_are_complete_and_keep_its_mode() -> None:
    dls = TextDataLoaders.from_df(reviews(40), bs=8, device="cpu")
    torch.manual_seed(3)
    learn = Learner(dls, Smooth(len(dls.vocab[0])).train())
    found = attribute(learn, REVIEW, "pos", steps=200)
    assert sum(found.scores) == pytest.approx(found.answer - found.without_words, abs=1e-4)
    assert abs(found.answer - found.without_words) > 0.01
    assert learn.model.training
    assert all(parameter.grad is None for parameter in learn.model.parameters())
    assert not learn.model.vectors._forward_hooks
    learn.model.vectors = nn.Embedding(3, 4)
    with pytest.raises(ArgumentError, match=r"Smooth has 0 nn.Embedding of that many rows"):
        attribute(learn, REVIEW)


def test_a_gain_is_what_the_formula_says_for_a_linear_network() -> None:
    dls = TextDataLoaders.from_df(reviews(40), bs=8, device="cpu")
    learn = Learner(dls, Smooth(len(dls.vocab[0])))
    faint = 1e-3  # where tanh and softmax are straight
    with torch.no_grad():
        learn.model.vectors.weight.mul_(faint)
        learn.model.out.bias.zero_()
        weights = (learn.model.out.weight[1] - learn.model.out.weight[0]) / 4
    found = attribute(learn, "film", "pos")
    vector = learn.model.vectors.weight[dls.vocab[0].index("film")]
    assert found.scores[1] == pytest.approx(float((weights * vector.detach()).sum()), rel=0.02)


def test_a_loaded_export_explains_the_same(recurrent: TextLearner, tmp_path: Path) -> None:
    loaded = load_learner(recurrent.export(tmp_path / "reviews.safetensors"))
    mine, theirs = attribute(recurrent, REVIEW), attribute(loaded, REVIEW)
    assert theirs.scores == pytest.approx(mine.scores, abs=1e-4)


def shown() -> Attribution:
    words = [Word("xxbos", (0,), True), Word("<b>$x$", (1,)), Word("dull", (2, 3)), Word(",", (4,), after_blank=False)]
    return Attribution(words, [0.0, 0.25, -0.5, 0.0], "a & b", 0.75, 0.5, "integrated_gradients")


def test_coloured_text_is_escaped_and_leaves_letters_to_the_page() -> None:
    page = shown().to_html()
    assert page == shown()._repr_html_()
    assert "a &amp; b: 75.0%, without any word 50.0% (integrated gradients)" in page
    assert "&lt;b&gt;$x$" in page
    assert "<b>" not in page
    assert "rgba(46, 160, 67, 0.33)" in page
    assert "rgba(218, 54, 51, 0.65)" in page
    assert "title='-0.5000'>dull</span><span" in page
    assert page.count("color:") == 1  # of the marker; words have the colour of the page


def test_an_attribution_prints_and_sorts_its_words() -> None:
    assert shown().top(2).values.tolist() == [["dull", -0.5], ["<b>$x$", 0.25]]
    assert str(shown()).splitlines()[1:] == ["-0.5000  dull", "+0.2500  <b>$x$", "+0.0000  ,"]


def test_an_attribution_is_drawn_in_lines() -> None:
    import matplotlib.pyplot as plt

    one = shown().plot()
    assert isinstance(one, Drawing)
    words = [Word(f"word{place}", (place,)) for place in range(60)]
    many = Attribution(words, [0.1] * 60, "a", 0.5, 0.1, "occlusion").plot()
    (ax,) = many.axes
    lines = {text.get_position()[1] for text in ax.texts[1:]}
    assert len(lines) > 2
    assert many.figure.get_figheight() > one.figure.get_figheight()
    ends = [text.get_window_extent().x1 for text in ax.texts]
    assert max(ends) <= many.figure.bbox.x1
    plt.close("all")


def test_errors_teach(recurrent: TextLearner) -> None:
    with pytest.raises(UnknownNameError, match=r"no label 'post'. Did you mean 'pos'"):
        attribute(recurrent, REVIEW, "post")
    with pytest.raises(UnknownNameError, match=r"no method of attribution 'occlude'. Did you mean 'occlusion'"):
        attribute(recurrent, REVIEW, method="occlude")
    with pytest.raises(ArgumentError, match="steps is a whole number of 1 or more, got 0"):
        attribute(recurrent, REVIEW, steps=0)
    with pytest.raises(ArgumentError, match="holds no word"):
        attribute(recurrent, " ")


def test_learners_that_classify_no_text_are_told(tmp_path: Path) -> None:
    dls = TextDataLoaders.from_df(reviews(40), path=tmp_path, is_lm=True, bs=4, seq_len=8)
    writer = language_model_learner(dls, AWD_LSTM, SIZES, pretrained=False)
    with pytest.raises(ArgumentError, match=r"the targets of this learner are Tokens. Pass a learner of texts"):
        attribute(writer, REVIEW)
    made = Datasets([[0.5, 1], [0.2, 0]], [[ItemGetter(0)], [ItemGetter(1), bool]], splits=[[0], [1]])
    of_numbers = Learner(DataLoaders.from_datasets(made, bs=1, device="cpu"), nn.Linear(1, 2))
    with pytest.raises(ArgumentError, match="Words are shown of learners that read text, and this one reads a Number"):
        attribute(of_numbers, REVIEW)
