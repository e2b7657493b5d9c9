"""The laboratory: crowds, a real origin, and the demonstrations of what can go wrong with a cache and what helps.

Each demonstration is a module with NAME, TITLE and `run(seed, seconds)`, which returns a `Demonstration`: plain facts,
which the report draws and the command line prints.
"""
