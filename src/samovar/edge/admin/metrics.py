"""An edge's numbers in the text form that Prometheus reads, one series for each worker.

By worker and not in sum: a worker that starts anew begins at zero, which Prometheus understands of a series and not of a
sum. No URL and no tag is a label: clients could make as many as they like. Written by prometheus-client, the extra
`metrics`.
"""

from collections.abc import Iterable
from typing import Any

from ..._base.extras import needed
from .fleet import Look

_COUNTERS = {
    "requests": "Requests.",
    "hits": "Requests answered by what was stored and fresh.",
    "stale_hits": "Requests answered by what was stored and stale.",
    "misses": "Requests that the origin was asked for, and whose answer might be kept.",
    "collapsed": "Requests answered by what another client's request brought.",
    "revalidated": "Requests for which the origin said that what is stored is still good.",
    "passes": "Requests that did not concern the cache.",
    "stored": "Answers that were kept.",
    "refused": "Answers that were to be kept and were not.",
    "errors": "Answers of the edge's own for a failed origin, and bodies that broke off.",
    "failures": "Failures of the origin.",
    "busy": "Requests that were turned away because too many waited.",
    "loops": "Requests that had been here before.",
    "renewals": "Revalidations in the background.",
    "purges": "Purges.",
    "purged": "Keys that purges took out, as far as is known.",
    "aborted": "Clients that left before their answer was whole.",
    "sent": "Bytes of bodies that were sent to clients.",
    "fetched": "Bytes of bodies that the origin sent.",
}
_GAUGES = {"waiting": "Requests that wait for another's answer.", "flights": "Questions to the origin that are under way."}
_STORED = {"entries": "Keys that are stored.", "weight": "Bytes that stored answers weigh."}
_NAMES = {"sent": "sent_bytes", "fetched": "fetched_bytes", "weight": "weight_bytes"}  # as Prometheus wants units said


class Exposition:
    """The numbers as text. Raises MissingExtra, when it is made, without prometheus-client."""

    def __init__(self) -> None:
        self._core = needed("prometheus_client.core", "metrics", "samovar edge --metrics")
        self._client = needed("prometheus_client", "metrics", "samovar edge --metrics")
        self.content_type: bytes = self._client.CONTENT_TYPE_LATEST.encode()

    def text(self, looks: Iterable[Look]) -> bytes:
        """All of them."""
        found: bytes = self._client.generate_latest(_Collected(list(self._families(list(looks)))))
        return found

    def _families(self, looks: list[Look]) -> Iterable[Any]:
        counter, gauge = self._core.CounterMetricFamily, self._core.GaugeMetricFamily
        kinds = ((counter, _COUNTERS), (gauge, _GAUGES), (gauge, _STORED))
        for kind, words in kinds:
            for word, says in words.items():
                family = kind(f"samovar_edge_{_NAMES.get(word, word)}", says, labels=["worker"])
                for look in looks:
                    family.add_metric([str(look.pid)], getattr(look if words is _STORED else look.stats, word))
                yield family
        began = gauge("samovar_edge_start_time_seconds", "When the worker began, in seconds since 1970.", labels=["worker"])
        latency = gauge("samovar_edge_origin_latency_seconds", "How long the origin took to the head of its answer.",
                        labels=["worker", "quantile"])
        asked = counter("samovar_edge_origin_answers", "Answers of the origin.", labels=["worker"])
        for look in looks:
            began.add_metric([str(look.pid)], look.began)
            asked.add_metric([str(look.pid)], look.stats.origin_latency.count)
            for quantile, word in (("0.5", "p50"), ("0.9", "p90"), ("0.99", "p99")):
                latency.add_metric([str(look.pid), quantile], getattr(look.stats.origin_latency, word))
        yield from (began, latency, asked)


class _Collected:
    """What prometheus-client asks of a registry."""

    def __init__(self, families: list[Any]) -> None:
        self._families = families

    def collect(self) -> list[Any]:
        return self._families
