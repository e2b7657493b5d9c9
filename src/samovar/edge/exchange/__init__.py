"""The cache behind every front: looking up, waiting, asking the origin, keeping, sending. What may be done is decided in
`rules`; who asks and who answers is handed in (`contracts`)."""
