"""The vision learner: after reading it you know how a name like resnet34 becomes a model ready to fine-tune."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path as AnyPath
from typing import Any

import torch
from torch import Tensor, nn

from flambeau.data.data_loaders import DataLoaders
from flambeau.data.dataset import in_few_words
from flambeau.data.kinds import Category, Mask, MultiCategory
from flambeau.data.normalize import Normalize
from flambeau.foundation.errors import ArgumentError, ShapeError
from flambeau.foundation.seeds import no_random
from flambeau.nn.optimizers import Adam
from flambeau.train.learner import Learner, Moms
from flambeau.vision.architectures import ArchitectureLike
from flambeau.vision.backbones import Cut
from flambeau.vision.models import VisionModel, create_vision_model, require_fitting_head, vision_splitter


def vision_learner(
    dls: DataLoaders,
    arch: ArchitectureLike,
    normalize: bool = True,
    n_out: int | None = None,
    pretrained: bool = True,
    weights: object = None,
    loss_func: Any = None,
    opt_func: Callable[..., torch.optim.Optimizer] = Adam,
    lr: float = 1e-3,
    splitter: Callable[[nn.Module], Sequence[Any]] = vision_splitter,
    cbs: Any = None,
    metrics: Any = None,
    path: str | AnyPath | None = None,
    model_dir: str | AnyPath = "models",
    wd: float | None = None,
    wd_bn_bias: bool = False,
    train_bn: bool = True,
    moms: Moms = (0.95, 0.85, 0.95),
    cut: Cut | None = None,
    init: Callable[[Tensor], Any] | None = nn.init.kaiming_normal_,
    custom_head: nn.Module | None = None,
    concat_pool: bool = True,
    pool: bool = True,
    lin_ftrs: Sequence[int] | None = None,
    ps: float | Sequence[float] = 0.5,
    first_bn: bool = True,
    bn_final: bool = False,
    lin_first: bool = False,
    y_range: tuple[float, float] | None = None,
    n_in: int | None = None,
    seed: int | None = None,
) -> Learner:
    """Return a learner whose model has the body of `arch` (a torchvision function, or any timm name) and a new head.

    A pretrained body is frozen at first, as `fine_tune` wants it, and the pictures are normalised with the statistics
    it was trained with (`normalize`), unless the loaders normalise already. The head is described in `create_head`.
    `n_in`, the number of channels, is read off the pictures; given, it must agree with them. `seed` makes the new
    weights repeatable and nothing else; `set_seed` governs dropout, too.

    Raises:
        UnknownNameError: no architecture has this name.
        DownloadError: pretrained weights cannot be fetched; the message names the choices.
        ArgumentError: `dls` are no loaders, they give no pictures, or the number of outputs is not known.
        ShapeError: the pictures have other than `n_in` channels, or `custom_head` expects other features.
    """
    if not isinstance(dls, DataLoaders):
        raise ArgumentError(
            "vision_learner takes the loaders first, such as ImageDataLoaders.from_folder(path, valid_pct=0.2), then "
            f"the architecture; got {in_few_words(dls)!r} of type {type(dls).__name__}."
        )
    kinds = dls.kinds
    batch = dls.one_batch()
    pictures = batch.inputs[0]
    if not isinstance(pictures, Tensor) or pictures.ndim != 4:
        raise ArgumentError(
            f"vision_learner needs one picture an item, a batch (n, channels, height, width); the loaders give "
            f"{[kind.text(value) for kind, value in zip(kinds, batch.columns, strict=False)]}."
        )
    n_out = n_out if n_out is not None else dls.c
    if not n_out:
        raise ArgumentError("The number of outputs is not known from the data; pass n_out=...")
    if n_in is not None and n_in != pictures.shape[1]:
        raise ShapeError(
            f"n_in={n_in} channels were expected, but the loaders give pictures of {pictures.shape[1]}: a batch of "
            f"shape {tuple(pictures.shape)}. Leave n_in out, or open the pictures otherwise: img_cls=PILImageBW for 1."
        )
    n_in, size = int(pictures.shape[1]), (int(pictures.shape[2]), int(pictures.shape[3]))
    with nullcontext() if seed is None else no_random(seed):
        model = create_vision_model(
            arch, n_out, n_in=n_in, pretrained=pretrained, weights=weights, cut=cut, image_size=size,
            custom_head=custom_head, init=init, lin_ftrs=lin_ftrs, ps=ps, pool=pool, concat_pool=concat_pool,
            first_bn=first_bn, bn_final=bn_final, lin_first=lin_first, y_range=y_range,
        )  # fmt: skip
    if custom_head is not None:
        require_fitting_head(model, size)
    # convolutions run 1.2 to 2 times as fast with the channels innermost, on the CPU too; the numbers stay the same
    model.to(memory_format=torch.channels_last)
    if normalize and model.pretrained:
        add_normalization(dls, model, n_in)
    learn = Learner(
        dls, model, loss_func=loss_func, opt_func=opt_func, lr=lr, splitter=splitter, cbs=cbs, metrics=metrics,
        path=path, model_dir=model_dir, wd=wd, wd_bn_bias=wd_bn_bias, train_bn=train_bn, moms=moms,
    )  # fmt: skip
    if model.pretrained:
        learn.freeze()
    print(_summary_line(learn, model, n_out, size))
    return learn


class ArchNormalize(Normalize):
    """The normalisation that a pretrained body asks for, as opposed to one that the user chose."""


def add_normalization(dls: DataLoaders, model: VisionModel, n_in: int) -> None:
    """Normalise the loaders' pictures as the body expects; a normalisation of the user's own is left alone.

    One that an earlier learner put there for another body is replaced, and a printed line says so.
    """
    stats = model.body.input_stats
    if len(stats.mean) != n_in:
        return
    present = [tfm for tfm in dls.after_batch if isinstance(tfm, Normalize)]
    wanted = ArchNormalize(list(stats.mean), list(stats.std))
    if present and not isinstance(present[0], ArchNormalize):
        return
    if present and present[0].settings() != wanted.settings():
        print(f"The loaders now normalise for {model.body.name}; earlier learners of these loaders see it too.")
    if present:
        for loader in dls.loaders:
            loader.batch_tfms[:] = [tfm for tfm in loader.batch_tfms if not isinstance(tfm, ArchNormalize)]
    dls.add_tfms([wanted], "after_batch")


def _summary_line(learn: Learner, model: VisionModel, n_out: int, size: tuple[int, int]) -> str:
    target = learn.dls.kinds[learn.dls.n_inp] if len(learn.dls.kinds) > learn.dls.n_inp else None
    task = f"{n_out} classes" if isinstance(target, Category | Mask) else f"{n_out} number{'s' * (n_out != 1)}"
    task = f"{n_out} labels, any number of them" if isinstance(target, MultiCategory) else task
    loss = getattr(learn.loss_func, "__name__", type(learn.loss_func).__name__)
    start = "pretrained body, frozen at first" if model.pretrained else "random weights"
    return f"{model.body.name}: {task}, {loss}, pictures {size[0]}x{size[1]}, {start}, on {learn.device}"


def cnn_learner(dls: DataLoaders, arch: ArchitectureLike, **options: Any) -> Learner:
    """Return `vision_learner(dls, arch, ...)`: the name the book uses."""
    return vision_learner(dls, arch, **options)
