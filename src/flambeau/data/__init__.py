"""From a source on disk or in memory to batches on the device."""
