"""The rules of an HTTP cache (RFC 9111), and nothing but the rules: no socket, no clock, no store, no body.

Theory of operation. A front holds the connections, the store and the clock; for each request it asks here what to do.

    key = cache_key(scheme, host_of(headers), target, headers, policy.keyed)     None: not cacheable
    verdict = on_request(policy, key, method, headers, stored, now)              stored: the Variants under key, or None
        SERVE                  send answer(policy, verdict)     shorter, for the common hit: plain_host, plain_hit, hit_head
        SERVE_AND_REVALIDATE   the same, and ask the origin in the background, once per entry
        FAIL                   send answer(policy, verdict): a 504
        REVALIDATE, FORWARD    ask the origin with origin_headers(policy, verdict); with verdict.collapse others for the
                               same key may wait for this answer
    outcome = on_response(policy, verdict, status, reason, headers, asked_at=, received=)    when its fields are there
    outcome = on_failure(policy, verdict, now, timed_out=)                       when there is no answer
        PASS    send outcome.status and outcome.headers, and the body as it comes
        STORE   the same (without the body when status is 304 and the origin's was not), and gather the body; when it
                has ended properly and entry.complete(body, length) agrees, put variants.stored(entry, most) under
                entry.key before the last byte is sent
        SERVE   drop the answer; put outcome.entry, if any, at once; send answer(policy, outcome.verdict), with
                outcome.once added
        RETRY   drop the answer and ask again by outcome.verdict; a second RETRY is a 502
        FAIL    send an error with outcome.status
    and in every case, in this order: take everything under outcome.invalidate out; take outcome.replaces out, when it
    is still the one there (variants.without) and outcome.entry has not taken its place; mark the key
    (variants.marked(now + outcome.mark)) when outcome.mark is not 0.

The front guarantees: field names in lower case, values without CR, LF and NUL, framing already checked (RFC 9112); that
`now` never runs back; that it refuses a request without exactly one Host; that a Variants it put is not changed; that a
waiter which collapsed asks on_request anew when the flight has ended, and goes to the origin itself when that does
not say SERVE. A background revalidation whose outcome is SERVE only updates the store.

The rules promise: no call raises on any bytes (MissingExtra apart, for targeted fields without http-sf), each takes
time linear in its input, nothing is stored that a directive forbids to store, and what they return is never changed
later. Everything may be called from any thread.

One file per section: fields, dates, directives, targeted (reading); keys; freshness (RFC 9111 section 4.2), storable
(3), selection (4.1), validation (4.3), invalidation (4.4), ranges (RFC 9110 section 14), statusfield (RFC 9211), tags;
entry (what is kept); verdict, outcome, answer (what to do).
"""

from .answer import Answer, Part, answer, hit_head
from .dates import format_date, parse_date
from .entry import Entry
from .fields import Fields, Headers
from .keys import cache_key, host_of
from .outcome import Outcome, Result, on_failure, on_response, origin_headers
from .policy import Policy
from .selection import Variants
from .verdict import WATCHED, Action, Hit, Verdict, on_request, plain_hit, plain_host

__all__ = [
    "Action", "Answer", "Entry", "Fields", "Headers", "Hit", "Outcome", "Part", "Policy", "Result", "Variants", "Verdict",
    "WATCHED", "answer", "cache_key", "format_date", "hit_head", "host_of", "on_failure", "on_request", "on_response",
    "origin_headers", "parse_date", "plain_hit", "plain_host",
]
