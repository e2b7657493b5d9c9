"""What a cache's numbers mean, in sentences: the answers to the questions that its owner asks.

Nothing is decided or counted here. Whoever calls hands in what is known; each function answers one question.
"""

from collections.abc import Mapping

from .._base.counters import Stats
from .._base.freshness import Freshness
from .snapshot import Entry


def report(
    name: str | None, eviction: str, fresh: Freshness | None, stats: Stats, stored: "Stored", ratios: Mapping[int, float]
) -> str:
    """The whole report, a paragraph for each question.

    stored: what lies in the cache now.
    ratios: the miss ratio expected at other numbers of entries.
    """
    parts = [
        _filled(name, eviction, stats),
        _earned(stats),
        _spared(stats),
        _staleness(fresh, stored),
        _cold_start(stats, stored),
        _other_sizes(stats, ratios),
    ]
    return "\n".join(part for part in parts if part)


class Stored:
    """What lies in a cache now: how many entries, what they took to load, and how stale the stalest is."""

    def __init__(self, entries: list[Entry]) -> None:
        self.count = len(entries)
        self.cost_s = sum(cost for _, _, _, _, cost, *_ in entries)
        late = [-left for _, _, left, *_ in entries if left < 0]
        self.stale = len(late)
        self.stalest_s = max(late, default=0.0)


def span(seconds: float) -> str:
    """A length of time as people say it, two or three digits.

    >>> from samovar.app.report import span
    >>> span(0.00042), span(1.5), span(150), span(90000)
    ('420 us', '1.5 s', '2.5 min', '25 h')
    """
    for unit, size in (("days", 172_800.0), ("h", 7_200.0), ("min", 120.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{_short(seconds / _ONE.get(unit, size))} {unit}"
    return f"{_short(seconds * 1e6)} us"


_ONE = {"days": 86_400.0, "h": 3_600.0, "min": 60.0}


def _short(number: float) -> str:
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.1f} %"


def _filled(name: str | None, eviction: str, stats: Stats) -> str:
    of = "without a bound" if stats.maxsize is None else f"of {stats.maxsize:,} at most"
    heavy = "" if stats.maxweight is None else f", weighing {stats.weight:,} of {stats.maxweight:,}"
    called = "This cache" if name is None else f"The cache {name!r}"
    left = [f"{number:,} {cause}" for cause, number in (
        ("evicted to make room", stats.evictions), ("expired", stats.expired), ("replaced", stats.replaced),
        ("deleted", stats.deleted), ("invalidated", stats.invalidated), ("cleared", stats.cleared)) if number]
    gone = f" Left so far: {', '.join(left)}." if left else " Nothing has left it yet."
    return f"{called} holds {stats.currsize:,} entries, {of}{heavy}; eviction is {eviction!r}.{gone}"


def _earned(stats: Stats) -> str:
    asked = stats.asked
    if not asked:
        return "Hit ratio: nobody has asked it anything yet."
    said = f"Hit ratio: {_percent(stats.hit_ratio)} of {asked:,} questions were answered from it"
    if stats.stale_hits:
        said += f" ({stats.stale_hits:,} of them with a stale value)"
    said += f"; {stats.misses:,} were not"
    if stats.coalesced:
        said += f", and {stats.coalesced:,} of these waited for a load that another caller had begun"
    said += "."
    if not stats.loads:
        return said + " It has loaded nothing itself, so what a hit saves is not known."
    took = stats.load_latency
    said += f" The origin was asked {stats.loads - stats.shared:,} times"
    said += f", {stats.failures:,} of them in vain." if stats.failures else "."
    if stats.shared:
        said += f" Another process handed over what {stats.shared:,} more loads would have asked for."
    if took.count:
        saved = (stats.hits + stats.stale_hits + stats.coalesced) * took.mean
        said += (f" A load takes {span(took.mean)} on average (half of them up to {span(took.p50)}, 99 % up to "
                 f"{span(took.p99)}): hits and shared loads have saved about {span(saved)} of it.")
    return said


def _spared(stats: Stats) -> str:
    said = []
    if stats.early:
        said.append(f"{stats.early:,} loads were begun early, so that nobody met their entry expired")
    if stats.queued or stats.refused:
        said.append(f"{stats.queued:,} loads waited for a place in the origin's budget, and {stats.refused:,} got none")
    if stats.rescued:
        said.append(f"{stats.rescued:,} misses were answered with a stale value, for their load failed or took too long")
    return f"Herds: {'; '.join(said)}." if said else ""


def served_for(fresh: Freshness | None) -> str:
    """How old what is served may be, as far as a cache's own Freshness says: a sentence that may go on."""
    if fresh is None or fresh.ttl in (None, float("inf")):
        return "Staleness: entries stored without a ttl of their own never expire; a value may be as old as its entry"
    assert fresh.ttl is not None
    said = f"Staleness: unless its entry says otherwise, a value is served for at most {span(fresh.ttl)}"
    if fresh.stale_while_revalidate:
        said += f", {span(fresh.ttl + fresh.stale_while_revalidate)} while it is renewed"
    if fresh.stale_if_error:
        said += f", {span(fresh.ttl + fresh.stale_if_error)} while the origin fails"
    return said


def _staleness(fresh: Freshness | None, stored: Stored) -> str:
    said = served_for(fresh)
    if stored.stale:
        said += f"; of what is stored now, {stored.stale:,} are stale, the worst for {span(stored.stalest_s)}"
    return said + "."


def _cold_start(stats: Stats, stored: Stored) -> str:
    if not stored.count:
        return "Cold start: it is empty, so a restart would lose nothing."
    said = f"Cold start: without it, the next question for each of {stored.count:,} entries would go to the origin"
    if stored.cost_s:
        said += f", which took {span(stored.cost_s)} to load them, one after another"
    if stats.hit_ratio < 1 and stats.hit_ratio > 0:
        said += f"; until it is warm again, up to {_short(1 / (1 - stats.hit_ratio))} times as many loads as now"
    return said + ". save(path) and load(path) carry them over a restart."


def _other_sizes(stats: Stats, ratios: Mapping[int, float]) -> str:
    if not ratios or not stats.asked:
        return ""
    said = ", ".join(f"{_percent(1.0 - missed)} at {size:,}" for size, missed in sorted(ratios.items()))
    return f"Other sizes: the hit ratio would be about {said} entries."
