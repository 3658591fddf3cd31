from __future__ import annotations

import numpy as np
import pytest
import torch

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError
from flambeau.text.loaders import LMDataLoader, SortedDL, pad_input

DOCUMENTS = [torch.arange(start, start + 10) for start in (0, 100, 200, 300)]


def rows(loader: LMDataLoader) -> tuple[torch.Tensor, torch.Tensor]:
    batches = list(loader)
    return torch.cat([b[0] for b in batches], 1), torch.cat([b[1] for b in batches], 1)


def test_a_language_models_target_is_the_same_text_one_token_on():
    x, y = rows(LMDataLoader(DOCUMENTS, bs=2, seq_len=4))
    stream = torch.cat(DOCUMENTS)
    assert x.tolist() == [stream[:19].tolist(), stream[19:38].tolist()]
    assert y.tolist() == [stream[1:20].tolist(), stream[20:39].tolist()]


def test_each_batch_goes_on_where_the_one_before_ended():
    sizes = [batch[0].shape for batch in LMDataLoader(DOCUMENTS, bs=2, seq_len=8)]
    assert sizes == [(2, 8), (2, 8), (2, 3)]


def test_at_most_one_token_a_row_and_one_is_left_out():
    x, _ = rows(LMDataLoader(DOCUMENTS, bs=3, seq_len=5))
    assert x.numel() == 39


def test_shuffling_changes_the_order_of_documents_and_not_of_their_words():
    loader = LMDataLoader(DOCUMENTS, bs=1, shuffle=True, seq_len=7, seed=3)
    first, second = rows(loader)[0][0].tolist(), rows(loader)[0][0].tolist()
    assert first != second
    for stream in (first, second):
        starts = [at for at, token in enumerate(stream) if token % 100 == 0]
        assert sorted(stream[at] for at in starts) == [0, 100, 200, 300]
        assert all(stream[at : at + 9] == list(range(stream[at], stream[at] + 9)) for at in starts)


def test_the_same_seed_and_epoch_give_the_same_order():
    one, other = (LMDataLoader(DOCUMENTS, bs=2, shuffle=True, seq_len=7, seed=3) for _ in range(2))
    rows(one)
    other.epoch = 1
    assert rows(one)[0].tolist() == rows(other)[0].tolist()


def test_batches_from_a_place_on_are_those_of_the_whole_epoch():
    whole, rest = (LMDataLoader(DOCUMENTS, bs=2, shuffle=True, seq_len=4, seed=3) for _ in range(2))
    expected = [batch[0].tolist() for batch in whole][2:]
    assert [batch[0].tolist() for batch in rest.batches(2)] == expected


def test_one_batch_is_the_first_and_is_not_used_up():
    loader = LMDataLoader(DOCUMENTS, bs=2, seq_len=4)
    assert loader.one_batch()[0].tolist() == next(iter(loader))[0].tolist()


def test_a_new_loader_keeps_the_length_of_its_rows():
    loader = LMDataLoader(DOCUMENTS, bs=2, seq_len=5).new(bs=3)
    assert (loader.bs, loader.seq_len) == (3, 5)
    assert next(iter(loader))[0].shape == (3, 5)


def test_fewer_tokens_than_rows_are_told():
    with pytest.raises(ArgumentError, match="3 tokens in all, too few for 8 rows"):
        LMDataLoader([torch.tensor([1, 2, 3])], bs=8)


def test_a_row_of_no_token_is_refused():
    with pytest.raises(ArgumentError, match="seq_len"):
        LMDataLoader(DOCUMENTS, seq_len=0)


def documents_of(lengths: list[int]) -> list[tuple[torch.Tensor, int]]:
    return [(torch.full((length,), place), place) for place, length in enumerate(lengths)]


def lengths_of(n: int) -> list[int]:
    return np.random.default_rng(0).integers(5, 400, n).tolist()


def test_validation_is_sorted_by_length_the_longest_first():
    loader = SortedDL(documents_of([3, 9, 5, 7]), bs=2, before_batch=pad_input)
    assert [list(batch.indices) for batch in loader] == [[1, 3], [2, 0]]


def test_training_serves_each_item_once_and_the_longest_first():
    lengths = lengths_of(1000)
    loader = SortedDL(documents_of(lengths), bs=8, shuffle=True, before_batch=pad_input, seed=1)
    served = [list(batch.indices) for batch in loader]
    assert sorted(place for batch in served for place in batch) == list(range(1000))
    assert max(lengths) == lengths[served[0][0]]
    assert served != [list(batch.indices) for batch in loader]


def test_a_last_batch_that_is_not_full_comes_last():
    loader = SortedDL(documents_of(lengths_of(103)), bs=10, shuffle=True, before_batch=pad_input, seed=1)
    assert [len(batch[1]) for batch in loader] == [10] * 10 + [3]


def test_sorted_batches_waste_little_on_padding():
    loader = SortedDL(documents_of(lengths_of(3200)), bs=16, shuffle=True, before_batch=pad_input, seed=1)
    shapes = [(batch[0].shape, [loader.lengths[place] for place in batch.indices]) for batch in loader]
    used, held = sum(sum(lengths) for _, lengths in shapes), sum(shape.numel() for shape, _ in shapes)
    assert used / held > 0.95


def test_lengths_come_from_a_function_where_one_is_given():
    loader = SortedDL([3, 1, 2], bs=1, sort_func=lambda number: number)
    assert [batch[0].item() for batch in loader] == [3, 2, 1]


def test_lengths_of_another_number_of_items_are_refused():
    with pytest.raises(ArgumentError, match="3 items, but 2 lengths"):
        list(SortedDL([3, 1, 2], bs=1, res=[1, 2]))


def test_texts_are_filled_up_at_the_end_or_in_front():
    samples = [(torch.tensor([5, 6]), 0), (torch.tensor([7]), 1)]
    assert [sample[0].tolist() for sample in pad_input(samples)] == [[5, 6], [7, 1]]
    assert [sample[0].tolist() for sample in pad_input(samples, pad_first=True)] == [[5, 6], [1, 7]]


def test_loaders_of_token_lists_work_as_data_loaders():
    dls = DataLoaders(LMDataLoader(DOCUMENTS, bs=2, seq_len=4), LMDataLoader(DOCUMENTS, bs=2, seq_len=4))
    x, y = dls.one_batch()
    assert x.shape == y.shape == (2, 4)
