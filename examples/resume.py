"""Resume: run it, kill it at any moment, run it again; it ends with the numbers of a run that nobody killed.

    python examples/resume.py [EPOCHS [FOLDER]]

The last line is a fingerprint of the weights: it is the same however often you interrupted.
"""
from __future__ import annotations

import hashlib
import sys

from flambeau.data.sample_pictures import unpack_fashion
from flambeau.vision.all import *

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
out = Path(sys.argv[2] if len(sys.argv) > 2 else "example-resume")

set_seed(42)  # the same split, weights, order and augmentation each time the script starts
root = unpack_fashion(out / "fashion")
dls = ImageDataLoaders.from_folder(root, img_cls=PILImageBW, bs=128, seed=42, batch_tfms=aug_transforms(max_warp=0))
net = nn.Sequential(
    ConvLayer(1, 16, stride=2), ConvLayer(16, 32, stride=2), ConvLayer(32, 64, stride=2),
    nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(64, len(dls.vocab)),
)  # fmt: skip
learn = Learner(dls, net, metrics=accuracy, path=out)

# kept every ten batches; `resume=True` begins anew where there is nothing to resume
learn.fit_one_cycle(epochs, 1e-2, checkpoint=10, resume=True)

weights = b"".join(value.numpy().tobytes() for value in learn.model.state_dict().values())
print("Weights:", hashlib.sha256(weights).hexdigest()[:16])
