"""The fault table of a cluster, measured: three real nodes, a crowd that comes whether or not it is answered, and one
fault at a time, each figure beside its bar.

    python -m bench.faults                              # every row, on Redis and on Memcached: about ten minutes
    python -m bench.faults --row sigstop --row flushall # some rows; --list names them
    python -m bench.faults --engine redis --tasks       # AsyncCluster instead of threads
    python -m bench.faults --json                       # the figures, for programs
    python -m bench.faults --markdown                   # the figures kept, and their table written into docs/cluster.md
    python -m bench.faults --markdown --row sigstop     # the same with one row measured anew

The setting: T = 50 ms node timeout; an origin whose call takes 10 ms; two processes, each with a budget of 8 loads at
once; 800 reads a second in all, over 600 keys by Zipf (0.8). Arrivals are fixed before the run, and a read's time is
counted from the moment at which it was meant to begin. What a calm second of the same run shows as its 99th percentile
is allowed on top of every bar.

    crowd.py     a process of the crowd: reads, loads, changes, and what became of them
    proxy.py     stands between the crowd and a node: deaf, slow, resetting, refusing
    stage.py     engines, proxies, processes; one run
    figures.py   what a run's records say
    rows.py      the faults and their bars
    holder.py    the row that is no run of the crowd: who holds a lease dies
    table.py     the table, for people and for the docs
"""
