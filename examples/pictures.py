"""From pictures to a model that answers: after running it you have seen load, train, look, save and ask.

    python examples/pictures.py [EPOCHS [FOLDER]]

The pictures come with flambeau; what is made goes to FOLDER.
"""
from __future__ import annotations

import sys

from flambeau.data.sample_pictures import unpack_fashion
from flambeau.vision.all import *

epochs = int(sys.argv[1]) if len(sys.argv) > 1 else 3
out = Path(sys.argv[2] if len(sys.argv) > 2 else "example-pictures")

set_seed(42)
root = unpack_fashion(out / "fashion")
augment = aug_transforms(max_rotate=0, max_warp=0, max_lighting=0)
dls = ImageDataLoaders.from_folder(root, img_cls=PILImageBW, bs=128, batch_tfms=[*augment, Normalize()])
dls.show_batch(max_n=16).figure.savefig(out / "batch.png")

learn = vision_learner(dls, "xresnet18", pretrained=False, metrics=accuracy, path=out)
learn.fit_one_cycle(epochs, 5e-3)

interp = ClassificationInterpretation.from_learner(learn)
interp.plot_confusion_matrix().figure.savefig(out / "confusion.png")
print("Most often taken for each other:", interp.most_confused(min_val=3)[:3])

learn.export("pictures.safetensors")
again = load_learner(out / "pictures.safetensors")
label, index, probabilities = again.predict(root / "valid" / "sneaker" / "00000.png")
print(f"It says {label}, and is {probabilities[index]:.0%} sure.")
