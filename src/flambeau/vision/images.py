"""Pictures and masks: after reading it you know how a file becomes pixels, when, and what happens to odd files.

`create` reads a file's header only. The pixels are decoded when somebody needs them, and then near the size that is
wanted, turned upright (EXIF), and converted to the class's own mode.
"""

from __future__ import annotations

import io
import math
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import PIL.Image
import PIL.ImageFile
import torch
from PIL.Image import Resampling, Transpose
from torch import Tensor

from flambeau.data.kinds import Kind, Mask, Picture
from flambeau.foundation.errors import ImageError

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# channel means and deviations of pixels in 0..1: ILSVRC-2012, CIFAR-10 and MNIST training sets, as commonly published
imagenet_stats = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
cifar_stats = ([0.491, 0.482, 0.447], [0.247, 0.243, 0.261])
mnist_stats = ([0.131], [0.308])

# EXIF 2.3, tag 0x0112: what turns a stored picture upright
_ORIENTATION_TAG = 0x0112
_UPRIGHT = {
    2: Transpose.FLIP_LEFT_RIGHT,
    3: Transpose.ROTATE_180,
    4: Transpose.FLIP_TOP_BOTTOM,
    5: Transpose.TRANSPOSE,
    6: Transpose.ROTATE_270,
    7: Transpose.TRANSVERSE,
    8: Transpose.ROTATE_90,
}
_EXIF_KEYS = frozenset(("exif", "xmp", "XML:com.adobe.xmp", "Raw profile type exif"))
_SCALED_16_BIT = ("I;16", "I;16L", "I;16B", "I;16N")


class PILImage(PIL.Image.Image):
    """An RGB picture whose pixels are decoded when first needed.

    Transparent pixels (RGBA, LA, a palette with transparency) are put on white, 16-bit greys are scaled to 8 bits, an
    animation gives its first frame, and the EXIF orientation is applied.

    The scale of 16-bit greys is that of the file, 0..65535, not of what a picture holds: pictures stay comparable. Of
    12-bit pictures (0..4095, as X-rays and microscopes give), which fill a sixteenth of it, little is seen;
    `dls.check()` finds them. Write them anew, so that the pictures to predict are treated alike: `PIL.Image.fromarray(
    np.asarray(PIL.Image.open(file)).astype("uint16") * 16).save(file)`.
    """

    kind: ClassVar[Kind] = Picture()
    wanted_mode: ClassVar[str] = "RGB"

    _source: PIL.Image.Image | None = None
    _orientation: int = 1
    _name: str = ""
    _is_foreign: bool = False
    _fault: str | None = None

    @classmethod
    def create(cls, x: Any) -> Self:
        """Return a picture for a path, bytes, an open file, an array (H,W[,C]), a tensor ([C,]H,W) or a PIL image.

        Raises:
            ImageError: there is no such file, or it is no picture.
        """
        if isinstance(x, cls):
            return x
        if isinstance(x, str | os.PathLike | io.IOBase):
            return cls._of_file(x)
        if isinstance(x, bytes | bytearray | memoryview):
            return cls._of_file(io.BytesIO(x))
        if isinstance(x, PIL.Image.Image):
            image = cls._of_source(x, getattr(x, "filename", "") or f"a PIL image of mode {x.mode}")
            image._is_foreign = True
            return image
        if isinstance(x, Tensor):
            x = x.detach().cpu()
            x = (x.permute(1, 2, 0) if x.ndim == 3 else x).numpy()
        if isinstance(x, np.ndarray):
            return cls._of_source(_image_of_array(x), f"an array of shape {x.shape}")
        raise ImageError(
            "A picture is made from a path, bytes, an open file, an array, a tensor or a PIL image; "
            f"got {type(x).__name__}: {str(x)[:100]!r}."
        )

    @classmethod
    def _of_file(cls, file: Any) -> Self:
        name = os.fspath(file) if isinstance(file, str | os.PathLike) else getattr(file, "name", "the given bytes")
        try:
            source = PIL.Image.open(file)
        except Exception as error:
            raise _unreadable(file, str(name), error) from error
        return cls._of_source(source, str(name))

    @classmethod
    def _of_source(cls, source: PIL.Image.Image, name: str) -> Self:
        image = cls()
        image._source, image._name, image._mode = source, name, cls.wanted_mode
        image._size = source._size
        if _EXIF_KEYS.isdisjoint(source.info) and not hasattr(source, "tag_v2"):
            return image
        image._orientation = _orientation(source)
        if image._orientation >= 5:
            image._size = source._size[::-1]
        return image

    def decode_near(self, size: tuple[float, float]) -> tuple[float, float]:
        """Let a JPEG that is not decoded yet be decoded smaller, but not below `size` (width, height).

        Returns the (width, height) of the picture in the pixels that `load` will give; not whole numbers where the
        last row or column of pixels is only partly covered. `.size` changes with it.
        """
        source = self._source
        if not isinstance(source, PIL.ImageFile.ImageFile) or source.format != "JPEG" or source._im is not None:
            return self._size
        turned = self._orientation >= 5
        wanted = (max(1, math.floor(size[0])), max(1, math.floor(size[1])))
        drafted = source.draft(None, wanted[::-1] if turned else wanted)
        if drafted is None:
            return self._size
        width, height = drafted[1][2:]
        self._size = source._size[::-1] if turned else source._size
        return (height, width) if turned else (width, height)

    def load(self) -> Any:
        """Decode the pixels if that has not been done, and close the file.

        Raises:
            ImageError: the file is cut off or damaged.
        """
        if self._source is not None:
            self._decode(self._source)
        return super().load()

    def _decode(self, source: PIL.Image.Image) -> None:
        if self._fault is not None:
            raise ImageError(self._fault)
        try:
            source.load()
            pixels = source if self._is_ready(source) else self._in_mode(source)
        except Exception as error:
            known = isinstance(error, ImageError)
            fault = error if known else _unreadable(getattr(source, "filename", ""), self._name, error)
            self._fault = str(fault)
            self._close(source)
            raise fault from (None if known else error)
        if self._orientation in _UPRIGHT:
            pixels = pixels.transpose(_UPRIGHT[self._orientation])
        # an image that somebody else opened may be written to or closed by its owner
        self.im = pixels.im.copy() if pixels is source and self._is_foreign else pixels.im
        self._mode, self._size = pixels.mode, pixels.size
        self._source = None
        self._close(source)

    def _close(self, source: PIL.Image.Image) -> None:
        # PIL leaves a file open when it holds more frames, or when decoding fails
        if isinstance(source, PIL.ImageFile.ImageFile) and not self._is_foreign:
            source.close()

    def __del__(self) -> None:
        # a picture that was only asked for its size has left its file open
        if self._source is not None and getattr(self._source, "_exclusive_fp", False):
            self._close(self._source)

    def _is_ready(self, source: PIL.Image.Image) -> bool:
        return source.mode == self.wanted_mode and "transparency" not in source.info

    def _in_mode(self, source: PIL.Image.Image) -> PIL.Image.Image:
        if source.mode in (*_SCALED_16_BIT, "I", "F"):
            source = PIL.Image.fromarray(_eight_bits(np.asarray(source), self._name))
        if source.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in source.info:
            layer = source.convert("RGBA")
            source = PIL.Image.new("RGBA", layer.size, "white")
            source.alpha_composite(layer)
        return source if source.mode == self.wanted_mode else source.convert(self.wanted_mode)

    def _new(self, im: Any) -> PIL.Image.Image:
        # PIL makes the results of resize, crop, rotate, ... through this; they stay pictures of the same class
        made = super()._new(im)
        if made.mode == self.mode:
            made.__class__ = type(self)
        return made

    def draft(self, mode: Any, size: Any) -> None:
        """Do nothing: `decode_near` is the one way to a smaller decoding, so that `.size` never changes unasked."""

    def to_tensor(self) -> Tensor:
        """Return the pixels as uint8 (channel, height, width); the memory lies in order of height, width, channel."""
        pixels = torch.frombuffer(bytearray(self.tobytes()), dtype=torch.uint8)
        width, height = self._size
        return pixels.view(height, width, -1).permute(2, 0, 1)

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return self._size[1], self._size[0]

    @property
    def aspect(self) -> float:
        """Width divided by height."""
        return self._size[0] / self._size[1]

    @property
    def n_px(self) -> int:
        """The number of pixels."""
        return self._size[0] * self._size[1]

    def to_thumb(self, h: int, w: int | None = None) -> PIL.Image.Image:
        """Return a copy that fits into `h` by `w` pixels (`w` as `h` when not given)."""
        thumb = self.copy()
        thumb.thumbnail((w or h, h))
        return thumb

    def reshape(self, h: int, w: int, resample: int = Resampling.NEAREST) -> PIL.Image.Image:
        """Return the picture at height `h` and width `w`, itself where it has that size."""
        return self if self.shape == (h, w) else self.resize((w, h), resample)

    def resize_max(
        self,
        resample: int = Resampling.NEAREST,
        max_px: int | None = None,
        max_h: int | None = None,
        max_w: int | None = None,
    ) -> PIL.Image.Image:
        """Return the picture made smaller until no limit is exceeded, its aspect kept."""
        height, width = self.shape
        shrink = max(
            1.0,
            math.sqrt(self.n_px / max_px) if max_px else 1.0,
            height / max_h if max_h else 1.0,
            width / max_w if max_w else 1.0,
        )
        return self.reshape(max(1, round(height / shrink)), max(1, round(width / shrink)), resample)

    def to_bytes_format(self, format: str = "png") -> bytes:
        """Return the picture as the bytes of a file in `format`."""
        buffer = io.BytesIO()
        self.save(buffer, format=format)
        return buffer.getvalue()

    def show(  # type: ignore[override]
        self,
        ax: Axes | None = None,
        ctx: Axes | None = None,
        figsize: tuple[float, float] | None = None,
        title: str | None = None,
        cmap: str | None = None,
        alpha: float | None = None,
        **options: Any,
    ) -> Axes:
        """Draw on axes (new ones by default) and return them."""
        given = {"figsize": figsize, "cmap": cmap, "alpha": alpha, **options}
        chosen = {name: value for name, value in given.items() if value is not None}
        return self.kind.show(self.to_tensor(), ax=ax if ax is not None else ctx, title=title, **chosen)

    def __repr__(self) -> str:
        width, height = self._size
        return f"{type(self).__name__} mode={self.mode} size={width}x{height}"


class PILImageBW(PILImage):
    """A picture in shades of grey: one channel."""

    wanted_mode: ClassVar[str] = "L"


class PILMask(PILImage):
    """A class index for each pixel, exactly as stored: 8 bits, the indices of a palette, or 16 bits."""

    kind: ClassVar[Kind] = Mask()
    wanted_mode: ClassVar[str] = "L"

    def _is_ready(self, source: PIL.Image.Image) -> bool:
        return source.mode == "L"

    def _in_mode(self, source: PIL.Image.Image) -> PIL.Image.Image:
        if source.mode in ("P", "1"):
            return PIL.Image.fromarray(np.asarray(source).astype(np.uint8))
        if source.mode in (*_SCALED_16_BIT, "I"):
            return PIL.Image.fromarray(np.asarray(source).astype(np.int32))
        pixels = np.asarray(source)
        layers = pixels[..., :3] if source.mode in ("RGB", "RGBA") else pixels[..., :1]
        if source.mode not in ("RGB", "RGBA", "LA") or (layers != layers[..., :1]).any():
            raise ImageError(
                f"{self._name}: a mask holds one class index a pixel, but this one is in colours (mode {source.mode}). "
                "Turn each colour into its class index first, in get_y or once on disk."
            )
        return PIL.Image.fromarray(np.ascontiguousarray(layers[..., 0]))

    def to_tensor(self) -> Tensor:
        """Return the class indices as integers (height, width): uint8, or int32 for masks of more than 8 bits."""
        self.load()
        dtype = torch.uint8 if self.mode == "L" else torch.int32
        width, height = self._size
        return torch.frombuffer(bytearray(self.tobytes()), dtype=dtype).view(height, width)


class Image:
    """What notebooks use of PIL's `Image` module; `open` gives a `PILImage`, or a `PILImageBW` for grey files."""

    Image = PIL.Image.Image
    Resampling = PIL.Image.Resampling
    Transpose = PIL.Image.Transpose
    NEAREST = PIL.Image.Resampling.NEAREST
    BILINEAR = PIL.Image.Resampling.BILINEAR
    BICUBIC = PIL.Image.Resampling.BICUBIC
    LANCZOS = PIL.Image.Resampling.LANCZOS
    new = staticmethod(PIL.Image.new)
    fromarray = staticmethod(PIL.Image.fromarray)

    @staticmethod
    def open(file: Any) -> PILImage:
        """Return the picture in a file, its pixels not yet decoded.

        Raises:
            ImageError: there is no such file, or it is no picture.
        """
        image = PILImage._of_file(file)
        if image._source is not None and image._source.mode in ("1", "L", *_SCALED_16_BIT):
            source, image._source = image._source, None  # handed on, still open
            return PILImageBW._of_source(source, image._name)
        return image


def load_image(file: Any, mode: str | None = None) -> PIL.Image.Image:
    """Return a file's picture with its pixels decoded, in `mode` where one is given."""
    image = Image.open(file)
    image.load()
    return image.convert(mode) if mode is not None and mode != image.mode else image


def image2tensor(img: Any) -> Tensor:
    """Return a picture's pixels as uint8 (channel, height, width)."""
    if isinstance(img, PILImage) and not isinstance(img, PILMask):
        return img.to_tensor()
    pixels = torch.from_numpy(np.array(img))
    return pixels[None] if pixels.ndim == 2 else pixels.permute(2, 0, 1)


def to_image(x: Any) -> PIL.Image.Image:
    """Return a PIL image for a tensor ([C,]H,W) or array (H,W[,C]) of pixels, uint8 or float in 0..1."""
    if isinstance(x, PIL.Image.Image):
        return x
    grey = x.ndim == 2 or (isinstance(x, Tensor) and x.shape[0] == 1)
    image = (PILImageBW if grey else PILImage).create(x)
    image.load()
    return image


def _orientation(source: PIL.Image.Image) -> int:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = source.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # damaged EXIF is common and says nothing about the pixels: they are taken as stored
        return 1
    return found if found in _UPRIGHT else 1


def _image_of_array(pixels: np.ndarray) -> PIL.Image.Image:
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    if pixels.ndim not in (2, 3) or (pixels.ndim == 3 and pixels.shape[2] not in (3, 4)) or 0 in pixels.shape:
        raise ImageError(
            "Expected an array of shape (height, width) or (height, width, 3), or a tensor (3, height, width); "
            f"got an array of shape {pixels.shape}."
        )
    if pixels.dtype == bool:
        return PIL.Image.fromarray(pixels)
    if pixels.dtype == np.uint16 and pixels.ndim == 2:
        return PIL.Image.fromarray(np.ascontiguousarray(pixels))
    if pixels.dtype != np.uint8:
        # whole numbers of one channel keep their values here, for masks; a picture scales them when it is decoded
        labels = pixels.ndim == 2 and pixels.dtype.kind in "iu"
        pixels = pixels.astype(np.int32) if labels else _eight_bits(pixels, "an array")
    return PIL.Image.fromarray(np.ascontiguousarray(pixels))


def _eight_bits(pixels: np.ndarray, name: str) -> np.ndarray:
    """Return pixels as uint8: 16 bits are scaled, whole numbers up to 255 kept, floats in 0..1 scaled."""
    low, high = float(pixels.min()), float(pixels.max())
    if pixels.dtype.kind == "f" and low >= 0 and high <= 1:
        return np.round(pixels * 255).astype(np.uint8)
    if low >= 0 and high <= 255 and pixels.dtype not in (np.uint16, np.dtype(">u2")):
        return np.round(pixels).astype(np.uint8)
    if low >= 0 and high <= 65535 and pixels.dtype.kind in "iu":
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)  # 65535 = 255 * 257
    raise ImageError(
        f"{name}: pixels must be in 0..255 (8 bits), 0..65535 (16 bits) or 0..1 (floats); these go from {low:g} to "
        f"{high:g} ({pixels.dtype}). Scale them first."
    )


def _unreadable(file: Any, name: str, error: Exception) -> ImageError:
    """Return the error for a file that is no readable picture: what was found instead and what to do."""
    advice = (
        "failed = verify_images(get_image_files(path)) lists all files that cannot be read, failed.map(Path.unlink) "
        "deletes them."
    )
    if isinstance(error, PIL.Image.DecompressionBombError):
        return ImageError(
            f"{name}: the header promises more pixels than are safe to decode ({error}). "
            "Make the picture smaller with another program, or leave it out."
        )
    if isinstance(error, FileNotFoundError):
        return ImageError(f"{name}: expected a picture, but there is no file of this name. Check the path.")
    found = _what_is_in(file)
    if isinstance(error, PIL.UnidentifiedImageError | IsADirectoryError) or "empty" in found:
        return ImageError(f"{name}: expected a picture, found {found}. Remove or replace it; {advice}")
    reason = str(error) or type(error).__name__
    return ImageError(
        f"{name}: the picture begins well but its pixels cannot be read: {reason}. The file is damaged or cut off "
        f"({found}). Fetch it again or remove it; {advice}"
    )


def _what_is_in(file: Any) -> str:
    if isinstance(file, io.IOBase) and file.seekable():
        file.seek(0)
        start, size = file.read(64), file.seek(0, io.SEEK_END)
    elif isinstance(file, str | os.PathLike) and os.fspath(file):
        path = Path(file)
        if path.is_dir():
            return "a folder"
        if not path.is_file():
            return "no file of that name"
        with path.open("rb") as opened:
            start, size = opened.read(64), path.stat().st_size
    else:
        return "size unknown"
    if size == 0:
        return "an empty file (0 bytes)"
    if b"<html" in start.lower() or b"<!doctype" in start.lower():
        return f"a web page ({size:,} bytes)"
    try:
        return f"text that starts with {start.decode()[:30]!r} ({size:,} bytes)"
    except UnicodeDecodeError:
        return f"{size:,} bytes, starting with {start[:8].hex(' ')}"
