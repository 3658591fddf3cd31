"""The AWD-LSTM: its dropouts, its weights and the state it carries."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError
from flambeau.nn.param_groups import group_params
from flambeau.text.awd_lstm import (
    AWD_LSTM,
    EmbeddingDropout,
    RNNDropout,
    WeightDropout,
    awd_lstm_clas_config,
    awd_lstm_clas_split,
    awd_lstm_lm_config,
    awd_lstm_lm_split,
    dropout_mask,
)
from flambeau.text.models import get_language_model, get_text_classifier


def small_encoder(**settings: object) -> AWD_LSTM:
    torch.manual_seed(0)
    return AWD_LSTM(20, **{"emb_sz": 4, "n_hid": 6, "n_layers": 2, **settings})  # type: ignore[arg-type]


def word_ids(rows: int, time: int) -> Tensor:
    return torch.randint(2, 20, (rows, time), generator=torch.Generator().manual_seed(1))


def test_a_dropout_mask_holds_zeros_and_what_keeps_the_mean() -> None:
    torch.manual_seed(0)
    mask = dropout_mask(torch.zeros(1), (100, 100), 0.2)
    assert mask.unique().tolist() == [0.0, 1.25]
    assert mask.mean().item() == pytest.approx(1.0, abs=0.02)


def test_a_feature_is_dropped_at_all_steps_of_a_document() -> None:
    torch.manual_seed(0)
    thinned = RNNDropout(0.5)(torch.ones(8, 10, 16))
    assert (thinned == thinned[:, :1]).all()
    assert not (thinned[0] == thinned[1]).all()
    assert thinned.unique().tolist() == [0.0, 2.0]


def test_a_dropped_word_is_dropped_wherever_it_stands() -> None:
    torch.manual_seed(0)
    emb = nn.Embedding(10, 3)
    vectors = EmbeddingDropout(emb, 0.5)(torch.arange(10).repeat(2, 2))
    assert (vectors[0] == vectors[1]).all()
    assert (vectors[:, :10] == vectors[:, 10:]).all()
    factors = (vectors[0, :10] / emb.weight).detach().round(decimals=3)
    assert factors.unique().tolist() == [0.0, 2.0]


def test_dropped_weights_keep_their_mean_and_the_own_ones_stay() -> None:
    torch.manual_seed(0)
    layer = WeightDropout(nn.Linear(4, 1, bias=False), 0.5, "weight")
    before = layer.module.weight.clone()
    answers = torch.cat([layer(torch.eye(4)) for _ in range(2000)], 1)
    assert answers.mean(1).tolist() == pytest.approx(before[0].tolist(), abs=0.05)
    assert (layer.module.weight == before).all()


def test_weight_dropout_draws_anew_for_each_call_and_teaches_the_own_weights() -> None:
    torch.manual_seed(0)
    layer = WeightDropout(nn.LSTM(3, 5, batch_first=True), 0.5)
    x = torch.randn(2, 4, 3)
    one, other = layer(x)[0], layer(x)[0]
    assert not torch.equal(one, other)
    one.sum().backward()
    gradient = layer.module.weight_hh_l0.grad
    assert 0.3 < (gradient == 0).float().mean() < 0.7


def test_dropouts_do_nothing_in_evaluation() -> None:
    encoder = small_encoder().eval()
    plain = small_encoder(hidden_p=0, input_p=0, embed_p=0, weight_p=0)
    x = word_ids(3, 7)
    torch.testing.assert_close(encoder(x), plain(x))


def test_without_dropout_the_encoder_is_a_stack_of_lstm_layers() -> None:
    encoder = small_encoder(hidden_p=0, input_p=0, embed_p=0, weight_p=0)
    x = word_ids(3, 7)
    features = encoder.encoder(x)
    for rnn in encoder.rnns:
        features, _ = rnn.module(features)
    torch.testing.assert_close(encoder(x), features)


def test_a_step_warns_of_nothing() -> None:
    encoder = small_encoder()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder(word_ids(3, 7)).sum().backward()


def test_words_in_two_batches_read_as_in_one() -> None:
    encoder = small_encoder().eval()
    x = word_ids(3, 10)
    parts = torch.cat([encoder(x[:, :4]), encoder(x[:, 4:])], 1)
    encoder.reset()
    torch.testing.assert_close(parts, encoder(x))


def test_a_reset_forgets_what_was_read() -> None:
    encoder = small_encoder().eval()
    x = word_ids(3, 5)
    first, second = encoder(x), encoder(x)
    encoder.reset()
    assert torch.equal(encoder(x), first)
    assert not torch.equal(first, second)


def test_the_carried_state_is_cut_from_the_graph_and_in_no_weights_file() -> None:
    encoder = small_encoder()
    names = list(encoder.state_dict())
    encoder(word_ids(3, 5))
    assert encoder.hidden is not None
    assert not encoder.hidden[0][0].requires_grad
    assert list(encoder.state_dict()) == names


def test_fewer_rows_go_on_and_more_rows_begin_anew() -> None:
    encoder = small_encoder().eval()
    x, y = word_ids(4, 5), word_ids(4, 6)
    encoder(x)
    of_all = encoder(y)
    encoder.reset()
    encoder(x)
    torch.testing.assert_close(encoder(y[:2]), of_all[:2])
    encoder.reset()
    encoder(x[:2])
    torch.testing.assert_close(encoder(y)[:2], of_all[:2])
    encoder.reset()
    new = encoder(y[2:])
    encoder.reset()
    encoder(x[:2])
    torch.testing.assert_close(encoder(y)[2:], new)


def test_a_state_of_half_precision_goes_on_in_full() -> None:
    encoder = small_encoder().eval()
    encoder(word_ids(2, 3))
    assert encoder.hidden is not None
    encoder.hidden = [(h.half(), c.half()) for h, c in encoder.hidden]
    assert encoder(word_ids(2, 3)).dtype == torch.float32


def test_under_16_bits_the_cpu_computes_in_full_precision() -> None:
    encoder, x = small_encoder().eval(), word_ids(2, 3)
    plain = encoder(x)
    encoder.reset()
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(encoder(x), plain)


def test_vectors_may_stand_for_ids() -> None:
    encoder = small_encoder().eval()
    x = word_ids(2, 3)
    from_ids = encoder(x)
    encoder.reset()
    torch.testing.assert_close(encoder(encoder.encoder(x), from_embeds=True), from_ids)


def test_two_directions_share_the_features() -> None:
    encoder = small_encoder(bidir=True)
    assert encoder(word_ids(2, 3)).shape == (2, 3, 4)
    encoder.eval()
    torch.manual_seed(3)
    assert encoder(word_ids(5, 3)).shape == (5, 3, 4)


def test_the_layer_groups_of_a_language_model_are_its_layers_and_the_embedding() -> None:
    model = get_language_model(AWD_LSTM, 20, {**awd_lstm_lm_config, "emb_sz": 4, "n_hid": 6})
    groups = [group_params(group) for group in awd_lstm_lm_split(model)]
    assert [len(group) for group in groups] == [4, 4, 4, 2]
    assert groups[3][0] is model[0].encoder.weight
    assert sum(map(len, groups)) == len(list(model.parameters()))


def test_the_layer_groups_of_a_classifier_are_embedding_layers_and_head() -> None:
    model = get_text_classifier(AWD_LSTM, 20, 2, config={**awd_lstm_clas_config, "emb_sz": 4, "n_hid": 6})
    groups = [group_params(group) for group in awd_lstm_clas_split(model)]
    assert [len(group) for group in groups] == [1, 4, 4, 4, 6]
    assert sum(map(len, groups)) == len(list(model.parameters()))


def test_a_share_beyond_one_and_weights_that_are_not_there_are_told() -> None:
    with pytest.raises(ArgumentError, match=r"weight_p is the share that is dropped.*got 1.5"):
        small_encoder(weight_p=1.5)
    with pytest.raises(ArgumentError, match="was to drop weight_hh_l0, which Linear has not; its weights are"):
        WeightDropout(nn.Linear(2, 2), 0.1)
    with pytest.raises(ArgumentError, match="even sizes for two directions"):
        small_encoder(n_hid=5, bidir=True)
