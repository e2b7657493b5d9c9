"""The smallest front that keeps the contract of samovar.edge.rules: a dict for a store, a function for an origin.

Time is an attribute that tests move; an origin answers with a Reply, or raises ConnectionError.
"""

from samovar.edge.rules import (Action, Policy, Result, Variants, Verdict, answer, cache_key, on_failure, on_request,
                                on_response, origin_headers)

START = 1_600_000_000.0


def fields(**named):
    """Header fields from keywords: fields(cache_control="max-age=5", etag='"a"'); a list repeats a field."""
    out = []
    for name, value in named.items():
        for one in value if isinstance(value, list) else [value]:
            out.append((name.replace("_", "-").encode(), one.encode("latin-1") if isinstance(one, str) else one))
    return out


class Reply:
    """What an origin or the front answers: `told` is its fields as text, joined where they repeat."""

    def __init__(self, status=200, body=b"body", headers=None, reason=b"", **named):
        self.status, self.body, self.reason = status, body, reason
        self.headers = [*(headers or ()), *fields(**named)]
        self.cached = False

    def __getitem__(self, name):
        found = [value.decode("latin-1") for key, value in self.headers if key == name.encode()]
        return ", ".join(found) if found else None


class Front:
    """A cache in front of `origin(method, target, headers)`, which is called for what must be forwarded."""

    def __init__(self, origin=None, **policy):
        self.policy = Policy(**policy)
        self.origin = origin
        self.store = {}
        self.now = START
        self.seen = []  # what the origin was asked: (method, target, fields as a dict of text)
        self.background = []

    def pass_time(self, seconds):
        self.now += seconds

    def key(self, target=b"/", headers=()):
        return cache_key(b"http", b"h", target, headers, self.policy.keyed)

    def ask(self, target="/", method="GET", headers=None, **named):
        """One request; the Reply says whether it came from the store (`cached`)."""
        target, headers = target.encode("latin-1"), [(b"host", b"h"), *(headers or ()), *fields(**named)]
        key = self.key(target, headers)
        verdict = on_request(self.policy, key, method, headers, self.store.get(key), self.now)
        if verdict.action in (Action.SERVE, Action.SERVE_AND_REVALIDATE, Action.FAIL):
            if verdict.action is Action.SERVE_AND_REVALIDATE:
                self.background.append((verdict, target))
            return self.served(verdict)
        return self.fetch(verdict, target)

    def revalidate_in_background(self):
        """What a front does after it has served stale."""
        for verdict, target in self.background:
            if verdict.method == "HEAD":  # a HEAD would say that what is stored is good, and bring nothing where it is not
                verdict = Verdict(verdict.action, verdict.entry, verdict.age, verdict.key, "GET", verdict.headers,
                                  asked=verdict.asked)
            self.fetch(verdict, target)
        self.background.clear()

    def served(self, verdict, once=()):
        sent = answer(self.policy, verdict)
        body = b"".join(part if isinstance(part, bytes) else verdict.entry.body[slice(*part)] for part in sent.parts)
        reply = Reply(sent.status, body, [*sent.headers, *once], sent.reason)
        reply.cached = verdict.entry is not None
        return reply

    def fetch(self, verdict, target):
        sent = origin_headers(self.policy, verdict)
        self.seen.append((verdict.method, target.decode("latin-1"), {k.decode(): v.decode("latin-1") for k, v in sent}))
        try:
            got = self.origin(verdict.method, target.decode("latin-1"), self.seen[-1][2])
        except ConnectionError:
            return self.decided(on_failure(self.policy, verdict, self.now), None, verdict, target)
        outcome = on_response(self.policy, verdict, got.status, got.reason, got.headers, asked_at=self.now,
                              received=self.now)
        return self.decided(outcome, got, verdict, target)

    def decided(self, outcome, got, verdict, target):
        for key in outcome.invalidate:
            self.store.pop(key, None)
        stored = self.store.get(verdict.key, Variants())
        if outcome.replaces is not None:
            stored = stored.without(outcome.replaces)
        entry = outcome.entry
        if entry is not None and (outcome.result is not Result.STORE or entry.complete(got.body, len(got.body))):
            stored = stored.stored(entry, self.policy.max_variants)
        if outcome.mark:
            stored = stored.marked(self.now + outcome.mark)
        self.store[verdict.key] = stored
        if outcome.result is Result.RETRY:
            return self.fetch(outcome.verdict, target)
        if outcome.result is Result.SERVE:
            return self.served(outcome.verdict, outcome.once)
        if outcome.result is Result.FAIL:
            return Reply(outcome.status, b"")
        return Reply(outcome.status, b"" if outcome.status in (204, 304) else got.body, outcome.headers)


def always(status=200, body=b"body", headers=None, **named):
    """A Front whose origin gives one answer; policy words are prefixed with `with_`."""
    policy = {name.removeprefix("with_"): named.pop(name) for name in [*named] if name.startswith("with_")}
    return Front(lambda *_: Reply(status, body, headers, **named), **policy)


def scripted(*replies, **policy):
    """A Front whose origin gives these answers in turn; an exception among them is raised; the last one stays."""
    left = list(replies)

    def origin(*_):
        reply = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(reply, Exception):
            raise reply
        return reply

    return Front(origin, **policy)


def is_stored(status=200, ask=None, method="GET", **named):
    """Whether an answer with these fields is kept (ask: fields of the request)."""
    front = always(status, **named)
    front.ask(method=method, headers=fields(**(ask or {})))
    return any(len(variants) for variants in front.store.values())
