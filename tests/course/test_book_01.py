"""Book, chapter 1: the first classifier, an uploaded picture, and pictures with a class for each pixel."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from flambeau.vision.all import *
from flambeau.vision.widgets import *


@pytest.mark.usefixtures("pets")
def test_the_first_model_of_the_book() -> None:
    path = untar_data(URLs.PETS) / "images"

    def is_cat(x):
        return x[0].isupper()

    dls = ImageDataLoaders.from_name_func(
        path, get_image_files(path), valid_pct=0.2, seed=42, label_func=is_cat, item_tfms=Resize(64), bs=8
    )
    learn = cnn_learner(dls, "tf_efficientnet_lite0", metrics=error_rate)
    learn.fine_tune(1)

    img = PILImage.create(path / "Birman_2.jpg")
    assert img.to_thumb(32).size[1] <= 32
    uploader = widgets.FileUpload()
    assert uploader.data == []
    uploader = SimpleNamespace(data=[(path / "Birman_2.jpg").read_bytes()])
    img = PILImage.create(uploader.data[0])
    is_cat, _, probs = learn.predict(img)
    assert str(is_cat) in ("True", "False")
    assert 0 <= probs[1].item() <= 1


def test_what_is_uploaded_comes_as_bytes() -> None:
    uploader = FileUpload()
    about = {"name": "a.jpg", "type": "image/jpeg", "size": 2, "last_modified": datetime.now(UTC)}
    uploader.value = ({**about, "content": b"ab"},)
    assert uploader.data == [b"ab"]


@pytest.fixture
def camvid(place_archive: Callable[[str, Path], None], shapes: Callable[..., None], tmp_path: Path) -> None:
    root = Path(tmp_path) / "camvid_tiny"
    shapes(root / "images", "road_{}.png", 8, "red")
    (root / "labels").mkdir()
    for file in get_image_files(root / "images"):
        grey = array(PILImage.create(file))
        PIL.Image.fromarray((grey[..., 0] > 150).astype(np.uint8)).save(root / "labels" / f"{file.stem}_P.png")
    (root / "codes.txt").write_text("Void\nShape\n")
    place_archive(URLs.CAMVID_TINY, root)


@pytest.mark.usefixtures("camvid")
def test_pictures_with_a_class_for_each_pixel_are_loaded_and_shown() -> None:
    path = untar_data(URLs.CAMVID_TINY)
    dls = SegmentationDataLoaders.from_label_func(
        path,
        bs=4,
        fnames=get_image_files(path / "images"),
        label_func=lambda o: path / "labels" / f"{o.stem}_P{o.suffix}",
        codes=np.loadtxt(path / "codes.txt", dtype=str),
        item_tfms=Resize(40),
    )
    x, y = dls.one_batch()
    assert x.shape == (4, 3, 40, 40)
    assert y.shape == (4, 40, 40)
    assert dls.vocab == ["Void", "Shape"]
    dls.show_batch(max_n=4, figsize=(7, 8))
