"""Samovar measured: `python -m bench` prints the table, saves it and draws it; README.md says how to read it.

    __main__      the command line: runs every case in a process of its own, then table, JSON, chart, README
    cases/        one question per module
    rounds        turn-taking, the clock, and what a number's doubt is
    peers         who is measured, and how each is asked
    table, chart, publish   three ways to show one report
    machine       where a report was made
    instructions  instruction counts under callgrind, which repeat exactly
    policies/     the eviction rules on public traces: a command of its own
    faults/       the fault table of a cluster: a command of its own
    servers       real engines for those that need them
    test_micro    the hot paths under pytest-benchmark

The other modules are each a command and a question of its own, named in README.md.
"""
