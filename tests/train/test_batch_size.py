"""Running out of memory: the fit begins again with half the batch, as if the first try had not been."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from resumed_fits import round_trip
from small_learners import line_learner, sign_learner, sign_loaders
from torch import Tensor, nn

from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.nn.optimizers import SGD
from flambeau.train.callback import Callback
from flambeau.train.callbacks.batch_size import AutoBatchSize, is_out_of_memory
from flambeau.train.callbacks.distributed import Distributed
from flambeau.train.callbacks.gradients import GradientAccumulation
from flambeau.train.callbacks.loggers import CSVLogger
from flambeau.train.callbacks.tracker import TrackerCallback
from flambeau.train.learner import Learner

CPU_WORDS = "[enforce fail at alloc_cpu.cpp:117] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"


class Hungry(nn.Module):
    """A linear layer with dropout, for which batches above `limit` are too large from the `after`-th call on."""

    def __init__(self, limit: int, error: Exception, after: int = 0) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)
        self.limit, self.error, self.after, self.sizes = limit, error, after, list[int]()
        self.dropout = 0.3

    def forward(self, x: Tensor) -> Tensor:
        self.sizes.append(len(x))
        if len(x) > self.limit and len(self.sizes) > self.after:
            raise self.error
        return nn.functional.dropout(self.layer(x), self.dropout, self.training)


def hungry_learner(limit: int, bs: int, error: Exception | None = None, after: int = 0, **options: Any) -> Learner:
    torch.manual_seed(0)
    model = Hungry(limit, error or torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), after)
    torch.manual_seed(1)
    return sign_learner(96, dls=sign_loaders(96, bs=bs, seed=2), model=model, **options)


def weights(learn: Learner) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in learn.model.parameters()])


@pytest.mark.parametrize(
    "error",
    [torch.OutOfMemoryError("out of memory"), RuntimeError(CPU_WORDS), MemoryError()],
    ids=["cuda", "cpu", "python"],
)
def test_batches_are_halved_until_they_fit(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    learn = hungry_learner(limit=10, bs=32, error=error)
    learn.fit(1, 0.1, cbs=AutoBatchSize())
    assert (learn.dls.train.bs, learn.dls.valid.bs) == (8, 8)
    assert learn.model.sizes == [32, 16, *[8] * 8, *[8] * 4]
    printed = capsys.readouterr().out
    assert "Batches of 32 do not fit into memory: the training begins again with batches of 16." in printed
    assert "begins again with batches of 8." in printed


def test_the_result_is_that_of_a_training_that_began_so() -> None:
    # it breaks in the second epoch: weights, Adam's moments, dropout and the order of items have to go back
    learn, small = hungry_learner(limit=8, bs=16, after=9), hungry_learner(limit=8, bs=8)
    for each in (learn, small):
        torch.manual_seed(5)
        with each.no_logging():
            each.fit(2, 0.1, cbs=AutoBatchSize())
    assert learn.model.sizes[8:10] == [16, 16]
    assert torch.equal(weights(learn), weights(small))
    assert learn.recorder.losses == small.recorder.losses
    assert len(learn.recorder.rows) == 2


def test_callbacks_begin_again_too(tmp_path: Path) -> None:
    learn, logger, seen = hungry_learner(limit=8, bs=16, after=9, path=tmp_path), CSVLogger(), TrackerCallback()
    with learn.no_logging():
        learn.fit(2, 0.1, cbs=[AutoBatchSize(), logger, seen])
    assert learn.model.sizes[9:11] == [16, 8]  # the first epoch was written when it broke
    assert logger.read_log()["epoch"].tolist() == [0, 1]
    assert seen.best == min(row[1] for row in learn.recorder.values)


def test_accumulated_items_keep_the_steps_of_the_batch_that_did_not_fit() -> None:
    found = []
    for limit in (8, 100):
        learn = hungry_learner(limit=limit, bs=32, opt_func=SGD)
        learn.model.dropout = 0.0
        with learn.no_logging():
            learn.fit(2, 0.1, cbs=[GradientAccumulation(32), AutoBatchSize()])
        found.append(weights(learn))
    assert torch.allclose(*found, atol=1e-6)


def test_a_resumed_training_has_its_smaller_batches_from_the_start() -> None:
    cb, other = AutoBatchSize(), AutoBatchSize()
    first, second = hungry_learner(limit=8, bs=16, cbs=cb), hungry_learner(limit=4, bs=16, cbs=other)

    class Resumes(Callback):
        def before_fit(self) -> None:
            other.load_state_dict(round_trip(cb.state_dict()))

    with first.no_logging(), second.no_logging():
        first.fit(1, 0.1)
        with pytest.raises(TrainingError, match="Batches of 8, which fitted before"):
            second.fit(1, 0.1, cbs=Resumes())
    assert second.model.sizes == [8]


def test_below_the_smallest_size_the_error_says_what_to_do() -> None:
    with pytest.raises(TrainingError, match=r"Even batches of 2 .* smaller pictures.* 2 GiB"):
        hungry_learner(limit=1, bs=4).fit(1, 0.1, cbs=AutoBatchSize(min_bs=2))


def test_any_other_error_is_passed_on() -> None:
    with pytest.raises(RuntimeError, match="shapes"):
        hungry_learner(limit=1, bs=4, error=RuntimeError("shapes do not fit")).fit(1, 0.1, cbs=AutoBatchSize())
    assert not is_out_of_memory(ValueError("out of memory of what you said"))


def test_without_the_callback_nothing_is_caught() -> None:
    with pytest.raises(torch.OutOfMemoryError):
        hungry_learner(limit=1, bs=4).fit(1, 0.1)


def test_several_processes_are_refused_before_the_first_batch() -> None:
    class Together(Distributed):
        """One of several processes, before any has begun."""

        def before_fit(self) -> None:
            raise AssertionError("the fit has begun")

    learn = hungry_learner(limit=64, bs=4)
    learn.add_cbs(Together(SimpleNamespace(process_index=0, num_processes=2)))
    with pytest.raises(ArgumentError, match=r"several processes train together.*one process.*bs="):
        learn.fit(1, 0.1, cbs=AutoBatchSize())


def test_plain_loaders_have_the_batches_they_have() -> None:
    with pytest.raises(ArgumentError, match="a list has the batches it has"):
        line_learner().fit(1, 0.1, cbs=AutoBatchSize())
    with pytest.raises(ArgumentError, match="1 or more; got 0"):
        AutoBatchSize(0)
