"""The ground floor: errors, lists, paths, devices, seeds, plots; it knows nothing of learning."""
