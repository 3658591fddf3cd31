"""The recorder: after reading it you know where the numbers in the table of epochs come from.

The training loss shown is the exponential average of the batches' losses (as in fastai), the validation loss and the
metrics are over the whole validation set. No number is asked of the device before an epoch's half is over.
"""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from flambeau.foundation.drawing import Drawing
from flambeau.foundation.errors import ArgumentError, FlambeauError, TrainingError
from flambeau.foundation.lists import L
from flambeau.nn.optimizers import get_hyper
from flambeau.train.callback import Callback

if TYPE_CHECKING:
    import pandas as pd

SMOOTHING = 0.98


def _told(error: Exception, metric: Any, where: str) -> Exception:
    """Return what to raise where a metric failed: an error that names it, unless flambeau's own words say all."""
    if isinstance(error, FlambeauError):
        return error
    return TrainingError(
        f"The metric {metric.name!r} failed on {where} of a validation: {type(error).__name__}: {error}. It gets the "
        "predictions and targets, and must return a number. The weights are sound: mend it, or leave it out of metrics."
    )


class Recorder(Callback):
    """Keep losses, learning rates and metrics.

    `values` holds a row an epoch (train loss, validation loss, metrics), `losses` the smoothed loss of each training
    batch since the last fit began, `lrs` the head's learning rate of each; `history` is a data frame of all fits.
    `n_fits` counts the fits that were begun, `n_completed` those that came to an end.
    """

    order = 50

    def __init__(self) -> None:
        self.values: L[L[float]] = L()
        self.losses: list[float] = []
        self.raw_losses: list[float] = []
        self.lrs: list[float] = []
        self.hps: dict[str, list[float]] = {}
        self.iters: list[int] = []
        self.final_record: L[float] = L()
        self.rows: list[dict[str, Any]] = []
        self.log: list[float] = []
        self._pending: list[Tensor] = []
        self._valid: list[tuple[Tensor, int]] = []
        self._validated: list[float] = []
        self._started = 0.0
        self._smooth, self._n_smooth = 0.0, 0
        self.n_fits = 0
        self.n_completed = 0
        self.run: str | None = None
        """A name that the checkpoints of all fits of one run share (None: nothing was kept yet)."""
        self.fits: list[dict[str, Any]] = []
        """The settings of each fit, for the record of the run."""

    @property
    def metric_names(self) -> L[str]:
        """The columns of the table of epochs."""
        names = [metric.name for metric in self.learn.metrics]
        return L(["epoch", "train_loss", *(["valid_loss", *names] if len(self.learn.dls) > 1 else []), "time"])

    @property
    def history(self) -> pd.DataFrame:
        """All epochs of all fits as a data frame."""
        import pandas as pd

        return pd.DataFrame(self.rows)

    def before_fit(self) -> None:
        self.values, self.losses, self.raw_losses, self.iters = L(), [], [], []
        self.hps = {"lr": [], "mom": []}
        self.lrs = self.hps["lr"]
        self._pending, self._smooth, self._n_smooth = [], 0.0, 0
        self.log, self._started = [], time.perf_counter()
        self.n_fits += 1

    def before_epoch(self) -> None:
        self._started = time.perf_counter()
        self.log = []

    def after_batch(self) -> None:
        learn = self.learn
        if learn.loss is None:  # there were no targets, or a callback cancelled the batch
            return
        if not learn.training:
            self._valid.append((learn.loss.detach(), learn.batch.n_items))
            for metric in learn.metrics:
                try:
                    metric.update_with_loss(learn.loss, learn.pred, *learn.yb)
                except Exception as error:
                    raise _told(error, metric, f"batch {learn.iter}") from error
            return
        self._pending.append(learn.loss.detach())
        group = learn.optimizer.param_groups[-1]
        self.hps["lr"].append(float(group["lr"]))
        self.hps["mom"].append(group["betas"][0] if "betas" in group else group.get("momentum", math.nan))

    def smooth_loss(self) -> float:
        """Return the smoothed training loss of the batches so far; waits for the device."""
        if self._pending:
            for loss in torch.stack([loss.float() for loss in self._pending]).tolist():
                self.raw_losses.append(loss)
                self._smooth = self._smooth * SMOOTHING + loss * (1 - SMOOTHING)
                self._n_smooth += 1
                # without this division the first values would be drawn towards 0 (Kingma 2014, bias correction)
                self.losses.append(self._smooth / (1 - SMOOTHING**self._n_smooth))
            self._pending = []
        return self.losses[-1] if self.losses else math.nan

    def after_train(self) -> None:
        self.log.append(self.smooth_loss())

    def before_validate(self) -> None:
        self._valid = []
        for metric in self.learn.metrics:
            metric.reset()

    def after_validate(self) -> None:
        self._validated = self._measured()
        self._valid = []  # a validation cancelled before its first batch must not show the numbers of this one
        self.log += self._validated

    def validation_values(self) -> list[float]:
        """Return the loss and the metrics of the last validation."""
        return list(self._validated)

    def _measured(self) -> list[float]:
        if not self._valid:
            return [math.nan, *(math.nan for _ in self.learn.metrics)]
        losses = torch.stack([loss.float().reshape(()) for loss, _ in self._valid])
        sizes = torch.tensor([n for _, n in self._valid], dtype=losses.dtype, device=losses.device)
        mean = float((losses * sizes).sum() / sizes.sum())
        values = [mean]
        for metric in self.learn.metrics:
            try:
                values.append(float(metric.compute()))
            except Exception as error:
                raise _told(error, metric, "the whole set") from error
        return values

    def after_epoch(self) -> None:
        seconds = time.perf_counter() - self._started
        self.values.append(L(self.log))
        self.iters.append(len(self.losses))
        self.final_record = L(self.log)
        names = self.metric_names[1:-1]
        numbers = dict(zip(names, self.log, strict=False))
        self.rows.append({"fit": self.n_fits, "epoch": self.learn.epoch, **numbers, "time": round(seconds, 2)})
        self.log = []

    def after_fit(self) -> None:
        self.smooth_loss()
        self.n_completed += self.learn.completed
        if self.losses:
            self.hps = {name: values for name, values in self.hps.items() if not all(math.isnan(v) for v in values)}

    def state_dict(self) -> dict[str, Any]:
        self.smooth_loss()
        numbers = {"losses": self.losses, "raw_losses": self.raw_losses}
        return {
            "values": [list(row) for row in self.values],
            "final_record": list(self.final_record),
            "log": list(self.log),
            "iters": list(self.iters),
            "rows": [dict(row) for row in self.rows],
            "smooth": [self._smooth, self._n_smooth],
            "n_fits": self.n_fits,
            "n_completed": self.n_completed,
            "run": self.run,
            "fits": list(self.fits),
            "seconds": time.perf_counter() - self._started,
            # a number a batch: too many for JSON
            **{name: torch.tensor(values, dtype=torch.float64) for name, values in numbers.items()},
            "hps": {name: torch.tensor(values, dtype=torch.float64) for name, values in self.hps.items()},
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.values, self.final_record = L(L(row) for row in state["values"]), L(state["final_record"])
        self.log, self.iters, self.rows = state["log"], state["iters"], state["rows"]
        self.losses, self.raw_losses = state["losses"].tolist(), state["raw_losses"].tolist()
        self.hps = {name: values.tolist() for name, values in state["hps"].items()}
        self.lrs = self.hps["lr"]
        (self._smooth, self._n_smooth), self.n_fits = state["smooth"], state["n_fits"]
        self.n_completed, self.run, self.fits = state["n_completed"], state["run"], state["fits"]
        self._pending, self._started = [], time.perf_counter() - state["seconds"]

    def rates(self) -> list[float]:
        """Return the learning rate of each layer group now."""
        return get_hyper(self.learn.optimizer, "lr")

    def plot_loss(
        self, skip_start: int = 5, with_valid: bool = True, log: bool = False, show_epochs: bool = False, ax: Any = None
    ) -> Drawing:
        """Draw the training loss of each batch of the last fit, and the validation loss of each epoch.

        Raises:
            ArgumentError: nothing has been trained yet.
        """
        import matplotlib.pyplot as plt

        if not self.losses:
            raise ArgumentError("There is no loss to plot yet: call fit, fit_one_cycle or fine_tune first.")
        skip_start = skip_start if len(self.losses) > 2 * skip_start else 0
        ax = ax if ax is not None else plt.subplots(figsize=(6.4, 4), layout="constrained")[1]
        ax.plot(range(skip_start, len(self.losses)), self.losses[skip_start:], label="training (smoothed)")
        valid = [(at - 1, row[1]) for at, row in zip(self.iters, self.values, strict=False) if len(row) > 1]
        if with_valid and valid:
            ax.plot(*zip(*valid, strict=True), "o-", label="validation")
        for at in self.iters[:-1] if show_epochs else ():
            ax.axvline(at, color="0.85", linewidth=1, zorder=0)
        ax.set(xlabel="batch", ylabel="loss", yscale="log" if log else "linear")
        ax.legend(frameon=False)
        return Drawing(ax.figure)

    def plot_sched(self, keys: Any = None, figsize: tuple[float, float] | None = None) -> Drawing:
        """Draw how the learning rate and momentum went over the batches of the last fit."""
        import matplotlib.pyplot as plt

        keys = [keys] if isinstance(keys, str) else list(keys or self.hps)
        unknown = [key for key in keys if key not in self.hps]
        if unknown or not self.losses:
            raise ArgumentError(f"No schedule of {unknown or keys} was recorded; recorded: {sorted(self.hps)}.")
        figsize = figsize or (5 * len(keys), 3.4)
        figure, axes = plt.subplots(1, len(keys), figsize=figsize, squeeze=False, layout="constrained")
        for key, ax in zip(keys, axes.flat, strict=True):
            ax.plot(self.hps[key])
            ax.set(xlabel="batch", ylabel={"lr": "learning rate", "mom": "momentum"}.get(key, key))
        return Drawing(figure)
