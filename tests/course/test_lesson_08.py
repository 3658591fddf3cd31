"""Lesson 6, road to the top 1: a first submission for pictures of rice, by name of a timm network."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau.vision.all import *


@pytest.fixture
def paddy(shapes: Callable[..., None], tmp_path: Path) -> Path:
    """Draw the competition's folders: train_images by disease, test_images, and the sample of a submission."""
    path = Path(tmp_path / "paddy")
    for number, (disease, colour) in enumerate((("blast", "red"), ("normal", "green"), ("tungro", "yellow"))):
        shapes(path / "train_images" / disease, f"{number}0{{}}.jpg", 8, colour)
    shapes(path / "test_images", "2000{}.jpg", 5, "red")
    rows = pd.DataFrame({"image_id": [f"2000{n}.jpg" for n in range(1, 6)], "label": ""})
    rows.to_csv(path / "sample_submission.csv", index=False)
    return path


def test_a_first_submission(paddy: Path) -> None:
    path = paddy
    set_seed(42)
    assert [p.name for p in path.ls()] == ["sample_submission.csv", "test_images", "train_images"]
    trn_path = path / "train_images"
    files = get_image_files(trn_path)
    img = PILImage.create(files[0])
    assert img.size[0] == 48
    assert img.to_thumb(32).size[0] <= 32

    def f(o):
        return PILImage.create(o).size

    sizes = parallel(f, files, n_workers=2)
    assert pd.Series(sizes).value_counts().sum() == 24

    dls = ImageDataLoaders.from_folder(
        trn_path,
        valid_pct=0.2,
        seed=42,
        item_tfms=Resize(60, method="squish"),
        batch_tfms=aug_transforms(size=48, min_scale=0.75),
        bs=4,
    )
    dls.show_batch(max_n=6)
    learn = vision_learner(dls, "resnet26d", metrics=error_rate, path=".", pretrained=False).to_fp16()
    rates = learn.lr_find(num_it=12, suggest_funcs=(valley, slide))
    assert rates.valley > 0
    assert rates.slide > 0
    learn.fine_tune(1, 0.01)

    ss = pd.read_csv(path / "sample_submission.csv")
    tst_files = get_image_files(path / "test_images").sorted()
    tst_dl = dls.test_dl(tst_files)
    probs, _, idxs = learn.get_preds(dl=tst_dl, with_decoded=True)
    assert probs.shape == (5, 3)
    mapping = dict(enumerate(dls.vocab))
    results = pd.Series(idxs.numpy(), name="idxs").map(mapping)
    ss["label"] = results
    ss.to_csv("subm.csv", index=False)
    assert set(pd.read_csv("subm.csv").label) <= {"blast", "normal", "tungro"}
