"""The training: the loop, its callbacks, the learner, inference and export."""
