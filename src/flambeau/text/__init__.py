"""Text: documents become tokens, and a language model, a classifier or a transformer learns from them."""
