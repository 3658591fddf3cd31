"""Trees and forests under the verbs of any learner, and the means to see what they have learnt from a table."""
