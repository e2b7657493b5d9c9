"""The eviction rules on real traces, beside what other implementations reach there: `python -m bench.policies`.

    __main__      the command line: measures, prints, draws, saves, publishes
    traces        the recordings and their anchors, read from a folder beside the checkout
    measures      hit ratios, distances, estimates of another size, weighted entries
    speed         requests per second, in turns with libcachesim
    tables        the report as text and as Markdown
    curves        the report as a picture: one panel per trace
"""
