"""Language models and classifiers: what they answer, and that padding changes none of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from small_texts import SMALL, documents, language_learner, padded, small_classifier, small_language_model
from torch import Tensor, nn

from flambeau.data.block import CategoryBlock, DataBlock, TransformBlock
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.splitters import IndexSplitter
from flambeau.foundation.errors import ArgumentError, ExportError, ShapeError
from flambeau.nn.losses import CrossEntropyLossFlat
from flambeau.text.awd_lstm import AWD_LSTM, RNNDropout
from flambeau.text.models import (
    LinearDecoder,
    PoolingLinearClassifier,
    SentenceEncoder,
    SequentialRNN,
    get_language_model,
    get_text_classifier,
    masked_concat_pool,
)
from flambeau.text.rnn_callbacks import rnn_cbs
from flambeau.train.checkpoint import read_tensors
from flambeau.train.learner import Learner
from flambeau.train.load_learner import load_learner
from flambeau.train.recipe import describe_model, rebuild_model


class Counting(nn.Module):
    """An encoder whose features are the ids, and which notes what it read, and whether with gradients."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[tuple[list[list[int]], bool]] = []
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, ids: Tensor) -> Tensor:
        self.read.append((ids.tolist(), torch.is_grad_enabled()))
        return ids[:, :, None] * self.scale


def dropout_shares(model: nn.Module) -> dict[str, float]:
    return {name: layer.p for name, layer in model.named_modules() if isinstance(layer, RNNDropout | nn.Dropout)}


def test_a_language_model_gives_a_number_for_each_word_at_each_step() -> None:
    assert small_language_model()(torch.randint(2, 20, (3, 7))).shape == (3, 7, 20)


def test_the_usual_dropouts_are_those_of_ulmfit_times_drop_mult() -> None:
    with torch.device("meta"):
        model = get_language_model(AWD_LSTM, 100, drop_mult=0.5)
        classifier = get_text_classifier(AWD_LSTM, 100, 2, drop_mult=0.5)
    assert model[0].input_dp.p == 0.125
    assert model[0].hidden_dps[0].p == 0.075
    assert model[0].encoder_dp.embed_p == 0.01
    assert model[0].rnns[0].weight_p == 0.1
    assert model[1].output_dp.p == 0.05
    assert model[0].rnns[1].module.weight_hh_l0.shape == (4 * 1152, 1152)
    assert classifier[0].module.rnns[0].weight_p == 0.25
    assert list(dropout_shares(classifier[1]).values()) == [0.2, 0.1]


def test_the_decoder_has_the_weights_of_the_embedding_unless_told_otherwise() -> None:
    tied, free = small_language_model(), small_language_model(tie_weights=False, out_bias=False)
    assert tied[1].decoder.weight is tied[0].encoder.weight
    assert free[1].decoder.weight is not free[0].encoder.weight
    assert free[1].decoder.bias is None


def test_a_reset_of_the_model_reaches_the_encoder() -> None:
    model = small_language_model().eval()
    x = torch.randint(2, 20, (3, 7))
    first = model(x)
    assert not torch.equal(model(x), first)
    model.reset()
    assert torch.equal(model(x), first)


def test_a_language_model_learns_a_periodic_text_by_heart() -> None:
    learn = language_learner(model=small_language_model(drop_mult=0.0), cbs=rnn_cbs(0, 0))
    with learn.no_logging():
        learn.fit(80, 0.05)
    assert learn.validate()[0] < 0.02


@pytest.mark.parametrize(("before", "window"), [(10**9, 5), (10**9, 1), (0, 1), (3, 1)])
def test_a_document_has_one_answer_whatever_it_is_batched_with(before: int, window: int) -> None:
    model = small_classifier().eval()
    texts = documents(3, 5, 7, 18, 33, 1, 40, 12)
    alone = torch.cat([model(text[None]) for text in texts])
    assert (model(padded(texts, before, window)) - alone).abs().max() < 1e-6
    order = [6, 4, 3, 7, 2, 1, 0, 5]
    assert (model(padded([texts[i] for i in order], before, window)) - alone[order]).abs().max() < 1e-6


def test_padding_of_its_own_changes_no_answer_and_no_gradient() -> None:
    model = small_classifier().eval()
    text = documents(13)[0]
    around = torch.cat([torch.ones(6).long(), text, torch.ones(9).long()])[None]
    plain = model(text[None])
    (gradient,) = torch.autograd.grad(plain[0, 0], model[0].module.rnns[0].module.weight_hh_l0)
    (around_gradient,) = torch.autograd.grad(model(around)[0, 0], model[0].module.rnns[0].module.weight_hh_l0)
    torch.testing.assert_close(around_gradient, gradient, atol=1e-7, rtol=1e-5)


def test_a_document_without_a_word_has_an_answer() -> None:
    model = small_classifier().eval()
    empty = torch.ones(1, 1).long()
    assert model(empty).isfinite().all()
    assert (model(padded([*documents(17, 4), empty[0]]))[2:] - model(empty)).abs().max() < 1e-6


def test_windows_read_as_one_pass() -> None:
    encoder = small_classifier(config={**SMALL}).eval()[0].module
    text = documents(23)[0][None]
    whole = SentenceEncoder(23, encoder)(text)[0]
    torch.testing.assert_close(SentenceEncoder(5, encoder)(text)[0], whole)


def test_documents_are_read_from_their_first_word_in_windows_that_end_together() -> None:
    encoder = Counting()
    features, mask = SentenceEncoder(2, encoder)(torch.tensor([[1, 1, 1, 7], [5, 6, 1, 1], [2, 3, 4, 1]]))
    assert [ids for ids, _ in encoder.read] == [[[2, 3]], [[4, 1], [7, 1], [5, 6]]]
    assert features[..., 0].tolist() == [[0, 0, 7, 1], [0, 0, 5, 6], [2, 3, 4, 1]]
    assert (~mask).tolist() == [[False, False, True, False], [False, False, True, True], [True, True, True, False]]


def test_words_before_the_last_ones_are_read_without_gradient_and_left_out() -> None:
    encoder = Counting()
    features, mask = SentenceEncoder(2, encoder, max_len=4)(torch.arange(2, 10)[None])
    assert [learns for _, learns in encoder.read] == [False, False, True, True]
    assert features[0, :, 0].tolist() == [6, 7, 8, 9]
    assert mask.shape == (1, 4)


def test_pooling_takes_the_last_word_the_largest_and_the_mean() -> None:
    output = torch.tensor([[[9.0], [1.0], [4.0], [1.0], [9.0]], [[9.0], [9.0], [9.0], [-2.0], [9.0]]])
    mask = torch.tensor([[True, False, False, False, True], [True, True, True, False, True]])
    assert masked_concat_pool(output, mask, 2).tolist() == [[1, 4, 2], [-2, -2, -2]]


def test_eight_documents_are_learnt_by_heart() -> None:
    torch.manual_seed(0)
    batch = padded(documents(4, 9, 13, 6, 20, 3, 7, 11), window=5), torch.tensor([0, 1, 2, 0, 1, 2, 0, 1])
    loaders = DataLoaders([batch], [batch], device="cpu")
    learn = Learner(loaders, small_classifier(drop_mult=0.1), CrossEntropyLossFlat(), cbs=rnn_cbs())
    with learn.no_logging():
        learn.fit(150, 0.02)
    assert learn.validate()[0] < 0.1


def test_the_head_squeezes_its_output_between_two_numbers() -> None:
    model = small_classifier(1, y_range=(1, 5)).eval()
    model[1].layers[1][-1].weight.data.fill_(1e4)
    answer = model(padded(documents(3, 9)))
    assert ((answer >= 1) & (answer <= 5)).all()


def test_config_may_initialise_each_layer() -> None:
    def zeros(layer: nn.Module) -> None:
        if isinstance(layer, nn.Linear):
            nn.init.zeros_(layer.weight)

    assert not small_language_model(init=zeros)[0].encoder.weight.any()


@pytest.mark.parametrize("make", [small_language_model, small_classifier])
def test_a_model_is_built_again_from_its_settings(make: Any) -> None:
    model = make(config={**SMALL, "weight_p": 0.3}) if make is small_classifier else make(weight_p=0.3)
    weights = model.state_dict()
    again = rebuild_model(describe_model(model), None, weights)
    again.load_state_dict(weights)
    x = padded(documents(3, 9)) % 20
    assert repr(again) == repr(model)
    assert torch.equal(again.eval()(x), model.eval()(x))


def first_word_loaders(n: int = 16) -> DataLoaders:
    """Return loaders of short documents whose first word tells the class."""
    generator = torch.Generator().manual_seed(0)
    items = torch.randint(2, 50, (n, 7), generator=generator).tolist()
    block = DataBlock(
        blocks=(TransformBlock(type_tfms=torch.tensor), CategoryBlock),
        get_y=lambda item: "low" if item[0] < 26 else "high",
        splitter=IndexSplitter(list(range(8, n))),
    )
    return block.dataloaders(items, bs=8, device="cpu")


@pytest.mark.parametrize("language_model", [False, True])
def test_an_export_answers_the_same_and_holds_tied_weights_once(tmp_path: Path, language_model: bool) -> None:
    model = small_language_model(50) if language_model else small_classifier(2)
    learn = Learner(first_word_loaders(), model, CrossEntropyLossFlat(), cbs=rnn_cbs(), path=tmp_path)
    path = learn.export("text.safetensors")
    names = [name for name in read_tensors(path, "flambeau-export")[0] if name.startswith("model.0.")]
    assert sum(name.endswith(("encoder.weight", "emb.weight")) for name in names) == 1
    again = load_learner(path, transforms={"tensor": torch.tensor})
    x = learn.dls.valid.one_batch().inputs[0]
    assert torch.equal(again.model.eval()(x), model.eval()(x))
    if language_model:
        assert again.model[1].decoder.weight is again.model[0].encoder.weight


def test_an_export_of_a_classifier_predicts_a_document(tmp_path: Path) -> None:
    learn = Learner(first_word_loaders(), small_classifier(2), CrossEntropyLossFlat(), cbs=rnn_cbs(), path=tmp_path)
    with learn.no_logging():
        learn.fit(1, 0.01)
    again = load_learner(learn.export("text.safetensors"), transforms={"tensor": torch.tensor})
    item = [5, 40, 3]
    assert torch.equal(again.predict(item)[2], learn.predict(item)[2])


def test_a_learner_in_16_bits_trains_on_the_cpu() -> None:
    learn = language_learner().to_fp16()
    with learn.no_logging():
        learn.fit(1, 0.01)
    assert learn.validate()[0] < 3.5


@pytest.mark.parametrize(
    "changes",
    [
        {"vocab_sz": 10**9},
        {"n_class": 10**9},
        {"config": {**SMALL, "n_hid": 10**7}},
        {"config": {**SMALL, "n_layers": 10**7}},
        {"config": {**SMALL, "weight_p": "much"}},
        {"lin_ftrs": [2] * 5000},
        {"seq_len": 0},
        {"pad_idx": None, "config": 3},
        {"surprise": 1},
    ],
)
def test_settings_beyond_reason_build_nothing(changes: dict[str, Any]) -> None:
    model = small_classifier()
    recipe = {"settings": {**model.settings, **changes}}
    with pytest.raises(ExportError):
        rebuild_model(recipe, None, model.state_dict())


def test_a_window_longer_than_any_layer_is_wide_is_no_harm() -> None:
    model = small_classifier(seq_len=5000, max_len=10**6)
    again = rebuild_model(describe_model(model), None, model.state_dict())
    assert again[0].max_len == 10**6


def test_a_changed_model_is_not_described_by_its_settings() -> None:
    model = small_language_model()
    model[1].decoder.weight = nn.Parameter(model[1].decoder.weight.detach().clone())
    assert "custom" in describe_model(model)


def test_wrong_settings_are_told() -> None:
    with pytest.raises(ArgumentError, match="config has n_hidden, unknown to the model, which has emb_sz, n_hid"):
        get_language_model(AWD_LSTM, 20, {"n_hidden": 3})
    with pytest.raises(ArgumentError, match="are built on: AWD_LSTM"):
        get_language_model(nn.LSTM, 20)
    with pytest.raises(ArgumentError, match="sees the word to predict"):
        small_language_model(bidir=True)
    with pytest.raises(ArgumentError, match="begin with the padding"):
        small_classifier(config={**SMALL, "bidir": True})
    with pytest.raises(ArgumentError, match="2 layers of the head need as many dropouts, but ps has 1"):
        PoolingLinearClassifier([3, 2, 1], [0.1], 72)
    with pytest.raises(ArgumentError, match="max_len a window; got bptt=72, max_len=50"):
        small_classifier(seq_len=72, max_len=50)


def test_shapes_that_do_not_fit_are_told() -> None:
    with pytest.raises(ShapeError, match=r"The decoder's weights \(20, 8\) cannot be those of an embedding of"):
        LinearDecoder(20, 8, tie_encoder=nn.Embedding(20, 9))
    with pytest.raises(ShapeError, match=r"word ids of shape \(documents, time\), got \(4,\)"):
        small_classifier()(torch.tensor([2, 3, 4, 5]))


def test_a_last_part_that_cannot_be_watched_is_told() -> None:
    model = SequentialRNN(AWD_LSTM(20, 4, 6, 2), nn.Linear(4, 20))
    with pytest.raises(ArgumentError, match="last part, Linear, does not let its features be watched"):
        model.watch(lambda raw, dropped: None)
