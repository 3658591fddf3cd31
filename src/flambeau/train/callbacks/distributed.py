"""Several processes: after reading it you know how they train one model together and agree on every number.

    all        the same order of an epoch, cut into steps                    data/shares.py
    each       its part of a step: predict, loss, backward
    together   the gradients' average, as one process would have it          torch's DistributedDataParallel
    each       the same step, hence the same weights

Accelerate finds the processes that `torchrun` started, joins them and wraps the model. The wrapper stands in the
model's place only while the model answers in training, so that the names of layers, weights and files stay those of one
process. In validation each process predicts its part of a step and then gets the others' predictions: losses and
metrics see each item exactly once, the same in all processes.
"""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from os import PathLike
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from flambeau.data.batch import Batch
from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import Datasets
from flambeau.data.loaders import DataLoader
from flambeau.data.shares import share
from flambeau.data.transform import is_own_code
from flambeau.foundation.errors import ArgumentError, ShapeError, TrainingError, missing_dependency
from flambeau.foundation.nested import find_tensors
from flambeau.foundation.processes import n_local_processes, n_processes
from flambeau.train.callback import Callback

if TYPE_CHECKING:
    from flambeau.train.learner import Learner

Result = TypeVar("Result")
SAMPLED_NAMES = 64  # of the items, to tell whether all processes have the same


@contextmanager
def distributed(learn: Learner, find_unused_parameters: bool, share_validation: bool) -> Iterator[Learner]:
    """Let a learner work in all processes together; see `Learner.distributed`."""
    if n_processes() < 2:
        print("Training in one process. For more, start the script with: torchrun --nproc-per-node 2 SCRIPT.py")
        yield learn
        return
    joined = Distributed(_accelerator(learn, find_unused_parameters), share_validation)
    if learn.device != joined.accelerator.device:
        learn.to(joined.accelerator.device)
    learn.is_first_process = joined.accelerator.is_main_process
    learn.add_cb(joined)
    try:
        joined.begin()
        yield learn
        joined.share_buffers()
    finally:
        learn.is_first_process = True
        learn.remove_cb(joined)


def _accelerator(learn: Learner, find_unused_parameters: bool) -> Any:
    try:
        from accelerate import Accelerator
        from accelerate.utils import DistributedDataParallelKwargs
    except ImportError as error:
        raise missing_dependency("accelerate", "distributed", "Training in several processes") from error
    on_gpu = learn.device.type == "cuda"
    if on_gpu and n_local_processes() > torch.cuda.device_count():
        raise ArgumentError(
            f"{n_local_processes()} processes were started on a machine with {torch.cuda.device_count()} GPU(s), and "
            "each needs one of its own. Start fewer, or set FLAMBEAU_DEVICE=cpu."
        )
    settings = DistributedDataParallelKwargs(find_unused_parameters=find_unused_parameters)
    return Accelerator(cpu=not on_gpu, mixed_precision="no", kwargs_handlers=[settings])


def once(learn: Learner, write: Callable[[], Result]) -> Result:
    """Call what writes a file in the first process only; the others wait for its answer, or its failure."""
    joined = next((cb for cb in learn.cbs if isinstance(cb, Distributed)), None)
    return write() if joined is None else joined.once(write)


def of_all(learn: Learner, value: Any) -> list[Any]:
    """Return the values of all processes, in their order, in each of them."""
    joined = next((cb for cb in learn.cbs if isinstance(cb, Distributed)), None)
    if joined is None:
        return [value]
    from accelerate.utils import gather_object

    return list(gather_object([value]))


def settle_buffers(learn: Learner) -> None:
    """Give all processes one set of the model's buffers, as before a validation."""
    for cb in learn.cbs:
        if isinstance(cb, Distributed):
            cb.share_buffers()


class Distributed(Callback):
    """Share every step among the processes, and hand all of them what they found together.

    It comes before all other callbacks, so that these see the whole step's loss, predictions and targets, and decide
    alike in every process. `learn.xb` and `learn.batch` are a process's own in training.
    """

    order = -100

    def __init__(self, accelerator: Any, share_validation: bool = True) -> None:
        self.accelerator, self.share_validation = accelerator, share_validation
        self.place, self.n = int(accelerator.process_index), int(accelerator.num_processes)
        self.agreed_on: DataLoaders | None = None
        self.plain: nn.Module | None = None
        self.wrapped: nn.Module | None = None
        self.buffers_differ = False

    # agreeing

    def begin(self) -> None:
        """Agree on the data and on chance, and say what a step is from now on."""
        self.agree()
        (key,) = self._of_first([random.getrandbits(63)])
        # Python's and numpy's chance decide on data, which must be the same everywhere; torch's decides in the model
        random.seed(key)
        np.random.seed(key % 2**32)
        torch.manual_seed((key + self.place) % 2**63)
        if self.accelerator.is_main_process:
            bs = self.learn.dls.bs
            print(
                f"{self.n} processes on {self.accelerator.device.type}: {bs} items each, {bs * self.n} a step. "
                "The learning rate stays as you give it.",
                flush=True,
            )

    def agree(self) -> None:
        """Make sure that all processes have the same data, and let the loaders follow those of the first process.

        Raises:
            ArgumentError: the splits or the numbers of items differ.
        """
        from accelerate.utils import gather_object

        dls = self.learn.dls
        seen: list[list[str]] = gather_object([[_described(loader) for loader in dls.loaders]])
        other = next((place for place in range(self.n) if seen[place] != seen[0]), None)
        if other is not None:
            raise ArgumentError(
                f"The processes have different data: {'; '.join(seen[0])} in the first, {'; '.join(seen[other])} in "
                f"process {other}. If the split is random, give it a seed: set_seed(42) before the data are loaded, or "
                "seed=42 where the split is made. Otherwise look for differing files."
            )
        ours = [loader for loader in dls.loaders if isinstance(loader, DataLoader)]
        for loader, (seed, epoch) in zip(
            ours, self._of_first([(loader.maker.seed, loader.epoch) for loader in ours]), strict=True
        ):
            loader.go_to(seed, epoch)
        self.agreed_on = dls

    def _of_first(self, values: list[Any]) -> list[Any]:
        """Return the first process's values, in all."""
        from accelerate.utils import broadcast_object_list

        return list(broadcast_object_list(values)) if values else []

    def once(self, write: Callable[[], Result]) -> Result:
        """Call a function in the first process, and return in all what it returned there.

        Raises:
            TrainingError: it failed there (in the first process: its own error).
        """
        result, failure = None, None
        try:
            if self.accelerator.is_main_process:
                result = write()
        except Exception as error:
            failure = f"{type(error).__name__}: {error}"
            raise
        finally:
            result, told = self._of_first([result, failure])
        if told is not None:
            raise TrainingError(f"The first process could not go on: {told}")
        return result

    # training

    def before_fit(self) -> None:
        if self.learn.dls is not self.agreed_on:
            self.agree()
        # anew for each fit: which parameters are frozen is read when the model is wrapped
        self.wrapped = self.accelerator.prepare_model(self.learn.model)
        if isinstance(self.wrapped, nn.parallel.DistributedDataParallel):
            self.wrapped.broadcast_buffers = False  # before each validation instead of at each step: see share_buffers

    def before_train(self) -> None:
        self._share(training=True)

    def _share(self, training: bool) -> None:
        learn = self.learn
        learn.dl = share(learn.dl, self.place, self.n, learn.dls._n_inp, learn.device, training)
        learn.n_iter = len(learn.dl)

    def before_batch(self) -> None:
        if self.training:
            self.plain, self.learn.model, self.buffers_differ = self.learn.model, self.wrapped or self.model, True

    def after_pred(self) -> None:
        self._unwrap()

    def _unwrap(self) -> None:
        if self.plain is not None:
            self.learn.model, self.plain = self.plain, None

    def before_backward(self) -> None:
        # DistributedDataParallel averages over processes; where these have unequal parts, that is not the items' mean
        weight = self._weight(self.learn.batch) * self.n
        if weight != 1:
            self.learn.loss_grad = self.learn.loss_grad * weight

    def _weight(self, batch: Batch) -> float:
        return batch.parts[self.place] / sum(batch.parts)

    def after_batch(self) -> None:
        self._unwrap()
        learn = self.learn
        if not learn.batch.parts:  # a validation that is not shared
            return
        if learn.loss is not None:
            learn.loss = self.accelerator.reduce(learn.loss.detach() * self._weight(learn.batch), "sum")
        if not learn.training and learn.pred is not None:
            self._see_all()

    def after_fit(self) -> None:
        self._unwrap()
        self.wrapped = None
        self.accelerator.free_memory()  # lets go of the wrapper, and with it of its hooks on the gradients

    # validation

    def before_validate(self) -> None:
        if self.learn.dls is not self.agreed_on:
            self.agree()
        self.share_buffers()
        if self.share_validation:
            self._share(training=False)

    def share_buffers(self) -> None:
        """Give all processes one set of buffers: running averages of norm layers averaged, others the first's."""
        if not self.buffers_differ:
            return
        self.buffers_differ = False
        averages: list[Tensor] = []
        others: list[Tensor] = []
        for module in self.learn.model.modules():
            for buffer in module.buffers(recurse=False):
                is_average = isinstance(module, _BatchNorm) and buffer.is_floating_point()
                (averages if is_average else others).append(buffer)
        if averages:
            mean = self.accelerator.reduce(torch.cat([buffer.reshape(-1) for buffer in averages]), "mean")
            parts = mean.split([buffer.numel() for buffer in averages])
            for buffer, part in zip(averages, parts, strict=True):
                buffer.copy_(part.view_as(buffer))
        for buffer in others:
            torch.distributed.broadcast(buffer, 0)

    def _see_all(self) -> None:
        """Put all processes' predictions and targets in the place of the process's own."""
        learn = self.learn
        batch, parts = learn.batch, learn.batch.parts
        wanted = (learn.pred, learn.yb, learn.xb if _inputs_are_read(learn) else ())
        self._check_shapes(wanted)
        learn.pred, learn.yb, inputs = self._joined(wanted, parts, batch.n_items)
        if inputs:
            learn.xb = inputs
        kinds = batch.kinds if inputs else batch.target_kinds
        learn.batch = Batch(inputs, learn.yb, kinds, learn.dl.step_indices, parts)

    def _check_shapes(self, values: Any) -> None:
        """Raise a ShapeError in all processes where their tensors differ in more than the number of items."""
        described = str([(tuple(leaf.shape[1:]), str(leaf.dtype)) for leaf in find_tensors(values)])
        codes = self.accelerator.gather(torch.tensor([zlib.crc32(described.encode())], device=self.learn.device))
        if len(set(codes.tolist())) > 1:
            raise ShapeError(
                "The processes' predictions or targets of one step differ in more than the number of items, and cannot "
                f"be joined: here {described}. Pad to one length, or call learn.distributed(share_validation=False)."
            )

    def _joined(self, value: Any, parts: tuple[int, ...], n_items: int) -> Any:
        if isinstance(value, tuple):
            joined = [self._joined(part, parts, n_items) for part in value]
            return value._make(joined) if hasattr(value, "_make") else tuple(joined)
        if isinstance(value, dict):
            return {key: self._joined(part, parts, n_items) for key, part in value.items()}
        if isinstance(value, Tensor) and value.ndim and len(value) == n_items:
            return self._joined_tensor(value, parts)
        if isinstance(value, list) and len(value) == n_items:
            from accelerate.utils import gather_object

            return gather_object(value[: parts[self.place]])
        if isinstance(value, Tensor) and value.ndim:
            raise ShapeError(
                f"A prediction or target of shape {tuple(value.shape)} for {n_items} items cannot be shared out among "
                "processes: its first axis is not the items. Call learn.distributed(share_validation=False)."
            )
        return value

    def _joined_tensor(self, own: Tensor, parts: tuple[int, ...]) -> Tensor:
        most = max(parts)
        padded = own.new_zeros((most, *own.shape[1:]))
        padded[: parts[self.place]] = own[: parts[self.place]].detach()
        gathered = self.accelerator.gather(padded)
        return torch.cat([gathered[place * most : place * most + size] for place, size in enumerate(parts)])


def _inputs_are_read(learn: Learner) -> bool:
    """Return whether a callback may look at the inputs after a batch; if none does, they need not travel."""
    return any(
        getattr(cb, "with_input", False)
        or (cb.run_valid and type(cb).after_batch is not Callback.after_batch and not is_own_code(type(cb)))
        for cb in learn.cbs
    )


def _described(loader: Any) -> str:
    """Return words for a loader's items that are the same where the items are, wherever their files lie."""
    dataset: Any = getattr(loader, "dataset", None)
    if not hasattr(dataset, "__len__"):
        return f"{len(loader)} batches"
    n = len(dataset)
    if not isinstance(dataset, Datasets) or not n:
        return f"{n} items"
    chosen = [dataset.item(at) for at in range(0, n, max(n // SAMPLED_NAMES, 1))]
    names = [str(item).replace("\\", "/").rsplit("/", 1)[-1] for item in chosen if isinstance(item, str | PathLike)]
    told = zlib.crc32(np.asarray(dataset.indices, dtype=np.int64).tobytes(), zlib.crc32("|".join(names).encode()))
    return f"{n} items ({told:08x})"
