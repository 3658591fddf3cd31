"""What the tests of several processes run: in one process, and under torchrun in two that write what they saw.

    python -m torch.distributed.run --standalone --nproc-per-node 2 several_processes.py FOLDER
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.loaders import DataLoader
from flambeau.foundation.errors import ArgumentError, TrainingError
from flambeau.foundation.seeds import set_seed
from flambeau.nn.metric import Metric
from flambeau.nn.metrics import accuracy
from flambeau.train.callback import Callback
from flambeau.train.callbacks.distributed import once
from flambeau.train.callbacks.gradients import GradientAccumulation
from flambeau.train.callbacks.terminate import TerminateOnNaNCallback
from flambeau.train.learner import Learner

N_TRAIN, N_VALID, N_PROCESSES = 43, 17, 2  # neither is a multiple of anything


class Points(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """Points and the sign of their sum; notes which were read."""

    def __init__(self, n: int, seed: int) -> None:
        self.x = torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))
        self.y = (self.x.sum(1) > 0).long()
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        self.read.append(place)
        return self.x[place], self.y[place]


class CountItems(Metric):
    """Count the items: a metric of a user's own, which knows nothing of processes."""

    def reset(self) -> None:
        self.n = 0

    def update(self, prediction: Tensor, *targets: Tensor) -> None:
        self.n += len(targets[0])

    def compute(self) -> float:
        return float(self.n)


def middle(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return what is no mean over batches: the median of a class's predictions."""
    return predictions[:, 0].median()


def learner(bs: int, drop_last: bool = False, model: nn.Module | None = None, **options: Any) -> Learner:
    torch.manual_seed(0)
    train = DataLoader(Points(N_TRAIN, 0), bs, shuffle=True, drop_last=drop_last, seed=5, device="cpu", cache="none")
    valid = DataLoader(Points(N_VALID, 1), bs, device="cpu")
    model = model or nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
    metrics = [accuracy, "f1_score", middle, CountItems()]
    dls = DataLoaders(train, valid, device="cpu")
    return Learner(dls, model, loss_func=nn.functional.cross_entropy, metrics=metrics, **options)


def halves(model: nn.Module) -> list[list[nn.Parameter]]:
    return [list(model[0].parameters()), list(model[2].parameters())]


def weights(learn: Learner) -> dict[str, list[float]]:
    return {name: value.double().reshape(-1).tolist() for name, value in learn.model.state_dict().items()}


def fit(learn: Learner) -> None:
    learn.fit_one_cycle(1, 0.05)


def fit_accumulating(learn: Learner) -> None:
    learn.fit(1, 0.05, cbs=GradientAccumulation(24))


def tune(learn: Learner) -> None:
    learn.fine_tune(1, 0.05)


TRAININGS: dict[str, tuple[Callable[[Learner], None], dict[str, Any]]] = {
    "one cycle": (fit, {}),
    "last batch dropped": (fit, {"drop_last": True}),
    "accumulated": (fit_accumulating, {}),
    "frozen and unfrozen": (tune, {"splitter": halves}),
}


class NamesWhileTraining(Callback):
    """Note the layers' names in the middle of a training."""

    def after_batch(self) -> None:
        self.names = list(self.learn.model.state_dict())


def torch_loader(n: int, **options: Any) -> torch.utils.data.DataLoader[Any]:
    return torch.utils.data.DataLoader(Points(n, 0), batch_size=4, **options)


def refusal(make: Callable[[], Any]) -> str:
    try:
        make()
    except (ArgumentError, TrainingError) as error:
        return str(error)
    return "nothing was refused"


def fit_plain(train: Any) -> Learner:
    """Train on a loader that is not flambeau's."""
    torch.manual_seed(0)
    dls = DataLoaders(train, [(torch.ones(3, 4), torch.ones(3).long())], device="cpu")
    learn = Learner(dls, nn.Linear(4, 2), loss_func=nn.functional.cross_entropy, metrics=[CountItems()])
    with learn.no_logging(), learn.distributed():
        learn.fit(1, 0.05)
    return learn


def ready_batches() -> list[tuple[Tensor, Tensor]]:
    points = Points(11, 0)
    return [(points.x[:6], points.y[:6]), (points.x[6:], points.y[6:])]


class PowerCut(Callback):
    """End the run in all processes, in the middle of its second epoch."""

    order = 200

    def after_batch(self) -> None:
        if self.training and (self.epoch, self.iter) == (1, 2):
            raise KeyboardInterrupt


def kept_run(path: Path, seed: int, cbs: Any = None, resume: bool = False) -> Learner:
    """Train a model with dropout and batch norm, keeping the run after each batch."""
    set_seed(seed)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
    learn = learner(4, model=model, drop_last=True, path=path)
    with suppress(KeyboardInterrupt), learn.no_logging(), learn.distributed():
        learn.fit_one_cycle(3, 0.05, cbs=cbs, checkpoint=1, resume=resume)
    return learn


def see_everything(folder: Path) -> dict[str, Any]:
    """Train, validate and predict in every way; return what this process saw."""
    saw: dict[str, Any] = {"weights": {}}
    for name, (train, options) in TRAININGS.items():
        learn = learner(4, **options)
        with learn.no_logging(), learn.distributed():
            train(learn)
        saw["weights"][name] = weights(learn)

    learn = learner(4)
    noted = NamesWhileTraining()
    with learn.distributed():
        learn.fit(2, 0.05, cbs=noted)
        saw["read"] = list(learn.dls.train_ds.read)
        saw["history"] = [list(map(float, row)) for row in learn.recorder.values]
        saw["losses"] = learn.recorder.raw_losses
        saw["validated"] = learn.validate()
        inputs, preds, targets, losses = learn.get_preds(with_input=True, with_loss=True)
        saw["predicted"] = [value.double().tolist() for value in (inputs, preds, targets, losses)]
        saw["file"] = str(learn.save(folder / "kept"))
        saw["answer"] = once(learn, lambda: (folder / "writers").open("a").write("one\n"))
        saw["n_sweep"] = len(learn.lr_find(num_it=20, show_plot=False, stop_div=False).losses)
        saw["torch chance"], saw["names"] = float(torch.rand(())), noted.names
    saw["callbacks left"] = [type(cb).__name__ for cb in learn.cbs]

    norm = learner(4, model=nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 2)), drop_last=True)
    with norm.no_logging(), norm.distributed():
        norm.fit(1, 0.05)
    saw["norm"] = weights(norm)

    whole, broken = kept_run(folder / "whole", 1), kept_run(folder / "broken", 1, PowerCut())
    resumed = kept_run(folder / "broken", 2, resume=True)
    saw["n_epochs kept"] = [len(learn.recorder.rows) for learn in (whole, broken, resumed)]
    saw["whole run"] = [weights(whole), whole.recorder.raw_losses]
    saw["resumed run"] = [weights(resumed), resumed.recorder.raw_losses]

    spoilt = learner(4)
    if os.environ["RANK"] == "1":
        spoilt.dls.train_ds.x[7] = torch.nan
    ending = TerminateOnNaNCallback()
    with spoilt.no_logging(), spoilt.distributed():
        spoilt.fit(1, 0.05, cbs=ending)
    saw["found"] = ending.found

    saw["torch loader"] = fit_plain(torch_loader(43, shuffle=True, drop_last=True)).dls.train_ds.read
    plain = fit_plain(ready_batches())
    saw["plain"], saw["plain values"] = weights(plain), list(map(float, plain.recorder.final_record))
    saw["uneven torch loader"] = refusal(lambda: fit_plain(torch_loader(43, shuffle=True)))

    def other_data() -> None:
        split = learner(4)
        split.dls.loaders[0] = DataLoader(Points(40 + int(os.environ["RANK"]), 0), 4, device="cpu")
        with split.distributed():
            pass

    saw["other data"] = refusal(other_data)

    def too_few() -> None:
        few = learner(40, drop_last=True)
        with few.no_logging(), few.distributed():
            few.fit(1)

    saw["too few"] = refusal(too_few)
    return saw


if __name__ == "__main__":
    torch.set_num_threads(1)
    folder, place = Path(sys.argv[1]), os.environ["RANK"]
    if "fail" in sys.argv:
        with learner(4).distributed() as failing:
            if place == "1":
                raise ArgumentError("this is why")
            failing.fit(1)
    (folder / f"saw{place}.json").write_text(json.dumps(see_everything(folder)))
