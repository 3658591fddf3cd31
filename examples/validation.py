"""An honest number: look for leaks, validate by groups, and say how far the folds lie apart.

    python examples/validation.py [EPOCHS [FOLDER]]

The pictures of one "photographer" (a tenth of each class) must not be on both sides of a split.
"""
from __future__ import annotations

import sys

from flambeau.data.sample_pictures import unpack_fashion
from flambeau.vision.all import *

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 2
out = Path(sys.argv[2] if len(sys.argv) > 2 else "example-validation")

files = get_image_files(unpack_fashion(out / "fashion") / "valid")


def photographer(file):
    return f"{file.parent.name} {int(file.stem) // 10}"


def make_learner(splitter):
    block = DataBlock((ImageBlock(PILImageBW), CategoryBlock), get_y=parent_label, splitter=splitter)
    dls = block.dataloaders(files, bs=64)
    net = nn.Sequential(ConvLayer(1, 16, stride=2), ConvLayer(16, 32, stride=2), nn.Flatten(), nn.Linear(1568, dls.c))
    return Learner(dls, net, metrics=accuracy, path=out)


print(make_learner(RandomSplitter(seed=1)).dls.check(groups=photographer))

scores = cross_validate(
    make_learner, files, KFoldSplitter(3, groups=photographer), train=lambda learn: learn.fit_one_cycle(epochs, 5e-3)
)
print(scores)
