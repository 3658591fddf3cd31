"""The mathematics: layers, losses, metrics, schedules, parameter groups and optimizers."""
