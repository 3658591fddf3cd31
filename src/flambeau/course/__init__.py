"""Names that only course notebooks need."""
