"""The usual augmentation of photos: after reading it you know what `aug_transforms` does and how parts are composed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from inspect import signature
from typing import Any

from flambeau.data.transform import Transform, as_transforms
from flambeau.foundation.errors import ArgumentError, unknown_name
from flambeau.vision.coordinates import AffineCoord, Dihedral, Flip, RandomResizedCropGPU, Rotate, Warp, Zoom
from flambeau.vision.geometry import PadMode
from flambeau.vision.lighting import Brightness, Contrast, Hue, Saturation
from flambeau.vision.picture_augment import Drawn, PictureAugment


def setup_aug_tfms(tfms: Any) -> list[Transform]:
    """Return the transforms with neighbouring changes of pictures composed into one."""
    composed: list[Transform] = []
    for transform in as_transforms(tfms):
        last = composed[-1] if composed else None
        changes_pictures = isinstance(transform, PictureAugment) and isinstance(last, PictureAugment)
        if changes_pictures and last is not None and last.split_idx == transform.split_idx:
            composed[-1] = ComposedAugment([last, transform])
            composed[-1].split_idx = transform.split_idx
        else:
            composed.append(transform)
    return composed


def aug_transforms(
    mult: float = 1.0,
    do_flip: bool = True,
    flip_vert: bool = False,
    max_rotate: float = 10.0,
    min_zoom: float = 1.0,
    max_zoom: float = 1.1,
    max_lighting: float = 0.2,
    max_warp: float = 0.2,
    p_affine: float = 0.75,
    p_lighting: float = 0.75,
    xtra_tfms: Any = None,
    size: int | Sequence[int] | None = None,
    mode: str = "bilinear",
    pad_mode: str = PadMode.Reflection,
    align_corners: bool = True,
    batch: bool = False,
    min_scale: float = 1.0,
    **unknown: Any,
) -> list[Transform]:
    """Return augmentations that suit most photos: mirror, tilt, turn, zoom, brightness, contrast.

    `mult` multiplies rotation, tilt and lighting. `size` is a side or (height, width). With `min_scale` below 1 a
    random part of at least that share of the area is shown at `size`. `flip_vert` allows all eight symmetries of a
    square. Each of the changes happens with its own probability; with `batch`, alike for a whole batch.
    `align_corners` is accepted for older code and changes nothing: sampling always counts from edge to edge.

    Raises:
        UnknownNameError: an argument has another name; the nearest is proposed.
        ArgumentError: `min_scale` is given without `size`.
    """
    for name in unknown:  # before Python 3.13 the language itself proposes none
        raise unknown_name("argument of aug_transforms", name, set(signature(aug_transforms).parameters) - {"unknown"})
    if min_scale != 1 and size is None:
        raise ArgumentError(f"min_scale={min_scale} shows a part of each picture at `size`: give size=224 or another.")
    coordinate_size = size if min_scale == 1 else None
    at = {"size": coordinate_size, "mode": mode, "pad_mode": pad_mode, "batch": batch}
    tfms: list[Any] = []
    if do_flip:
        tfms.append(Dihedral(p=0.5, **at) if flip_vert else Flip(p=0.5, **at))  # type: ignore[arg-type]
    if max_warp:
        tfms.append(Warp(max_warp * mult, p=p_affine, **at))  # type: ignore[arg-type]
    if max_rotate:
        tfms.append(Rotate(max_rotate * mult, p=p_affine, **at))  # type: ignore[arg-type]
    if min_zoom < 1 or max_zoom > 1:
        tfms.append(Zoom(min_zoom, max_zoom, p=p_affine, **at))  # type: ignore[arg-type]
    if size is not None and min_scale == 1 and not tfms:
        tfms.append(AffineCoord(size, mode, pad_mode))
    if max_lighting:
        tfms.append(Brightness(max_lighting * mult, p=p_lighting, batch=batch))
        tfms.append(Contrast(max_lighting * mult, p=p_lighting, batch=batch))
    if min_scale != 1 and size is not None:
        tfms.append(RandomResizedCropGPU(size, min_scale, (1, 1), mode, pad_mode=pad_mode, batch=batch))
    return setup_aug_tfms(tfms + as_transforms(xtra_tfms))


class ComposedAugment(PictureAugment):
    """Several changes made together: one matrix, one sampling and one pass of lighting for each picture."""

    def __init__(self, parts: Sequence[Any]) -> None:
        """Compose changes, each given as itself or as a pair of class name and settings."""
        super().__init__(1.0)
        made = [part if isinstance(part, PictureAugment) else _made(*part) for part in parts]
        self._parts = [inner for part in made for inner in part.parts]

    @property
    def parts(self) -> Sequence[PictureAugment]:
        return self._parts

    def add_to(self, drawn: Drawn, chances: Sequence[random.Random], training: bool) -> None:
        for part in self._parts:
            part.add_to(drawn, chances, training)

    @property
    def name(self) -> str:
        return " + ".join(part.name for part in self._parts)

    def is_random(self, training: bool) -> bool:
        return any(part.is_random(training) for part in self._parts)

    def is_moving(self, training: bool) -> bool:
        return any(part.is_moving(training) for part in self._parts)

    def settings(self) -> dict[str, Any]:
        return {"parts": [[type(part).__name__, part.settings()] for part in self._parts]}


PART_CLASSES: dict[str, type[PictureAugment]] = {
    cls.__name__: cls
    for cls in (
        *(AffineCoord, Flip, Dihedral, Rotate, Zoom, Warp, RandomResizedCropGPU),
        *(Brightness, Contrast, Saturation, Hue),
    )
}


def _made(name: str, settings: dict[str, Any]) -> PictureAugment:
    if name not in PART_CLASSES:
        raise unknown_name("augmentation", name, PART_CLASSES)
    return PART_CLASSES[name](**settings)
