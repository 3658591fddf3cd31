"""Looking at what a learner gets right and wrong."""
