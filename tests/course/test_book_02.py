"""Book, chapter 2: from collected pictures to an app, by way of cleaning them with the model's help."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from flambeau.vision.all import *
from flambeau.vision.widgets import *

BEARS = {"grizzly": "red", "black": "blue", "teddy": "yellow"}


@pytest.fixture
def path(shapes: Callable[..., None]) -> Path:
    """Draw bears, one file of which is no picture."""
    for bear, colour in BEARS.items():
        shapes(Path("bears") / bear, "{}.jpg", 8, colour)
    (Path("bears") / "black" / "9.jpg").write_text("not found")
    return Path("bears")


def test_bears_from_the_folder_to_an_app(path: Path) -> None:
    fns = get_image_files(path)
    failed = verify_images(fns)
    assert failed.map(str) == [str(path / "black" / "9.jpg")]
    failed.map(Path.unlink)

    bears = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=RandomSplitter(valid_pct=0.4, seed=42),
        get_y=parent_label,
        item_tfms=Resize(40),
    )
    dls = bears.dataloaders(path, bs=4)
    dls.valid.show_batch(max_n=4, nrows=1)
    for item_tfms in (
        Resize(40, ResizeMethod.Squish),
        Resize(40, ResizeMethod.Pad, pad_mode="zeros"),
        RandomResizedCrop(40, min_scale=0.3),
    ):
        bears = bears.new(item_tfms=item_tfms)
        dls = bears.dataloaders(path, bs=4)
        drawing = dls.train.show_batch(max_n=4, nrows=1, unique=True)
        assert len(drawing.figure.axes) == 4
    bears = bears.new(item_tfms=Resize(40), batch_tfms=aug_transforms(mult=2))
    dls = bears.dataloaders(path, bs=4)
    dls.train.show_batch(max_n=8, nrows=2, unique=True)

    bears = bears.new(item_tfms=RandomResizedCrop(32, min_scale=0.5), batch_tfms=aug_transforms())
    dls = bears.dataloaders(path, bs=4)
    learn = cnn_learner(dls, resnet18, metrics=error_rate, pretrained=False)
    learn.fine_tune(1)
    interp = ClassificationInterpretation.from_learner(learn)
    interp.plot_confusion_matrix()
    interp.plot_top_losses(5, nrows=1)
    assert interp.confusion_matrix().sum() == len(dls.valid_ds)

    learn.export()
    exported = Path().ls(file_exts=".safetensors")
    assert len(exported) == 1
    learn_inf = load_learner(exported[0])
    pred, pred_idx, _ = learn_inf.predict(path / "grizzly" / "1.jpg")
    assert learn_inf.dls.vocab == ["black", "grizzly", "teddy"]
    assert pred == learn_inf.dls.vocab[pred_idx]

    btn_upload = widgets.FileUpload()
    btn_run = widgets.Button(description="Classify")
    out_pl, lbl_pred = widgets.Output(), widgets.Label()

    def on_click_classify(change):
        img = PILImage.create(path / "teddy" / "1.jpg")
        pred, pred_idx, probs = learn_inf.predict(img)
        lbl_pred.value = f"Prediction: {pred}; Probability: {probs[pred_idx]:.04f}"

    btn_run.on_click(on_click_classify)
    page = VBox([widgets.Label("Select your bear!"), btn_upload, btn_run, out_pl, lbl_pred])
    page.children[2].click()
    assert lbl_pred.value.startswith("Prediction: ")


def test_the_cleaner_keeps_choices_when_class_or_split_is_switched(path: Path) -> None:
    (path / "black" / "9.jpg").unlink()
    dls = ImageDataLoaders.from_folder(path, valid_pct=0.4, seed=42, item_tfms=Resize(32), bs=4)
    learn = vision_learner(dls, resnet18, metrics=error_rate, pretrained=False)
    cleaner = ImageClassifierCleaner(learn)
    assert len(cleaner.fns) == 24
    assert (cleaner.delete(), cleaner.change()) == ([], [])

    worst = cleaner.decisions.worst("black", "Train")
    cleaner.cleaner.dropdowns()[0].value = "<Delete>"
    cleaner.class_choice.value = "teddy"
    cleaner.split_choice.value = "Valid"
    moved = cleaner.decisions.worst("teddy", "Valid")[-1]
    cleaner.cleaner.dropdowns()[-1].value = "grizzly"
    cleaner.split_choice.value = "Train"
    cleaner.class_choice.value = "black"
    assert cleaner.cleaner.dropdowns()[0].value == "<Delete>"
    assert list(cleaner.delete()) == [worst[0]]
    assert list(cleaner.change()) == [(moved, "grizzly")]

    for idx in cleaner.delete():
        cleaner.fns[idx].unlink()
    for idx, cat in cleaner.change():
        shutil.move(str(cleaner.fns[idx]), path / cat / "moved.jpg")
    assert len(get_image_files(path / "black")) == 7
    assert len(get_image_files(path / "grizzly")) == 9
