"""The loop's own cost: a one-layer model on ready-made batches, validation with two metrics, the optimizer step."""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parent))
from timing import compare, has_fastai

from flambeau.data.data_loaders import DataLoaders
from flambeau.nn.metrics import mae, mse
from flambeau.nn.optimizers import Adam
from flambeau.train.callback import Callback
from flambeau.train.callbacks.tracker import EarlyStoppingCallback, TrackerCallback
from flambeau.train.learner import Learner


def main() -> None:
    """Print the table of ratios."""
    torch.manual_seed(0)
    x = torch.randn(32_000, 10)
    y = x @ torch.randn(10, 1)
    batches = [(x[i : i + 64], y[i : i + 64]) for i in range(0, len(x), 64)]
    train_only, both = DataLoaders(batches), DataLoaders(batches, batches)

    def bare_fit() -> None:
        model = nn.Linear(10, 1)
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, eps=1e-5, fused=True)
        for a, b in batches:
            F.mse_loss(model(a), b).backward()
            optimizer.step()
            optimizer.zero_grad()

    def our_fit() -> None:
        learn = Learner(train_only, nn.Linear(10, 1), loss_func=F.mse_loss)
        with learn.no_logging():
            learn.fit(1, 1e-3)

    def idle_fit() -> None:
        learn = Learner(train_only, nn.Linear(10, 1), loss_func=F.mse_loss)
        learn.add_cbs([Callback() for _ in range(10)])
        learn.add_cbs([EarlyStoppingCallback("train_loss", patience=9), TrackerCallback("train_loss")])
        with learn.no_logging():
            learn.fit(1, 1e-3)

    model = nn.Linear(10, 1)
    learner = Learner(both, model, loss_func=F.mse_loss, metrics=[mae, mse])

    @torch.no_grad()
    def bare_validation() -> list[float]:
        total, first, second = torch.zeros(()), torch.zeros(()), torch.zeros(())
        for a, b in batches:
            prediction: Tensor = model(a)
            total += F.mse_loss(prediction, b) * len(a)
            first += (prediction - b).abs().mean() * len(a)
            second += ((prediction - b) ** 2).mean() * len(a)
        return [float(value) / len(x) for value in (total, first, second)]

    sides = {
        "fit": {"bare": bare_fit, "flambeau": our_fit},
        "valid": {"bare": bare_validation, "flambeau": learner.validate},
    }
    if has_fastai():
        from fastai.basics import DataLoaders as FastaiLoaders
        from fastai.basics import Learner as FastaiLearner
        from fastai.basics import mae as fastai_mae
        from fastai.basics import mse as fastai_mse
        from fastai.callback import progress  # noqa: F401 (gives Learner its no_bar)

        fastai_dls = FastaiLoaders(batches, batches)
        fastai_learner = FastaiLearner(fastai_dls, model, loss_func=F.mse_loss, metrics=[fastai_mae, fastai_mse])

        def fastai_fit() -> None:
            learn = FastaiLearner(FastaiLoaders(batches, batches[:1]), nn.Linear(10, 1), loss_func=F.mse_loss)
            with learn.no_bar(), learn.no_logging():
                learn.fit(1, 1e-3)

        def fastai_validation() -> None:
            with fastai_learner.no_bar():
                fastai_learner.validate()

        sides["fit"]["fastai"], sides["valid"]["fastai"] = fastai_fit, fastai_validation
    compare("500 batches, one-layer model", "<= 1.3", **sides["fit"])
    compare("the same, 12 callbacks that wait for no batch", "<= 1.3", bare=bare_fit, flambeau=idle_fit)
    compare("validation, two metrics", "<= 2", **sides["valid"])
    optimizer_step()


def optimizer_step() -> None:
    """Compare the step on resnet18's parameters with torch's fused AdamW."""
    from torchvision.models import resnet18

    def stepper(make: object) -> object:
        network = resnet18()
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer = make(network)  # type: ignore[operator]

        def step() -> None:
            for _ in range(10):
                optimizer.step()

        return step

    compare(
        "optimizer step, resnet18 (x10)",
        "<= 1.05",
        bare=stepper(lambda net: torch.optim.AdamW(net.parameters(), lr=1e-3, fused=True)),  # type: ignore[arg-type]
        flambeau=stepper(lambda net: Adam(net.parameters(), lr=1e-3)),  # type: ignore[arg-type]
        **(
            {"fastai": stepper(lambda net: _fastai_adam(net))}  # type: ignore[dict-item]
            if has_fastai()
            else {}
        ),
    )


def _fastai_adam(network: nn.Module) -> object:
    from fastai.optimizer import Adam as FastaiAdam

    return FastaiAdam(list(network.parameters()), lr=1e-3)


if __name__ == "__main__":
    main()
