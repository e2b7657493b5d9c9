"""Level 2: a cache for an application."""
