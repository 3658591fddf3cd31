"""flambeau: practical deep learning on PyTorch. The map; a folder imports only from those above it in this list:

    foundation/   errors, lists, paths, devices, seeds, plots
    data/         from a source on disk or in memory to batches on the device
    nn/           layers, losses, metrics, schedules, optimizers
    course/       the few names that only course notebooks need
    train/        the loop (read `train/loop.py` first), callbacks, learner, inference, export
    interpret/    what a learner gets right and wrong
    vision/       pictures: `from flambeau.vision.all import *`
    cli/          `flambeau demo`, `train`, `predict`, `evaluate`

Nothing is imported here, so that `import flambeau` is instant.
"""

__version__ = "0.1.0"
