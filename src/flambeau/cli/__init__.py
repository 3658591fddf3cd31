"""The command line: `flambeau demo`, `train`, `tune`, `predict`, `evaluate`."""
