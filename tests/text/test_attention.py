"""Attention weights are those that the network computes, and stay readable."""

from __future__ import annotations

import pytest
import torch
from small_reviews import reviews
from tiny_transformers import SENTENCES, loaders, tiny_folder

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError
from flambeau.text.attention import attention
from flambeau.text.awd_lstm import AWD_LSTM
from flambeau.text.data_loaders import TextDataLoaders
from flambeau.text.learner import text_classifier_learner
from flambeau.text.transformer_learner import TransformerLearner, transformer_learner
from flambeau.text.transformer_tokenizer import TransformerTokenizer


def learner(kind: str = "bert") -> TransformerLearner:
    return transformer_learner(loaders(TransformerTokenizer.from_pretrained(tiny_folder(kind))), tiny_folder(kind))


@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "gpt2", "llama"])
def test_each_token_shares_its_attention_out(kind: str) -> None:
    learn = learner(kind)
    before = learn.model.net.config._attn_implementation
    answer = learn.predict(SENTENCES[0])[2]
    found = attention(learn, SENTENCES[0])
    n = len(found.tokens)
    assert found.weights.shape == (2, 2, n, n)
    assert torch.allclose(found.weights.sum(-1), torch.ones(2, 2, n), atol=1e-5)
    assert found.layer == 1
    assert torch.equal(found.matrix, found.weights[1].mean(0))
    assert torch.equal(attention(learn, SENTENCES[0], 0, 1).matrix, found.weights[0, 1])
    assert learn.model.net.config._attn_implementation == before == "sdpa"
    assert not learn.model.net.config.output_attentions
    assert torch.allclose(learn.predict(SENTENCES[0])[2], answer, atol=1e-6)
    if kind in ("gpt2", "llama"):  # nothing looks ahead
        assert torch.equal(found.weights.triu(1), torch.zeros_like(found.weights))


def test_a_map_is_drawn_with_its_tokens() -> None:
    import matplotlib.pyplot as plt

    found = attention(learner(), "The film was $unlovely$")
    assert found.tokens[:4] == ["[CLS]", "The", "film", "was"]
    assert found.markers[:2] == [True, False]
    drawing = found.plot()
    assert isinstance(drawing, Drawing)
    labels = [label.get_text() for label in drawing.axes[0].get_yticklabels()]
    assert labels == found.tokens
    assert drawing.axes[0].get_title() == "attention, layer 1 (of 0 to 1), mean of 2 heads"
    assert str(found).startswith("attention, layer 1 (of 0 to 1), mean of 2 heads: ")
    drawing.figure.canvas.draw()
    plt.close("all")


def test_what_has_no_attention_is_told() -> None:
    dls = TextDataLoaders.from_df(reviews(20), bs=8)
    config = {"emb_sz": 8, "n_hid": 8, "n_layers": 1}
    recurrent = text_classifier_learner(dls, AWD_LSTM, config=config, pretrained=False)
    with pytest.raises(ArgumentError, match=r"A SequentialRNN has no attention.*AWD-LSTM reads word by word"):
        attention(recurrent, "the film")


def test_a_layer_a_head_or_a_place_beyond_the_model_is_told() -> None:
    learn = learner()
    with pytest.raises(ArgumentError, match="no layer 2: the model has 2, numbered from 0 to 1"):
        attention(learn, "the film", 2)
    with pytest.raises(ArgumentError, match="no head -3"):
        attention(learn, "the film", head=-3)
    with pytest.raises(ArgumentError, match="looks at 48 at once"):
        attention(learn, "the film " * 40)
