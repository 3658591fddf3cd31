"""The learner: after reading it you know the verbs that a user has, and in which file each of them is explained."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.foundation.errors import ArgumentError, TrainingError, unknown_name
from flambeau.foundation.paths import Path
from flambeau.nn.losses import activation_of
from flambeau.nn.metrics import as_metric
from flambeau.nn.optimizers import Adam, get_hyper, set_hyper
from flambeau.nn.param_groups import LearningRate, build_param_groups, freeze_groups, params, spread
from flambeau.nn.schedules import SchedCos, SchedNo, combine_scheds, combined_cos
from flambeau.train import inference
from flambeau.train.callback import Callback
from flambeau.train.callbacks.batch_size import AutoBatchSize
from flambeau.train.callbacks.channels_last import ChannelsLast
from flambeau.train.callbacks.checkpointing import Checkpointing
from flambeau.train.callbacks.distributed import distributed, once
from flambeau.train.callbacks.lr_find import SuggestedRates, find_rate, valley
from flambeau.train.callbacks.precision import MixedPrecision
from flambeau.train.callbacks.progress import Progress
from flambeau.train.callbacks.recorder import Recorder
from flambeau.train.callbacks.schedule import ParamScheduler
from flambeau.train.checkpoint import load_weights, save_weights
from flambeau.train.compiling import compile_in_place
from flambeau.train.defaults import decoding_for, loss_for
from flambeau.train.lazy_layers import size_lazy_layers
from flambeau.train.loop import Loop
from flambeau.train.run_record import fit_settings

if TYPE_CHECKING:
    from flambeau.train.callbacks.activations import ActivationStats
    from flambeau.train.callbacks.loggers import CSVLogger

Moms = tuple[float, float, float]


def all_in_one(model: nn.Module) -> list[list[nn.Parameter]]:
    """Return the model's parameters as one layer group: the default splitter."""
    return [params(model)]


class Learner(Loop):
    """A model, its data, its loss and its optimizer, and the verbs to train, look and predict.

    Args:
        dls: the loaders; any `DataLoaders`, also of plain torch loaders.
        model: any `nn.Module` that takes the inputs of a batch.
        loss_func: a function of the prediction and the targets; None: chosen from the kind of the target.
        opt_func: makes an optimizer from parameter groups and `lr`.
        lr: the learning rate when `fit` is given none.
        splitter: splits the model into layer groups, for discriminative rates and freezing.
        cbs: callbacks. metrics: functions `(prediction, target)`, `Metric` objects, or names.
        path, model_dir: where `save` and `export` write.
        wd: weight decay (None: the optimizer's); wd_bn_bias: decay biases and norm layers too.
        train_bn: norm layers of frozen groups keep training.
        moms: momentum at the start, middle and end of one cycle.
        default_cbs: show the table of epochs and a bar (the recorder is always there).

    Raises:
        ArgumentError: dls or model is something else, or the loss cannot be guessed.
    """

    recorder: Recorder
    activation_stats: ActivationStats  # of the callback of this name, once it has been added
    csv_logger: CSVLogger  # likewise
    export_as: ClassVar[str | None] = None  # what `load_learner` makes again; None: a plain learner

    def __init__(
        self,
        dls: DataLoaders,
        model: nn.Module,
        loss_func: Any = None,
        opt_func: Callable[..., torch.optim.Optimizer] = Adam,
        lr: float | slice = 1e-3,
        splitter: Callable[[nn.Module], Sequence[Any]] = all_in_one,
        cbs: Callback | Sequence[Callback] | None = None,
        metrics: Any = None,
        path: str | AnyPath | None = None,
        model_dir: str | AnyPath = "models",
        wd: float | None = None,
        wd_bn_bias: bool = False,
        train_bn: bool = True,
        moms: Moms = (0.95, 0.85, 0.95),
        default_cbs: bool = True,
    ) -> None:
        _check_parts(dls, model)
        self.recorder = Recorder()
        super().__init__([self.recorder, Progress()] if default_cbs else [self.recorder])
        self.dls, self.model = dls, model
        if loss_func is None:
            loss_func = loss_for(dls.kinds[dls.n_inp :])
        self.loss_func = loss_func() if isinstance(loss_func, type) else loss_func
        dls.loss_func = self.loss_func
        self.opt_func, self.lr, self.splitter = opt_func, lr, splitter
        self.wd, self.wd_bn_bias, self.train_bn, self.moms = wd, wd_bn_bias, train_bn, moms
        self.path = Path(path) if path is not None else Path(getattr(dls, "path", "."))
        self.model_dir = model_dir
        self.metrics = metrics
        self._optimizer: torch.optim.Optimizer | None = None
        self.show_progress, self.keep_logging = True, True
        self.to(self.device)
        size_lazy_layers(model, dls)
        self.add_cbs(cbs)

    def export_tensors(self) -> dict[str, Tensor]:
        """Return what an export holds besides the weights, for a learner with `export_as`."""
        return {}

    # parts

    @property
    def metrics(self) -> list[Any]:
        """The metrics shown after each epoch."""
        return self._metrics

    @metrics.setter
    def metrics(self, metrics: Any) -> None:
        given = [] if metrics is None else metrics if isinstance(metrics, list | tuple) else [metrics]
        self._metrics = [as_metric(metric) for metric in given]

    @property
    def optimizer(self) -> torch.optim.Optimizer:  # type: ignore[override]
        """The optimizer, made when first needed."""
        if self._optimizer is None:
            self.create_opt()
        assert self._optimizer is not None
        return self._optimizer

    @property
    def opt(self) -> torch.optim.Optimizer:
        """The optimizer."""
        return self.optimizer

    @property
    def layer_groups(self) -> list[Any]:
        """The layer groups, from the input to the head."""
        return list(self.splitter(self.model))

    def create_opt(self) -> None:
        """Make a new optimizer that remembers no earlier step."""
        groups = build_param_groups(self.layer_groups, self.lr, self.wd, self.wd_bn_bias, self.model)
        self._optimizer = self.opt_func(groups, lr=spread(self.lr, len(self.layer_groups))[-1])

    def to(self, device: torch.device | str) -> Learner:
        """Move the model, the loss and the batches to a device; the optimizer starts anew there."""
        self.dls.to(device)
        self.model.to(device)
        if isinstance(self.loss_func, nn.Module):
            self.loss_func.to(device)
        self._optimizer = None
        for cb in self.cbs:
            if isinstance(cb, MixedPrecision):
                cb.after_create()  # what 16 bits mean depends on the device
        return self

    def add_cb(self, cb: Callback | type[Callback]) -> Learner:
        """Add a callback."""
        made = cb() if isinstance(cb, type) else cb
        if not isinstance(made, Callback):
            raise ArgumentError(f"cbs must be callbacks, got {cb!r} of type {type(cb).__name__}.")
        made.learn = self
        self.cbs.append(made)
        made.after_create()
        return self

    def add_cbs(self, cbs: Any) -> Learner:
        """Add one callback or several."""
        for cb in self.cbs:
            cb.learn = self
        for cb in [] if cbs is None else cbs if isinstance(cbs, list | tuple) else [cbs]:
            self.add_cb(cb)
        return self

    def remove_cb(self, cb: Callback | type[Callback]) -> Learner:
        """Remove a callback, or all of a class."""
        gone = [own for own in self.cbs if own is cb or (isinstance(cb, type) and isinstance(own, cb))]
        self._restore_cbs([own for own in self.cbs if own not in gone])
        return self

    def _restore_cbs(self, cbs: list[Callback]) -> None:
        for gone in self.cbs:
            if isinstance(gone, MixedPrecision | ChannelsLast) and gone not in cbs:
                gone.switch_off()
        self.cbs = cbs

    def remove_cbs(self, cbs: Sequence[Callback | type[Callback]]) -> Learner:
        """Remove several callbacks."""
        for cb in cbs:
            self.remove_cb(cb)
        return self

    @contextmanager
    def added_cbs(self, cbs: Any) -> Iterator[Learner]:
        """Have more callbacks for a while."""
        before = list(self.cbs)
        try:
            yield self.add_cbs(cbs)
        finally:
            self._restore_cbs(before)

    @contextmanager
    def removed_cbs(self, cbs: Sequence[Callback | type[Callback]]) -> Iterator[Learner]:
        """Have fewer callbacks for a while."""
        before = list(self.cbs)
        try:
            yield self.remove_cbs(cbs)
        finally:
            self.cbs = before

    @contextmanager
    def no_bar(self) -> Iterator[Learner]:
        """Show no progress bar for a while; the table of epochs stays."""
        before, self.show_progress = self.show_progress, False
        try:
            yield self
        finally:
            self.show_progress = before

    @contextmanager
    def no_logging(self) -> Iterator[Learner]:
        """Print nothing for a while."""
        before, self.keep_logging = self.keep_logging, False
        try:
            yield self
        finally:
            self.keep_logging = before

    # training

    def fit(
        self,
        n_epoch: int,
        lr: LearningRate | None = None,
        wd: float | None = None,
        cbs: Any = None,
        reset_opt: bool = False,
        start_epoch: int = 0,
        checkpoint: bool | int = False,
        resume: bool = False,
    ) -> None:
        """Train for some epochs at a constant learning rate.

        `wd` and `cbs` hold for this fit only. `start_epoch` leaves out the first epochs, and their part of a schedule,
        of a training that is gone on with. An interruption (Ctrl-C) is passed on after the callbacks have cleaned up:
        the learner keeps what it has learned and can be used, saved or trained further.

        `checkpoint=True` keeps the whole run after each epoch, a number also after so many batches, in
        `path/model_dir/checkpoint-1.safetensors` (2 for the second fit). `resume=True` goes on from there, if there is
        such a file: the same script, started again, ends on the CPU with the numbers of a run that was never broken
        off. Started again, a fit that is done brings back its end without training.

        Raises:
            ArgumentError: the number of epochs, the learning rate or the training loader makes no sense.
            ExportError: the checkpoint to resume from is damaged, or of another model.
            TrainingError: the training loader is empty.
        """
        for name, count in (("The number of epochs", n_epoch), ("start_epoch", start_epoch)):
            if not isinstance(count, int) or count < 0:
                raise ArgumentError(f"{name} must be a whole number, 0 or more; got {count!r}.")
        self._check_train_loader()
        if reset_opt:
            self.create_opt()
        rates = spread(self.lr if lr is None else lr, self._n_groups())
        if min(rates) < 0:
            raise ArgumentError(f"A learning rate below 0 climbs the loss instead of descending; got {min(rates)}.")
        cbs = [cb() if isinstance(cb, type) else cb for cb in _listed(cbs)]
        if checkpoint or resume:
            keeping = Checkpointing(None if isinstance(checkpoint, bool) else checkpoint, resume)
            begin_with = keeping.begin(self, n_epoch, rates, wd, cbs)
            start_epoch, cbs = max(start_epoch, begin_with), [*cbs, keeping]
        set_hyper(self.optimizer, "lr", rates)
        decays = get_hyper(self.optimizer, "wd")
        if wd is not None:
            set_hyper(self.optimizer, "wd", wd)
        with self.added_cbs(cbs):
            self.recorder.fits.append(fit_settings(self, n_epoch, rates, wd))
            halving = next((cb for cb in self.cbs if isinstance(cb, AutoBatchSize)), None)
            try:
                if halving is None:
                    self.fit_epochs(n_epoch, start_epoch)
                else:
                    halving.run(lambda: self.fit_epochs(n_epoch, start_epoch))
            except BaseException:
                self.dls.stop_workers()  # the traceback would keep them, and their pictures, alive
                raise
            finally:
                self.optimizer.zero_grad()
                self.model.eval()
                if wd is not None:
                    set_hyper(self.optimizer, "wd", decays)

    def _check_train_loader(self) -> None:
        loader = self.dls.train
        if not hasattr(loader, "__len__"):
            raise ArgumentError(
                f"The training loader, a {type(loader).__name__}, has no length, which schedules need; make it a list."
            )
        if len(loader) == 0:
            raise TrainingError(
                "The training loader has no batch. A loaded learner has no items of its own: to train, make a new "
                "learner from data. Otherwise lower bs or check the split."
            )

    def _n_groups(self) -> int:
        return 1 + max(int(group.get("layer_group", 0)) for group in self.optimizer.param_groups)

    def fit_one_cycle(
        self,
        n_epoch: int,
        lr_max: LearningRate | None = None,
        div: float = 25.0,
        div_final: float = 1e5,
        pct_start: float = 0.25,
        wd: float | None = None,
        moms: Moms | None = None,
        cbs: Any = None,
        reset_opt: bool = False,
        start_epoch: int = 0,
        checkpoint: bool | int = False,
        resume: bool = False,
    ) -> None:
        """Train with the 1cycle policy: warm up to `lr_max`, then anneal to almost nothing (Smith 2018).

        The rate rises along a cosine from lr_max/div over the first `pct_start` of the steps, then falls to
        lr_max/div_final; the momentum moves the other way.
        """
        peaks = spread(self.lr if lr_max is None else lr_max, self._n_groups())
        low, final = [peak / div for peak in peaks], [peak / div_final for peak in peaks]
        scheds = {
            "lr": combined_cos(pct_start, low, peaks, final),
            "mom": combined_cos(pct_start, *(moms or self.moms)),
        }
        cbs = [*_listed(cbs), ParamScheduler(scheds)]
        self.fit(n_epoch, peaks, wd, cbs, reset_opt, start_epoch, checkpoint, resume)

    def fit_flat_cos(
        self,
        n_epoch: int,
        lr: LearningRate | None = None,
        div_final: float = 1e5,
        pct_start: float = 0.75,
        wd: float | None = None,
        cbs: Any = None,
        reset_opt: bool = False,
        start_epoch: int = 0,
        checkpoint: bool | int = False,
        resume: bool = False,
    ) -> None:
        """Train at a flat rate, then anneal it along a cosine from `pct_start` of the steps on."""
        rates = spread(self.lr if lr is None else lr, self._n_groups())
        final = [rate / div_final for rate in rates]
        scheds = {"lr": combine_scheds([pct_start, 1 - pct_start], [SchedNo(rates, rates), SchedCos(rates, final)])}
        cbs = [*_listed(cbs), ParamScheduler(scheds)]
        self.fit(n_epoch, rates, wd, cbs, reset_opt, start_epoch, checkpoint, resume)

    def fit_sgdr(
        self,
        n_cycles: int,
        cycle_len: int,
        lr_max: LearningRate | None = None,
        cycle_mult: int = 2,
        wd: float | None = None,
        cbs: Any = None,
        reset_opt: bool = False,
        start_epoch: int = 0,
        checkpoint: bool | int = False,
        resume: bool = False,
    ) -> None:
        """Train with warm restarts: each cycle anneals to 0 and is `cycle_mult` times as long (Loshchilov 2016).

        Raises:
            ArgumentError: there is no cycle, or one has no epoch.
        """
        if min(n_cycles, cycle_len, cycle_mult) < 1:
            raise ArgumentError(
                f"fit_sgdr needs at least one cycle of one epoch; got n_cycles={n_cycles}, cycle_len={cycle_len}, "
                f"cycle_mult={cycle_mult}."
            )
        lengths = [cycle_len * cycle_mult**cycle for cycle in range(n_cycles)]
        peaks = spread(self.lr if lr_max is None else lr_max, self._n_groups())
        falling = [SchedCos(peaks, [0.0] * len(peaks)) for _ in lengths]
        scheds = {"lr": combine_scheds([length / sum(lengths) for length in lengths], falling)}
        cbs = [*_listed(cbs), ParamScheduler(scheds)]
        self.fit(sum(lengths), peaks, wd, cbs, reset_opt, start_epoch, checkpoint, resume)

    def fine_tune(
        self,
        epochs: int,
        base_lr: float = 2e-3,
        freeze_epochs: int = 1,
        lr_mult: float = 100.0,
        pct_start: float = 0.3,
        div: float = 5.0,
        **options: Any,
    ) -> None:
        """Adapt a pretrained model: first the new head alone, then all layers, the early ones most gently.

        `options` go to both `fit_one_cycle` calls.

        Raises:
            ArgumentError: `base_lr` is no number above 0.
        """
        if not isinstance(base_lr, int | float) or base_lr <= 0:
            raise ArgumentError(
                f"fine_tune needs one learning rate above 0, from which it makes those of all layers; got {base_lr!r}."
            )
        self.freeze()
        self.fit_one_cycle(freeze_epochs, slice(base_lr), pct_start=0.99, **options)
        base_lr /= 2
        self.unfreeze()
        self.fit_one_cycle(epochs, slice(base_lr / lr_mult, base_lr), pct_start=pct_start, div=div, **options)

    def freeze_to(self, n: int) -> None:
        """Freeze the layer groups before `n` (negative: counted from the head) and unfreeze the rest."""
        freeze_groups(self.layer_groups, n, self.train_bn, self.model)
        self.create_opt()

    def freeze(self) -> None:
        """Freeze all but the last layer group."""
        self.freeze_to(-1)

    def unfreeze(self) -> None:
        """Let all layers learn."""
        self.freeze_to(0)

    def lr_find(
        self,
        start_lr: float = 1e-7,
        end_lr: float = 10.0,
        num_it: int = 100,
        stop_div: bool = True,
        show_plot: bool = True,
        suggest_funcs: Any = valley,
    ) -> SuggestedRates:
        """Try growing learning rates on a few batches and suggest one; all else stays as it was."""
        return find_rate(self, start_lr, end_lr, num_it, stop_div, show_plot, _listed(suggest_funcs))

    # looking and predicting

    def validate(self, ds_idx: int = 1, dl: Any = None, cbs: Any = None) -> list[float]:
        """Return the loss and the metrics over a loader (default: validation), in the recorder's order."""
        return inference.validate(self, ds_idx, dl, cbs)

    def get_preds(
        self,
        ds_idx: int = 1,
        dl: Any = None,
        with_input: bool = False,
        with_decoded: bool = False,
        with_loss: bool = False,
        act: Callable[[Tensor], Tensor] | None = None,
        reorder: bool = True,
        cbs: Any = None,
    ) -> tuple[Any, ...]:
        """Return predictions (activated: probabilities for classes) and targets of a loader, in the items' order.

        With `with_input` the inputs stand in front; `with_decoded` and `with_loss` append answers and losses.

        Raises:
            TrainingError: answers are wanted, and a prediction is NaN.
        """
        return inference.get_preds(self, ds_idx, dl, with_input, with_decoded, with_loss, act, reorder, cbs)

    def predict(self, item: Any, with_input: bool = False) -> tuple[Any, ...]:
        """Return the answer for one item as (decoded label, its tensor, probabilities)."""
        return inference.predict(self, item, with_input)

    def tta(
        self,
        ds_idx: int = 1,
        dl: Any = None,
        n: int = 4,
        beta: float | None = 0.25,
        use_max: bool = False,
    ) -> tuple[Any, Any]:
        """Return predictions averaged over `n` augmented views and the plain one, which weighs `beta`, and targets.

        With `beta=None` the predictions are a pair: the augmented views' average, and the plain ones. `use_max` takes
        the largest of all views instead of an average.
        """
        return inference.tta(self, ds_idx, dl, n, beta, use_max)

    def show_results(
        self, ds_idx: int = 1, dl: Any = None, max_n: int = 9, shuffle: bool = True, **options: Any
    ) -> Any:
        """Draw some items with their targets and predictions."""
        return inference.show_results(self, ds_idx, dl, max_n, shuffle, **options)

    def summary(self) -> Any:
        """Return a table of the layers: output shapes, parameters, and whether they are trained."""
        from flambeau.nn.summary import module_summary

        batch = self.dls.one_batch()
        return module_summary(self.model, *batch.inputs)

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """What turns the model's numbers into what they mean."""
        return activation_of(self.loss_func)

    @property
    def decodes(self) -> Callable[[Tensor], Tensor]:
        """What turns activated predictions into answers."""
        return decoding_for(self.loss_func, self.dls.kinds[self.dls.n_inp :])

    # keeping

    def save(self, file: str | AnyPath, with_opt: bool = True) -> Path:
        """Keep the weights (and the optimizer's state) under `path/model_dir`; return the file."""
        return once(self, lambda: save_weights(self, file, with_opt))

    def load(
        self,
        file: str | AnyPath,
        with_opt: bool = True,
        device: torch.device | str | None = None,
        strict: bool = True,
    ) -> Learner:
        """Take back what `save` kept, on `device` where one is given. Nothing in the file is executed.

        `strict=False` allows layers that only the file or only the model has.

        Raises:
            ExportError: there is no such file, it is damaged, or its weights belong to another architecture.
        """
        if device is not None:
            self.to(device)
        load_weights(self, file, with_opt, strict)
        return self

    def export(self, fname: str | AnyPath = "export.safetensors") -> Path:
        """Write everything that predicting needs to one safetensors file under `path` (any file name will do)."""
        from flambeau.train.export import export

        return once(self, lambda: export(self, fname))

    # several processes

    def distributed(
        self, find_unused_parameters: bool = False, share_validation: bool = True
    ) -> AbstractContextManager[Learner]:
        """Train, inside the `with`, in all processes that `torchrun` started: each on its part of every step.

        A step takes `bs` items from each process. `find_unused_parameters` is for models of which a step may leave
        parameters out; with `share_validation=False` each process validates on everything. Without torchrun there is
        one process, and nothing changes. See docs/multi-host.md.

        Raises:
            MissingDependencyError: there are several processes and Accelerate is not installed.
            ArgumentError: the processes have different data, or there are fewer GPUs than processes.
        """
        return distributed(self, find_unused_parameters, share_validation)

    distrib_ctx = distributed

    # speed and precision

    def to_channelslast(self, use_amp: bool = True, amp_mode: str = "fp16") -> Learner:
        """Lay weights and pictures out with the channels innermost, which is faster in 16 bits (`use_amp`).

        `amp_mode` is "fp16" or "bf16", as in `to_fp16` and `to_bf16`.
        """
        modes = {"fp16": self.to_fp16, "bf16": self.to_bf16}
        if amp_mode not in modes:
            raise unknown_name("amp_mode", amp_mode, modes)
        if use_amp:
            modes[amp_mode]()
        return self.remove_cb(ChannelsLast).add_cb(ChannelsLast())

    def to_contiguous(self, to_fp32: bool = False) -> Learner:
        """Lay weights and pictures out in torch's usual order again; with `to_fp32` in full precision too."""
        self.remove_cb(ChannelsLast)
        return self.to_fp32() if to_fp32 else self

    def compile(self, **options: Any) -> Learner:
        """Run the model through `torch.compile` from now on, in place; `options` are its own (mode, dynamic, ...).

        The first batch takes a minute longer. Names of weights, `save` and `export` stay as they were.

        Raises:
            MissingDependencyError: there is no C++ compiler.
        """
        compile_in_place(self.model, **options)
        return self

    def to_fp16(self) -> Learner:
        """Train and predict in half precision where the device has it (on the CPU: bfloat16)."""
        return self.to_fp32().add_cb(MixedPrecision("float16"))

    def to_bf16(self) -> Learner:
        """Train and predict in bfloat16."""
        return self.to_fp32().add_cb(MixedPrecision("bfloat16"))

    def to_fp32(self) -> Learner:
        """Train and predict in full precision again."""
        return self.remove_cb(MixedPrecision)

    def __repr__(self) -> str:
        n = sum(parameter.numel() for parameter in self.model.parameters())
        return f"{type(self).__name__}: {type(self.model).__name__} of {n:,} parameters on {self.device}\n{self.dls!r}"


def _listed(given: Any) -> list[Any]:
    return [] if given is None else list(given) if isinstance(given, list | tuple) else [given]


def _check_parts(dls: Any, model: Any) -> None:
    if not isinstance(dls, DataLoaders):
        raise ArgumentError(
            f"dls must be DataLoaders, got a {type(dls).__name__}. Any iterables of batches will do inside: "
            "DataLoaders(train, valid)."
        )
    if not isinstance(model, nn.Module):
        hint = f" Make one: {model.__name__}(...)." if isinstance(model, type) else ""
        raise ArgumentError(f"model must be an nn.Module, got {model!r} of type {type(model).__name__}.{hint}")
