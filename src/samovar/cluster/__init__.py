"""Level 3: a cache over many machines."""
