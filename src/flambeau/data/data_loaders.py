"""The loaders of a learner: after reading it you know what `dls` holds and how it serves new items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import torch

from flambeau.data.batch import Batch, as_batch
from flambeau.data.dataset import Datasets, n_outputs
from flambeau.data.kinds import Kind, kind_of
from flambeau.data.loaders import DataLoader, check_one_batch
from flambeau.data.transform import Transform, as_transforms
from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ArgumentError, EmptyError
from flambeau.foundation.paths import Path

if TYPE_CHECKING:
    from flambeau.data.block import DataBlock


class DataLoaders:
    """A training and a validation loader (more are allowed), and what is known of their columns.

    Any iterable of batches is a loader: a torch `DataLoader`, a list of tuples, one of flambeau's own.
    """

    def __init__(
        self,
        *loaders: Any,
        path: str | AnyPath = ".",
        device: torch.device | str | None = None,
        n_inp: int | None = None,
    ) -> None:
        if not loaders:
            raise ArgumentError("DataLoaders needs at least a training loader: DataLoaders(train, valid).")
        self.loaders = list(loaders)
        self.path = Path(path)
        self._n_inp = n_inp
        self._device = torch.device(device) if device is not None else None
        self.loss_func: Any = None
        """The loss of the learner that was made last from these loaders (None before)."""
        self.block: DataBlock | None = None
        if device is not None:
            self.to(device)

    # making them

    @classmethod
    def from_datasets(
        cls,
        datasets: Datasets,
        bs: int = 64,
        val_bs: int | None = None,
        *,
        shuffle: bool = True,
        drop_last: bool = True,
        after_item: Any = None,
        before_batch: Any = None,
        after_batch: Any = None,
        device: torch.device | str | None = None,
        num_workers: int | None = None,
        path: str | AnyPath = ".",
        dl_type: type[DataLoader] | None = None,
        check: bool = True,
        **options: Any,
    ) -> DataLoaders:
        """Return loaders of the halves of `datasets`: training shuffled, validation in order and whole."""
        loader = dl_type or DataLoader
        shared: dict[str, Any] = {
            "after_item": after_item,
            "before_batch": before_batch,
            "after_batch": after_batch,
            "num_workers": num_workers,
            "device": device,
            **options,
        }
        train = loader(datasets.train, bs, shuffle, drop_last, **shared)
        loaders = [train]
        for half in range(1, datasets.n_subsets):
            if len(datasets.splits[half]):
                loaders.append(
                    loader(datasets.subset(half), val_bs or bs, False, False, **{**shared, "seed": train.maker.seed})
                )
        dls = cls(*loaders, path=path)
        dls.setup_batch_tfms()
        if check:
            check_one_batch(train)
        return dls

    @classmethod
    def from_dsets(cls, *datasets: Any, bs: int = 64, path: str | AnyPath = ".", **options: Any) -> DataLoaders:
        """Return loaders of plain data sets (anything with `len` and `[i]`): the first is for training."""
        given = {"shuffle": True, "drop_last": True, **{k: v for k, v in options.items() if k in ("shuffle", "drop_last")}}
        rest = {k: v for k, v in options.items() if k not in given}
        if "item_tfms" in rest:
            rest["after_item"] = rest.pop("item_tfms")
        if "batch_tfms" in rest:
            rest["after_batch"] = rest.pop("batch_tfms")
        loaders = [
            DataLoader(
                dataset,
                bs,
                shuffle=given["shuffle"] and place == 0,
                drop_last=given["drop_last"] and place == 0,
                training=place == 0,
                **rest,
            )
            for place, dataset in enumerate(datasets)
        ]
        dls = cls(*loaders, path=path)
        dls.setup_batch_tfms()
        return dls

    @classmethod
    def from_dblock(cls, dblock: DataBlock, source: Any, path: str | AnyPath = ".", **options: Any) -> DataLoaders:
        """Return the loaders that a block makes from a source."""
        return dblock.dataloaders(source, path=path, **options)

    def setup_batch_tfms(self) -> None:
        """Let batch transforms that learn from data (`Normalize()`) see one training batch, once."""
        train = self.loaders[0]
        for transform in getattr(train, "batch_tfms", []):
            if type(transform).setups is not Transform.setups:
                transform.setups(train)

    # what they hold

    def __getitem__(self, place: int) -> Any:
        return self.loaders[place]

    def __len__(self) -> int:
        return len(self.loaders)

    def __iter__(self) -> Iterator[Any]:
        return iter(self.loaders)

    @property
    def train(self) -> Any:
        """The training loader."""
        return self.loaders[0]

    @property
    def valid(self) -> Any:
        """The validation loader.

        Raises:
            EmptyError: there is none.
        """
        if len(self.loaders) < 2:
            raise EmptyError("There is no validation loader: the split left no validation items. Choose a splitter.")
        return self.loaders[1]

    @property
    def train_ds(self) -> Any:
        """The training data set."""
        return self.train.dataset

    @property
    def valid_ds(self) -> Any:
        """The validation data set."""
        return self.valid.dataset

    @property
    def kinds(self) -> list[Kind]:
        """The kind of each column of a batch."""
        train = self.train
        if isinstance(train, DataLoader):
            return train.kinds
        return [kind_of(value) for value in self.one_batch()]

    @property
    def n_inp(self) -> int:
        """How many columns of a batch are inputs."""
        if self._n_inp is not None:
            return self._n_inp
        known = getattr(self.train, "n_inp", None)
        return known if known is not None else max(len(self.one_batch()) - 1, 1)

    @property
    def vocab(self) -> Any:
        """The classes of the targets."""
        dataset = getattr(self.train, "dataset", None)
        vocab = getattr(dataset, "vocab", None)
        if vocab is None:
            raise ArgumentError("These loaders have no vocabulary: their targets are not categories of a data block.")
        return vocab

    @property
    def c(self) -> int:
        """How many numbers the model must put out."""
        dataset = getattr(self.train, "dataset", None)
        known = getattr(dataset, "c", None)
        if known is not None:
            return int(known)
        batch = as_batch(self.one_batch(), self._n_inp)
        return n_outputs(batch.target_kinds or [kind_of(t) for t in batch.targets], [t[0] for t in batch.targets])

    @property
    def bs(self) -> int:
        """Items a training batch."""
        return int(getattr(self.train, "bs", None) or getattr(self.train, "batch_size", 1))

    @property
    def after_item(self) -> list[Transform]:
        """The item transforms of training."""
        return list(getattr(self.train, "after_item", []))

    @property
    def after_batch(self) -> list[Transform]:
        """The batch transforms of training."""
        return list(getattr(self.train, "after_batch", []))

    def add_tfms(self, tfms: Any, event: str = "after_batch", loaders: Sequence[int] | None = None) -> None:
        """Add transforms at a stage ("after_item" or "after_batch") of all loaders, or of those named by their place."""
        for place, loader in enumerate(self.loaders):
            if loaders is not None and place not in loaders:
                continue
            if not isinstance(loader, DataLoader):
                raise ArgumentError(f"Loader {place} is a {type(loader).__name__}; only flambeau's loaders take transforms.")
            stage = {"after_item": loader.maker.item_tfms, "after_batch": loader.batch_tfms}.get(event)
            if stage is None:
                raise ArgumentError(f"Transforms run at 'after_item' or 'after_batch', not at {event!r}.")
            stage.extend(as_transforms(tfms))
            stage.sort(key=lambda transform: transform.order)
            loader._forget()

    # devices

    @property
    def device(self) -> torch.device:
        """Where the batches are."""
        return self._device or getattr(self.train, "device", None) or default_device()

    @device.setter
    def device(self, device: torch.device | str) -> None:
        self.to(device)

    def to(self, device: torch.device | str) -> DataLoaders:
        """Send all batches to a device from now on."""
        self._device = torch.device(device)
        for loader in self.loaders:
            if isinstance(loader, DataLoader):
                loader.to(self._device)
        return self

    def cpu(self) -> DataLoaders:
        """Keep the batches on the CPU."""
        return self.to("cpu")

    def cuda(self) -> DataLoaders:
        """Send the batches to the first GPU."""
        return self.to("cuda")

    # new items

    def test_dl(self, items: Any, with_labels: bool = False, bs: int | None = None, **changes: Any) -> DataLoader:
        """Return a loader of new items, treated as in validation, in their order; `with_labels` reads targets too."""
        valid = self.loaders[1] if len(self.loaders) > 1 else self.loaders[0]
        dataset = getattr(valid, "dataset", None)
        if not isinstance(valid, DataLoader) or not hasattr(dataset, "with_items"):
            raise ArgumentError(
                "test_dl needs loaders made from a data block or Datasets, which know how an item becomes a sample. "
                "Give get_preds a loader instead: learn.get_preds(dl=[(x, y)])."
            )
        test = dataset.with_items(items, None if with_labels else self.n_inp)
        bs = min(bs or valid.bs, max(len(test), 1))
        return valid.new(test, **{"bs": bs, "shuffle": False, "drop_last": False, "training": False, **changes})

    # looking

    def one_batch(self) -> Batch:
        """Return one training batch."""
        if isinstance(self.train, DataLoader):
            return self.train.one_batch()
        return as_batch(next(iter(self.train)), self._n_inp).to(self.device)

    def show_batch(self, b: Any = None, max_n: int = 9, unique: bool = False, **options: Any) -> Any:
        """Draw samples of a training batch."""
        return self.train.show_batch(b, max_n=max_n, unique=unique, **options)

    def decode(self, batch: Any) -> tuple[Any, ...]:
        """Undo the batch transforms on a batch."""
        return self.train.decode(batch)

    def decode_batch(self, batch: Any, max_n: int = 9) -> list[tuple[Any, ...]]:
        """Return samples of a batch as a person would write them."""
        return self.train.decode_batch(batch, max_n)

    def __repr__(self) -> str:
        return "\n".join(repr(loader) for loader in self.loaders)
