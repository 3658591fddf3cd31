"""Book, chapter 5: pet breeds; presizing, what the loss looks at, and how a network is tuned in stages."""

from __future__ import annotations

import pytest

from flambeau.vision.all import *


@pytest.fixture
def pets_block() -> DataBlock:
    return DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=RandomSplitter(seed=42),
        get_y=using_attr(RegexLabeller(r"(.+)_\d+.jpg$"), "name"),
        item_tfms=Resize(60),
        batch_tfms=aug_transforms(size=48, min_scale=0.75),
    )


@pytest.mark.usefixtures("pets")
def test_breeds_are_read_from_names_and_told_apart(pets_block: DataBlock) -> None:
    path = untar_data(URLs.PETS)
    Path.BASE_PATH = path
    try:
        assert repr(path.ls()) == "(#1) [Path('images')]"
        fname = (path / "images").ls()[0]
        assert re.findall(r"(.+)_\d+.jpg$", fname.name) == ["Abyssinian"]
        dls = pets_block.dataloaders(path / "images", bs=8)
        dls.show_batch(nrows=1, ncols=3)
        assert dls.vocab == ["Abyssinian", "Birman", "beagle", "pug"]
        learn = cnn_learner(dls, resnet34, metrics=error_rate, pretrained=False)
        learn.fine_tune(1)
        x, y = dls.one_batch()
        assert set(y.tolist()) <= {0, 1, 2, 3}
        preds, _ = learn.get_preds(dl=[(x, y)])
        assert preds[0].sum().item() == pytest.approx(1, abs=1e-5)
        assert len(preds[0]) == 4

        interp = ClassificationInterpretation.from_learner(learn)
        interp.plot_confusion_matrix(figsize=(12, 12), dpi=60)
        assert isinstance(interp.most_confused(min_val=5), list)
    finally:
        Path.BASE_PATH = None


@pytest.mark.usefixtures("pets")
def test_a_block_says_what_goes_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    path = untar_data(URLs.PETS)
    pets1 = DataBlock(
        blocks=(ImageBlock, CategoryBlock),
        get_items=get_image_files,
        splitter=RandomSplitter(seed=42),
        get_y=using_attr(RegexLabeller(r"(.+)_\d+.jpg$"), "name"),
    )
    with pytest.raises(Exception, match="Resize"):
        pets1.summary(path / "images")
    assert "PILImage" in capsys.readouterr().out


@pytest.mark.usefixtures("pets")
def test_one_picture_augmented_in_one_go_and_step_by_step() -> None:
    path = untar_data(URLs.PETS)
    dblock1 = DataBlock(
        blocks=(ImageBlock(), CategoryBlock()),
        get_y=parent_label,
        item_tfms=Resize(60),
    )
    dls1 = dblock1.dataloaders([path / "images" / "pug_1.jpg"] * 20, bs=8)
    dls1.train.get_idxs = lambda: Inf.ones
    x, _y = dls1.valid.one_batch()
    _, axs = subplots(1, 2)
    x1 = TensorImage(x.clone())
    x1 = x1.affine_coord(sz=48)
    x1 = x1.rotate(draw=30, p=1.0)
    x1 = x1.zoom(draw=1.2, p=1.0)
    x1 = x1.warp(draw_x=-0.2, draw_y=0.2, p=1.0)
    at = {"p": 1.0, "size": 48}
    tfms = setup_aug_tfms([Rotate(draw=30, **at), Zoom(draw=1.2, **at), Warp(draw_x=-0.2, draw_y=0.2, **at)])
    x = Pipeline(tfms)(x)
    TensorImage(x[0]).show(ctx=axs[0])
    TensorImage(x1[0]).show(ctx=axs[1])
    assert x.shape == x1.shape == (4, 3, 48, 48)
    assert x.sub(x1.to_tensor()).abs().mean() < 0.05
    assert all(index == 1 for index in dls1.train.one_batch().indices)


def test_the_loss_by_hand() -> None:
    acts = torch.randn((6, 2)) * 2
    targ = tensor([0, 1, 0, 1, 1, 0])
    sm_acts = torch.softmax(acts, dim=1)
    idx = range(6)
    assert torch.allclose(-sm_acts[idx, targ].log().mean(), nn.CrossEntropyLoss()(acts, targ), atol=1e-6)
    assert F.nll_loss(sm_acts, targ, reduction="none").shape == (6,)


@pytest.mark.usefixtures("pets")
def test_rates_are_found_and_differ_between_layers(pets_block: DataBlock) -> None:
    dls = pets_block.new(item_tfms=Resize(40), batch_tfms=aug_transforms(size=32, min_scale=0.75)).dataloaders(
        untar_data(URLs.PETS) / "images", bs=8
    )
    learn = vision_learner(dls, resnet18, metrics=error_rate, pretrained=False)
    learn.fine_tune(1, base_lr=0.1)
    lr_min, lr_steep = learn.lr_find(num_it=12, suggest_funcs=(minimum, steep))
    assert 0 < lr_min < 10
    assert 0 < lr_steep < 10
    learn.fit_one_cycle(1, 3e-3)
    learn.unfreeze()
    learn.fit_one_cycle(2, lr_max=slice(1e-6, 1e-4))
    learn.recorder.plot_loss()
    assert max(learn.recorder.lrs) == pytest.approx(1e-4, rel=0.05)

    learn = vision_learner(dls, resnet18, metrics=error_rate, pretrained=False).to_fp16()
    learn.fine_tune(1, freeze_epochs=1)
    assert len(learn.recorder.values) == 1
