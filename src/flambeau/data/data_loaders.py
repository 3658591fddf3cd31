"""The loaders of a learner: after reading it you know what `dls` holds and how it serves new items."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from copy import copy
from inspect import signature
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

import torch

from flambeau.data.batch import Batch, as_batch
from flambeau.data.dataset import Datasets, n_outputs
from flambeau.data.kinds import Kind, kind_of
from flambeau.data.loaders import DataLoader, check_one_batch
from flambeau.data.transform import Transform, as_item_transforms, as_transforms
from flambeau.foundation.devices import default_device
from flambeau.foundation.errors import ArgumentError, EmptyError, unknown_name
from flambeau.foundation.paths import Path

if TYPE_CHECKING:
    from flambeau.data.block import DataBlock
    from flambeau.data.check_report import CheckReport
    from flambeau.data.splitters import By

USUAL_BS = 64


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
        bs: int | None = None,
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
        """Return loaders of the halves of `datasets`: training shuffled, validation in order and whole.

        `bs` None means 64, or all training items where there are fewer, which a printed line says.
        `options` are further settings of `DataLoader`: cache, seed, order (of the training), start_method, ...

        Raises:
            UnknownNameError: an option that no loader has.
            DataError: one item or one batch cannot be made; with the stage where it happened.
        """
        loader = dl_type or DataLoader
        require_settings(loader, options)
        shared: dict[str, Any] = {
            "after_item": as_transforms(after_item),
            "before_batch": before_batch,
            "after_batch": as_transforms(after_batch),
            "num_workers": num_workers,
            "device": device,
            **options,
        }
        train_ds = datasets.train
        bs = bs if bs is not None else _usual_bs(train_ds, drop_last and not options.get("batch_size"))
        train = loader(train_ds, bs, shuffle, drop_last, **shared)
        loaders = [train]
        for half in range(1, datasets.n_subsets):
            if len(datasets.splits[half]):
                # an order of the training items (weights, lengths) says nothing of other items
                own = {**shared, "seed": train.maker.seed, "order": None}
                loaders.append(loader(datasets.subset(half), val_bs or bs, False, False, **own))
        dls = cls(*loaders, path=path)
        dls.setup_batch_tfms()
        if check:
            check_one_batch(train)
        return dls

    @classmethod
    def from_dsets(
        cls, *datasets: Any, bs: int | None = None, path: str | AnyPath = ".", **options: Any
    ) -> DataLoaders:
        """Return loaders of plain data sets (anything with `len` and `[i]`): the first is for training.

        `options` are settings of `DataLoader`; shuffle, drop_last and order hold for the training alone.
        """
        renamed = {"item_tfms": "after_item", "batch_tfms": "after_batch"}
        settings = {"shuffle": True, "drop_last": True} | {renamed.get(name, name): v for name, v in options.items()}
        require_settings(DataLoader, settings)
        for stage in ("after_item", "after_batch"):
            settings[stage] = as_transforms(settings.get(stage))
        if bs is None:
            bs = _usual_bs(datasets[0] if datasets else (), settings["drop_last"] and not settings.get("batch_size"))
        in_order = {"shuffle": False, "drop_last": False, "order": None}
        loaders = [
            DataLoader(dataset, bs, training=place == 0, **(settings if place == 0 else {**settings, **in_order}))
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
        """Let batch transforms that learn from data (`Normalize()`) see a training batch after those before them."""
        train = self.loaders[0]
        tfms = list(getattr(train, "batch_tfms", []))
        for place, transform in enumerate(tfms):
            if transform.learns:
                transform.setup(train.new(after_batch=tfms[:place]), train_setup=True)

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
        return int(getattr(self.train, "bs", None) or getattr(self.train, "batch_size", None) or 1)

    @property
    def after_item(self) -> list[Transform]:
        """The item transforms of training."""
        return list(getattr(self.train, "after_item", []))

    @property
    def after_batch(self) -> list[Transform]:
        """The batch transforms of training."""
        return list(getattr(self.train, "after_batch", []))

    def add_tfms(self, tfms: Any, event: str = "after_batch", loaders: Sequence[int] | None = None) -> None:
        """Add transforms at a stage ("after_item" or "after_batch") of all loaders, or of those at some places."""
        added = as_item_transforms(tfms) if event == "after_item" else as_transforms(tfms)
        for place, loader in enumerate(self.loaders):
            if loaders is not None and place not in loaders:
                continue
            if not isinstance(loader, DataLoader):
                raise ArgumentError(f"Loader {place} is a {type(loader).__name__}; only flambeau's take transforms.")
            stage = {"after_item": loader.maker.item_tfms, "after_batch": loader.batch_tfms}.get(event)
            if stage is None:
                raise ArgumentError(f"Transforms run at 'after_item' or 'after_batch', not at {event!r}.")
            stage.extend(added)
            stage.sort(key=lambda transform: transform.order)
            loader._forget()
        self.setup_batch_tfms()

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

    def stop_workers(self) -> None:
        """End all worker processes; the next epoch starts new ones."""
        for loader in self.loaders:
            if isinstance(loader, DataLoader):
                loader.stop_workers()

    # new items

    def test_dl(self, items: Any, with_labels: bool = False, bs: int | None = None, **changes: Any) -> DataLoader:
        """Return a loader of new items, treated as in validation, in their order; `with_labels` reads targets too."""
        valid = self.loaders[1] if len(self.loaders) > 1 else self.loaders[0]
        if not isinstance(valid, DataLoader) or not hasattr(valid.dataset, "with_items"):
            raise ArgumentError(
                "test_dl needs loaders made from a data block or Datasets, which know how an item becomes a sample. "
                "Give get_preds a loader instead: learn.get_preds(dl=[(x, y)])."
            )
        test = valid.dataset.with_items(items, None if with_labels else self.n_inp)
        bs = min(bs or valid.bs, max(len(test), 1))
        in_order = {"bs": bs, "shuffle": False, "drop_last": False, "training": False, "order": None}
        return valid.new(test, **{**in_order, **changes})

    def new(self, **changes: Any) -> DataLoaders:
        """Return loaders like these with other settings, such as `bs=32`."""
        plain = next((loader for loader in self.loaders if not isinstance(loader, DataLoader)), None)
        if plain is not None:
            raise ArgumentError(f"A {type(plain).__name__} cannot be made anew with other settings; make it yourself.")
        other = copy(self)
        other.loaders = [loader.new(**changes) for loader in self.loaders]
        return other

    # looking

    def one_batch(self) -> Batch:
        """Return one training batch."""
        if isinstance(self.train, DataLoader):
            return self.train.one_batch()
        return as_batch(next(iter(self.train)), self._n_inp).to(self.device)

    def show_batch(self, b: Any = None, max_n: int = 9, unique: bool = False, **options: Any) -> Any:
        """Draw samples of a training batch."""
        return self._knowing_train().show_batch(b, max_n=max_n, unique=unique, **options)

    def decode(self, batch: Any) -> tuple[Any, ...]:
        """Undo the batch transforms on a batch."""
        return self._knowing_train().decode(batch)

    def decode_batch(self, batch: Any, max_n: int = 9) -> list[tuple[Any, ...]]:
        """Return samples of a batch as a person would write them."""
        return self._knowing_train().decode_batch(batch, max_n)

    def check(self, groups: By | None = None, *, near_duplicates: bool = True) -> CheckReport:
        """Look for leaks between the halves, duplicates, contradicting labels, broken files; see `data/check.py`.

        `groups` (a column, a function of the item, or one value an item) tells which items belong together.
        """
        from flambeau.data.check import check

        return check(self, groups, near_duplicates=near_duplicates)

    def _knowing_train(self) -> DataLoader:
        if isinstance(self.train, DataLoader):
            return self.train
        raise ArgumentError(
            f"The training loader is a {type(self.train).__name__}, which does not know what its columns are, so "
            "nothing can be shown, decoded or told. Use flambeau's DataLoader, or draw the tensors with show_images."
        )

    def summary(self, show_batch: bool = False) -> None:
        """Walk one training item and one training batch through the loaders' stages aloud."""
        from flambeau.data.summary import walk_loader

        walk_loader(self._knowing_train(), show_batch)

    def __repr__(self) -> str:
        return "\n".join(repr(loader) for loader in self.loaders)


def _usual_bs(dataset: Any, drop_last: bool) -> int:
    """Return the batch size of loaders that were told none: 64, unless that would leave no batch for training."""
    n_items = len(dataset) if hasattr(dataset, "__len__") else 0
    if not drop_last or not 0 < n_items < USUAL_BS:
        return USUAL_BS
    print(f"Only {n_items} training items: the batch is lowered from {USUAL_BS} to {n_items}. Choose it with bs=...")
    return n_items


def require_settings(loader: type[DataLoader], options: dict[str, Any]) -> None:
    """Check that a class of loaders takes these options.

    Raises:
        UnknownNameError: it does not; the nearest are proposed.
    """
    taken = signature(loader).parameters
    known = [name for name, parameter in taken.items() if parameter.kind is not parameter.VAR_KEYWORD]
    for name in options:
        if name not in known and len(known) == len(taken):
            raise unknown_name("option of a loader", name, known)


def seeded(seed: int | None) -> dict[str, int]:
    """Return the setting by which the seed of the split governs order and augmentation, too."""
    return {} if seed is None else {"seed": seed}


def get_c(dls: DataLoaders) -> int:
    """Return how many numbers the model must put out: `dls.c`."""
    return dls.c
