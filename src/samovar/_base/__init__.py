"""Words that every level shares. Nothing here knows who uses it."""
