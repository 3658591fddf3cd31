"""Lesson 2, saving a model: a classifier by file name, exported, loaded and asked."""

from __future__ import annotations

import pytest

from flambeau.vision.all import *


@pytest.mark.usefixtures("pets")
def test_a_classifier_of_cats_is_exported_and_answers_after_loading() -> None:
    path = untar_data(URLs.PETS) / "images"

    def is_cat(x):
        return x[0].isupper()

    dls = ImageDataLoaders.from_name_func(
        ".", get_image_files(path), valid_pct=0.2, seed=42, label_func=is_cat, item_tfms=Resize(64), bs=8
    )
    dls.show_batch()
    learn = vision_learner(dls, "tf_efficientnet_lite0", metrics=error_rate)
    learn.fine_tune(1)
    learn.export("model.pkl")

    im = PILImage.create(path / "beagle_1.jpg")
    im.thumbnail((192, 192))
    again = load_learner("model.pkl")
    pred, idx, probs = again.predict(im)
    assert again.dls.vocab == [False, True] or list(map(str, again.dls.vocab)) == ["False", "True"]
    answers = dict(zip(("Dog", "Cat"), map(float, probs), strict=True))
    assert sum(answers.values()) == pytest.approx(1, abs=1e-5)
    expected = learn.predict(im)
    assert (str(pred), int(idx)) == (str(expected[0]), int(expected[1]))
    assert probs.tolist() == pytest.approx(expected[2].tolist(), abs=1e-4)
