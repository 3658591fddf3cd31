"""Book, chapter 18: where a network looks, by hooks on its body."""

from __future__ import annotations

import pytest

from flambeau.vision.all import *


@pytest.fixture
def learn(pets: None) -> Learner:
    path = untar_data(URLs.PETS) / "images"

    def is_cat(x):
        return x[0].isupper()

    dls = ImageDataLoaders.from_name_func(
        path, get_image_files(path), valid_pct=0.2, seed=21, label_func=is_cat, item_tfms=Resize(64), bs=8
    )
    learn = cnn_learner(dls, resnet18, metrics=error_rate, pretrained=False)
    learn.fine_tune(1)
    return learn


class OwnHook:
    def __init__(self, m):
        self.hook = m.register_forward_hook(self.hook_func)

    def hook_func(self, m, i, o):
        self.stored = o.detach().clone()

    def __enter__(self, *args):
        return self

    def __exit__(self, *args):
        self.hook.remove()


class HookBwd(OwnHook):
    def __init__(self, m):
        self.hook = m.register_full_backward_hook(self.hook_func)

    def hook_func(self, m, gi, go):
        self.stored = go[0].detach().clone()


def test_class_activation_maps(learn: Learner) -> None:
    dls = learn.dls
    img = PILImage.create(dls.valid_ds.items[0])
    (x,) = first(dls.test_dl([img]))
    assert x.shape == (1, 3, 64, 64)
    with OwnHook(learn.model[0]) as hook:
        with torch.no_grad():
            output = learn.model.eval()(x)
        act = hook.stored
    assert list(dls.vocab) == [False, True]
    assert F.softmax(output, dim=-1).sum().item() == pytest.approx(1, abs=1e-5)
    cam_map = torch.einsum("ck,kij->cij", learn.model[1][-1].weight, act[0])
    assert cam_map.shape == (2, 2, 2)

    x_dec = TensorImage(dls.train.decode((x,))[0][0])
    _, ax = plt.subplots()
    x_dec.show(ctx=ax)
    ax.imshow(cam_map[1].detach(), alpha=0.6, extent=(0, 64, 64, 0), interpolation="bilinear", cmap="magma")
    assert len(ax.images) == 2


def test_maps_by_gradients(learn: Learner) -> None:
    (x,) = first(learn.dls.test_dl([learn.dls.valid_ds.items[0]]))
    with HookBwd(learn.model[0][-2]) as hookg:
        with OwnHook(learn.model[0][-2]) as hook:
            output = learn.model.eval()(x)
            act = hook.stored
        output[0, 1].backward()
        grad = hookg.stored
    w = grad[0].mean(dim=[1, 2], keepdim=True)
    cam_map = (w * act[0]).sum(0)
    assert cam_map.shape == (4, 4)


def test_the_librarys_own_hooks(learn: Learner) -> None:
    (x,) = first(learn.dls.test_dl([learn.dls.valid_ds.items[0]]))
    with hook_output(learn.model[0]) as kept:
        learn.model.eval()(x)
    assert kept.stored.shape == (1, 512, 2, 2)
