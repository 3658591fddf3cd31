"""A search for settings, and an ensemble of the two best: how to improve a result without guessing.

    python examples/search.py [TRIALS [FOLDER]]

Stop it and start it again: the study in FOLDER goes on. Needs pip install "flambeau[tune]".
"""
from __future__ import annotations

import sys

from flambeau.data.sample_pictures import unpack_fashion
from flambeau.vision.all import *

trials = int(sys.argv[1]) if len(sys.argv) > 1 else 10
out = Path(sys.argv[2] if len(sys.argv) > 2 else "example-search")

root = unpack_fashion(out / "fashion")


def make_learner(width, zoom):
    augment = aug_transforms(max_rotate=0, max_warp=0, max_lighting=0, max_zoom=zoom)
    dls = ImageDataLoaders.from_folder(root, img_cls=PILImageBW, bs=256, seed=1, batch_tfms=augment)
    net = nn.Sequential(
        ConvLayer(1, width, stride=2), ConvLayer(width, 2 * width, stride=2), nn.Flatten(), nn.Linear(98 * width, dls.c)
    )
    return Learner(dls, net, metrics=accuracy, path=out)


def train(learn, lr):
    learn.fit_one_cycle(1, lr)


result = tune(
    make_learner, {"width": [8, 16], "zoom": (1.0, 1.2), "lr": (1e-3, 1e-1, "log")}, trials,
    train=train, monitor="accuracy", storage=out / "study", seed=1,
)  # fmt: skip
print(result.frame.sort_values("accuracy", ascending=False).head())
result.plot_history().figure.savefig(out / "history.png")

members = []
for seed in (1, 2):
    set_seed(seed)
    settings = dict(result.best_params)
    lr = settings.pop("lr")
    learn = make_learner(**settings)
    with learn.no_logging():
        train(learn, lr)
    members.append(learn)
print(Ensemble(members).report().to_string())
