"""Pictures and masks: what `create` reads, how odd files come out, and what the errors say."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch

from flambeau.data.kinds import Mask, Picture
from flambeau.foundation.errors import ImageError
from flambeau.vision.images import Image, PILImage, PILImageBW, PILMask, image2tensor, load_image, to_image

GRADIENT = np.stack([*np.meshgrid(np.arange(40) * 6, np.arange(30) * 8), np.zeros((30, 40))], -1).astype(np.uint8)


def saved(image: PIL.Image.Image, path: Path, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.fixture
def jpeg(tmp_path: Path) -> Path:
    return saved(PIL.Image.fromarray(GRADIENT), tmp_path / "gradient.jpg", quality=95)


def test_size_is_known_before_any_pixel_is_decoded(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    assert image.size == (40, 30)
    assert image._im is None
    assert image.shape == (30, 40)
    assert (image.aspect, image.n_px) == (40 / 30, 1200)


def test_file_is_closed_after_load(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    opened = image._source.fp  # type: ignore[union-attr]
    image.load()
    assert opened.closed


@pytest.mark.parametrize(
    "make", [str, Path, lambda p: p.read_bytes(), lambda p: io.BytesIO(p.read_bytes()), PIL.Image.open]
)
def test_all_sources_give_the_same_picture(jpeg: Path, make) -> None:
    expected = torch.from_numpy(np.array(PIL.Image.open(jpeg))).permute(2, 0, 1)
    assert torch.equal(PILImage.create(make(jpeg)).to_tensor(), expected)


def test_arrays_and_tensors_become_pictures() -> None:
    assert torch.equal(PILImage.create(GRADIENT).to_tensor(), torch.from_numpy(GRADIENT).permute(2, 0, 1))
    assert torch.equal(
        PILImage.create(torch.from_numpy(GRADIENT).permute(2, 0, 1)).to_tensor()[0], torch.from_numpy(GRADIENT[..., 0])
    )
    assert PILImage.create(np.array([[True, False]])).to_tensor()[:, 0].tolist() == [[255, 0]] * 3
    assert PILImageBW.create(np.array([[0.0, 1.0]])).to_tensor().tolist() == [[[0, 255]]]
    assert PILImageBW.create(np.array([[0, 65535]], dtype=np.uint16)).to_tensor().tolist() == [[[0, 255]]]
    assert PILImageBW.create(np.array([[0, 257]], dtype=np.uint16)).to_tensor().tolist() == [[[0, 1]]]


def test_picture_of_a_picture_is_itself(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    assert PILImage.create(image) is image
    assert PILImageBW.create(image).to_tensor().shape == (1, 30, 40)


def test_foreign_file_stays_open_for_its_owner(jpeg: Path) -> None:
    foreign = PIL.Image.open(jpeg)
    image = PILImage.create(foreign)
    image.putpixel((0, 0), (9, 9, 9))
    assert foreign.getpixel((0, 0)) != (9, 9, 9)


def test_foreign_image_is_not_shared() -> None:
    foreign = PIL.Image.new("RGB", (2, 2), "red")
    image = PILImage.create(foreign)
    image.putpixel((0, 0), (0, 0, 255))
    assert foreign.getpixel((0, 0)) == (255, 0, 0)


def test_kinds_are_told_by_the_class() -> None:
    assert PILImage.kind == PILImageBW.kind == Picture()
    assert PILMask.kind == Mask()


def test_copies_and_pickles_keep_class_and_pixels(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    for twin in (pickle.loads(pickle.dumps(image)), copy.deepcopy(image), copy.copy(image), image.copy()):
        assert type(twin) is PILImage
        assert torch.equal(twin.to_tensor(), image.to_tensor())


def test_results_of_pil_methods_stay_pictures(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    assert type(image.resize((5, 4))) is PILImage
    assert type(image.transpose(Image.Transpose.ROTATE_90)) is PILImage
    assert type(image.convert("L")) is PIL.Image.Image


def test_decode_near_gives_at_least_the_wanted_size(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    assert image.decode_near((10, 7)) == (10.0, 7.5)
    assert image.size == (10, 8)
    assert image.to_tensor().shape == (3, 8, 10)


def test_decode_near_leaves_other_formats_alone(tmp_path: Path) -> None:
    image = PILImage.create(saved(PIL.Image.fromarray(GRADIENT), tmp_path / "a.png"))
    assert image.decode_near((5, 5)) == (40, 30)
    assert image.size == (40, 30)


# what is stored at the corners (white top left, red top right) before turning, for EXIF orientations 1-8
TURNS = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int) -> None:
    upright = PIL.Image.new("RGB", (48, 32), "black")
    upright.paste("white", (0, 0, 16, 16))
    upright.paste("red", (32, 0, 48, 16))
    undo = TURNS[orientation]
    stored = upright if undo is None else upright.transpose(PIL.Image.Transpose(undo))
    exif = PIL.Image.Exif()
    exif[0x0112] = orientation
    image = PILImage.create(saved(stored, tmp_path / "turned.jpg", exif=exif, quality=95))
    assert image.size == (48, 32)
    pixels = image.to_tensor()
    assert pixels[:, 4, 4].min() > 240
    assert pixels[0, 4, 44] > 230
    assert pixels[1, 4, 44] < 30
    assert pixels[:, 28, 4].max() < 30


def test_turned_jpeg_is_decoded_near_the_upright_size(tmp_path: Path) -> None:
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    image = PILImage.create(saved(PIL.Image.new("RGB", (320, 80)), tmp_path / "turned.jpg", exif=exif))
    assert image.size == (80, 320)
    assert image.decode_near((20, 80)) == (20.0, 80.0)
    assert image.to_tensor().shape == (3, 80, 20)


def test_damaged_exif_means_as_stored(tmp_path: Path) -> None:
    path = saved(PIL.Image.new("RGB", (6, 4)), tmp_path / "exif.jpg", exif=b"Exif\x00\x00garbage")
    assert PILImage.create(path).to_tensor().shape == (3, 4, 6)


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    clear = PIL.Image.new("RGBA", (2, 2), (255, 0, 0, 0))
    clear.putpixel((1, 1), (255, 0, 0, 255))
    image = PILImage.create(saved(clear, tmp_path / "clear.png"))
    assert image.to_tensor()[:, 0, 0].tolist() == [255, 255, 255]
    assert image.to_tensor()[:, 1, 1].tolist() == [255, 0, 0]
    grey = PILImageBW.create(saved(PIL.Image.new("LA", (2, 2), (0, 0)), tmp_path / "la.png"))
    assert grey.to_tensor()[0, 0, 0] == 255


def test_palette_with_transparency_lies_on_white(tmp_path: Path) -> None:
    indexed = PIL.Image.new("P", (2, 1))
    indexed.putpalette([255, 0, 0, 0, 0, 255])
    indexed.putpixel((1, 0), 1)
    image = PILImage.create(saved(indexed, tmp_path / "palette.png", transparency=0))
    assert image.to_tensor()[:, 0].T.tolist() == [[255, 255, 255], [0, 0, 255]]


def test_16_bit_png_is_scaled_to_8(tmp_path: Path) -> None:
    deep = PIL.Image.fromarray(np.array([[0, 257, 32896, 65535]], dtype=np.uint16))
    path = saved(deep, tmp_path / "deep.png")
    assert PILImageBW.create(path).to_tensor().tolist() == [[[0, 1, 128, 255]]]
    assert PILImage.create(path).to_tensor()[:, 0, 3].tolist() == [255, 255, 255]


def test_cmyk_jpeg_becomes_rgb(tmp_path: Path) -> None:
    path = saved(PIL.Image.new("CMYK", (16, 16), (0, 255, 255, 0)), tmp_path / "print.jpg", quality=100)
    red, green, blue = PILImage.create(path).to_tensor()[:, 8, 8].tolist()
    assert red > 240
    assert max(green, blue) < 15


def test_animation_gives_its_first_frame_and_closes(tmp_path: Path) -> None:
    frames = [PIL.Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    path = saved(frames[0], tmp_path / "moving.gif", save_all=True, append_images=frames[1:])
    image = PILImage.create(path)
    opened = image._source.fp  # type: ignore[union-attr]
    assert image.to_tensor()[:, 0, 0].tolist() == [255, 0, 0]
    assert opened.closed  # type: ignore[union-attr]


def test_one_bit_picture_is_black_and_white(tmp_path: Path) -> None:
    path = saved(PIL.Image.fromarray(np.array([[True, False]])), tmp_path / "bits.png")
    assert PILImage.create(path).to_tensor()[0].tolist() == [[255, 0]]


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"cat\.jpg: expected a picture, but there is no file of this name"):
        PILImage.create(tmp_path / "cat.jpg")


def test_empty_file_says_so_and_names_verify_images(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_bytes(b"")
    words = r"cat\.jpg.*empty file \(0 bytes\).*verify_images\(.*failed\.map\(Path\.unlink\)"
    with pytest.raises(ImageError, match=words):
        PILImage.create(tmp_path / "cat.jpg")


def test_text_file_named_jpg_shows_its_words(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_text("I am not a cat")
    with pytest.raises(ImageError, match=r"found text that starts with 'I am not a cat' \(14 bytes\)"):
        PILImage.create(tmp_path / "cat.jpg")


def test_web_page_named_jpg_is_recognised(tmp_path: Path) -> None:
    (tmp_path / "cat.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    with pytest.raises(ImageError, match="found a web page"):
        PILImage.create(tmp_path / "cat.jpg")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_file_is_named_when_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    path = saved(PIL.Image.fromarray(noise), tmp_path / f"half{suffix}")
    path.write_bytes(path.read_bytes()[:-2000])
    image = PILImage.create(path)
    for _ in range(2):
        with pytest.raises(ImageError, match=rf"half\{suffix}: .*cannot be read.*damaged or cut off"):
            image.load()


def test_decompression_bomb_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(PIL.Image.new("L", (100, 100)), tmp_path / "bomb.png")
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(ImageError, match=r"bomb\.png: the header promises more pixels than are safe"):
        PILImage.create(path)


def test_wrong_kind_of_argument_is_named() -> None:
    with pytest.raises(ImageError, match=r"got int: '3'"):
        PILImage.create(3)
    with pytest.raises(ImageError, match=r"got an array of shape \(2, 3, 4, 5\)"):
        PILImage.create(np.zeros((2, 3, 4, 5), np.uint8))
    with pytest.raises(ImageError, match=r"from -1 to 300"):
        PILImageBW.create(np.array([[-1, 300]])).load()


# masks


def test_mask_keeps_its_class_indices(tmp_path: Path) -> None:
    classes = np.array([[0, 1, 31], [7, 200, 255]], dtype=np.uint8)
    mask = PILMask.create(saved(PIL.Image.fromarray(classes), tmp_path / "mask.png"))
    assert mask.to_tensor().tolist() == classes.tolist()
    assert mask.to_tensor().dtype == torch.uint8


def test_palette_mask_gives_the_palettes_indices(tmp_path: Path) -> None:
    indexed = PIL.Image.fromarray(np.array([[0, 3], [2, 1]], dtype=np.uint8))
    indexed.putpalette(list(range(12)))
    mask = PILMask.create(saved(indexed, tmp_path / "mask.png"))
    assert mask.to_tensor().tolist() == [[0, 3], [2, 1]]


def test_deep_and_one_bit_masks_keep_their_values(tmp_path: Path) -> None:
    deep = PIL.Image.fromarray(np.array([[0, 1000]], dtype=np.uint16))
    assert PILMask.create(saved(deep, tmp_path / "deep.png")).to_tensor().tolist() == [[0, 1000]]
    assert PILMask.create(np.array([[True, False]])).to_tensor().tolist() == [[1, 0]]
    assert PILMask.create(np.array([[5, 6]])).to_tensor().tolist() == [[5, 6]]


def test_grey_mask_stored_as_rgb_is_read_and_coloured_one_refused(tmp_path: Path) -> None:
    grey = np.repeat(np.array([[[3], [4]]], dtype=np.uint8), 3, -1)
    assert PILMask.create(grey).to_tensor().tolist() == [[3, 4]]
    path = saved(PIL.Image.new("RGB", (2, 2), "red"), tmp_path / "colours.png")
    with pytest.raises(ImageError, match=r"colours\.png: a mask holds one class index a pixel.*mode RGB"):
        PILMask.create(path).load()


# what notebooks call


def test_image_open_keeps_grey_files_grey(tmp_path: Path, jpeg: Path) -> None:
    path = saved(PIL.Image.fromarray(GRADIENT[..., 0]), tmp_path / "digit.png")
    assert type(Image.open(path)) is PILImageBW
    assert np.array(Image.open(path)).shape == (30, 40)
    assert type(Image.open(jpeg)) is PILImage
    assert isinstance(Image.open(jpeg), Image.Image)


def test_thumbnail_fits_and_leaves_the_picture(jpeg: Path) -> None:
    image = Image.open(jpeg)
    assert image.to_thumb(20).size == (20, 15)
    assert image.to_thumb(6, 40).size == (8, 6)
    assert image.size == (40, 30)


def test_resize_max_keeps_every_limit(jpeg: Path) -> None:
    image = PILImage.create(jpeg)
    assert image.resize_max(max_h=15).size == (20, 15)
    assert image.resize_max(max_px=300).size == (20, 15)
    assert image.resize_max(max_w=100).size == (40, 30)


def test_notebooks_can_display_a_lazy_picture(jpeg: Path) -> None:
    shown = PILImage.create(jpeg)._repr_png_()
    assert shown is not None
    assert shown[:4] == b"\x89PNG"
    assert PILImage.create(jpeg).to_bytes_format("jpeg")[:2] == b"\xff\xd8"


def test_show_draws_on_the_given_axes(jpeg: Path) -> None:
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    assert PILImage.create(jpeg).show(ctx=ax, title="a gradient") is ax
    assert ax.get_title() == "a gradient"
    assert ax.images[0].get_array().shape == (30, 40, 3)
    plt.close(figure)


def test_tensor_and_image_functions_agree(jpeg: Path) -> None:
    pixels = image2tensor(PIL.Image.open(jpeg))
    assert torch.equal(pixels, image2tensor(PILImage.create(jpeg)))
    assert image2tensor(to_image(pixels)).shape == (3, 30, 40)
    assert to_image(pixels[:1]).mode == "L"
    assert load_image(jpeg, "L").mode == "L"
