"""Book, chapters 11 and 15: pairs of pictures through a transform of one's own, a body that sees both, and a head."""

from __future__ import annotations

import random as chances

import pytest

from flambeau.vision.all import *


def label_func(fname):
    return re.match(r"^(.*)_\d+.jpg$", fname.name).groups()[0]


class SiameseImage(fastuple):
    def show(self, ctx=None, **kwargs):
        img1, img2, same_breed = self
        if not isinstance(img1, Tensor):
            if img2.size != img1.size:
                img2 = img2.resize(img1.size)
            t1, t2 = tensor(img1), tensor(img2)
            t1, t2 = t1.permute(2, 0, 1), t2.permute(2, 0, 1)
        else:
            t1, t2 = img1, img2
        line = t1.new_zeros(t1.shape[0], t1.shape[1], 10)
        return show_image(torch.cat([t1, line, t2], dim=2), title=same_breed, ctx=ctx)


class SiameseTransform(Transform):
    def __init__(self, files, label_func, splits):
        self.labels = files.map(label_func).unique()
        self.lbl2files = {label: L(f for f in files if label_func(f) == label) for label in self.labels}
        self.label_func = label_func
        self.valid = {f: self._draw(f) for f in files[splits[1]]}

    def encodes(self, f):
        f2, t = self.valid.get(f, self._draw(f))
        img1, img2 = PILImage.create(f), PILImage.create(f2)
        return SiameseImage(img1, img2, t)

    def _draw(self, f):
        same = chances.random() < 0.5
        cls = self.label_func(f)
        if not same:
            cls = chances.choice(L(label for label in self.labels if label != cls))
        return chances.choice(self.lbl2files[cls]), same


@pytest.fixture
def dls(pets: None) -> DataLoaders:
    files = get_image_files(untar_data(URLs.PETS) / "images")
    splits = RandomSplitter()(files)
    tls = TfmdLists(files, SiameseTransform(files, label_func, splits), splits=splits)
    return tls.dataloaders(
        bs=8,
        after_item=[Resize(48), ToTensor],
        after_batch=[IntToFloatTensor, Normalize.from_stats(*imagenet_stats)],
    )


@pytest.mark.usefixtures("pets")
def test_pairs_are_made_and_shown() -> None:
    files = get_image_files(untar_data(URLs.PETS) / "images")
    img = PILImage.create(files[0])
    SiameseImage(img, PILImage.create(files[1]), False).show()
    splits = RandomSplitter()(files)
    tfm = SiameseTransform(files, label_func, splits)
    valid = TfmdLists(files, tfm, splits=splits).valid
    ax = show_at(valid, 0)
    assert ax.get_title() in ("True", "False")
    assert [type(part).__name__ for part in valid[0]][:2] == ["PILImage", "PILImage"]
    show_at(TfmdLists(files, tfm, splits=splits).train, 0)


class SiameseModel(Module):
    def __init__(self, encoder, head):
        self.encoder, self.head = encoder, head

    def forward(self, x1, x2):
        ftrs = torch.cat([self.encoder(x1), self.encoder(x2)], dim=1)
        return self.head(ftrs)


def test_a_body_for_two_pictures(dls: DataLoaders) -> None:
    assert set(model_meta[resnet50]) >= {"cut", "split", "stats"}
    assert isinstance(create_head(20, 2)[-1], nn.Linear)
    encoder = create_body(resnet18, cut=-2, pretrained=False)
    head = create_head(512 * 2, 2, ps=0.5)
    model = SiameseModel(encoder, head)

    def loss_func(out, targ):
        return nn.CrossEntropyLoss()(out, targ.long())

    def siamese_splitter(model):
        return [params(model.encoder), params(model.head)]

    learn = Learner(dls, model, loss_func=loss_func, splitter=siamese_splitter, metrics=accuracy)
    learn.freeze()
    learn.fit_one_cycle(1, 3e-3)
    learn.unfreeze()
    learn.fit_one_cycle(1, slice(1e-6, 1e-4))
    assert learn.dls.one_batch()[1].shape == (8, 3, 48, 48)
    assert len(learn.opt.param_groups) >= 2
