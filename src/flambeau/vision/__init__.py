"""Pictures: reading, resizing, augmenting, models, learner."""
