"""Ratings: who likes what, what to recommend, and what to do for those nobody knows yet."""
