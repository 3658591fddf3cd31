"""Sharing out an epoch: each item once, equal numbers of steps, the order kept."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from flambeau.data.loaders import DataLoader
from flambeau.data.shares import ShareOfItems, part_sizes, share
from flambeau.foundation.errors import ArgumentError, TrainingError

Rows = torch.utils.data.TensorDataset


def rows(n: int) -> Rows:
    return Rows(torch.arange(n).float().unsqueeze(1), torch.arange(n))


def shares(n: int, bs: int, n_processes: int, **options: Any) -> list[ShareOfItems]:
    loaders = [DataLoader(rows(n), bs, device="cpu", seed=1, **options) for _ in range(n_processes)]
    return [ShareOfItems(loader, place, n_processes) for place, loader in enumerate(loaders)]


def counted(part: Any) -> list[list[int]]:
    """Return the items of each step that count for this process."""
    return [batch.targets[0][: batch.parts[part.place]].tolist() for batch in part]


@pytest.mark.parametrize(
    ("n", "n_processes", "sizes"), [(8, 2, (4, 4)), (5, 3, (1, 2, 2)), (1, 3, (0, 0, 1)), (0, 2, (0, 0))]
)
def test_parts_differ_by_one_at_most(n: int, n_processes: int, sizes: tuple[int, ...]) -> None:
    assert part_sizes(n, n_processes) == sizes


def test_a_step_is_cut_in_the_order_of_the_epoch() -> None:
    first, second = shares(9, 2, 2)
    assert counted(first) == [[0, 1], [4, 5], []]
    assert counted(second) == [[2, 3], [6, 7], [8]]
    assert len(first) == len(second) == 3


def test_a_process_without_an_item_makes_one_that_does_not_count() -> None:
    first, _ = shares(9, 2, 2)
    last = list(first)[-1]
    assert (last.parts, last.n_items, last.n_of_step) == ((0, 1), 1, 1)


def test_shuffled_epochs_are_shared_out_whole_and_anew() -> None:
    parts = shares(9, 2, 2, shuffle=True)
    epochs = [[item for part in parts for step in counted(part) for item in step] for _ in range(2)]
    assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(9))
    assert epochs[0] != epochs[1]


def test_dropping_the_last_batch_drops_an_unfinished_step() -> None:
    first, second = shares(11, 2, 2, drop_last=True)
    assert counted(first) + counted(second) == [[0, 1], [4, 5], [2, 3], [6, 7]]


def test_a_share_knows_the_places_of_the_whole_step() -> None:
    _, second = shares(5, 2, 2)
    assert [list(second.step_indices or []) for _ in second] == [[0, 1, 2, 3], [4]]


def test_ready_batches_are_cut_and_keep_their_order() -> None:
    batches = [(torch.arange(3.0), torch.arange(3)), (torch.arange(1.0), torch.arange(1))]
    first, second = (share(batches, place, 2, None, "cpu", training=True) for place in (0, 1))
    assert counted(first) == [[0], []]
    assert counted(second) == [[1, 2], [0]]


def test_a_step_larger_than_the_data_is_told() -> None:
    loader = DataLoader(rows(9), 8, drop_last=True, device="cpu")
    with pytest.raises(TrainingError, match=r"2 processes with bs=8 take 16 items a step, and there are 9 .* bs=1"):
        share(loader, 0, 2, None, "cpu", training=True)


def test_an_iterable_that_may_differ_between_processes_is_refused() -> None:
    with pytest.raises(ArgumentError, match="cannot share out a dict_values"):
        share({}.values(), 0, 2, None, "cpu", training=True)


def test_a_validation_loader_that_shuffles_is_refused() -> None:
    loader: Any = torch.utils.data.DataLoader(rows(4), shuffle=True)
    with pytest.raises(ArgumentError, match=r"items would count twice.*shuffle=False"):
        share(loader, 0, 2, None, "cpu", training=False)


def test_a_torch_loader_with_an_order_of_its_own_is_refused() -> None:
    loader: Any = torch.utils.data.DataLoader(rows(4), sampler=[3, 1, 0, 2])
    with pytest.raises(ArgumentError, match="only where torch's own samplers choose"):
        share(loader, 0, 2, None, "cpu", training=True)
