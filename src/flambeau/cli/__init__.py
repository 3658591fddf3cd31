"""The command line: `flambeau demo`, `train`, `predict`, `evaluate`."""
