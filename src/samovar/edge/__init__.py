"""Level 5, the edge: HTTP. `rules` decides what an HTTP cache may do (RFC 9111); the fronts do it."""
