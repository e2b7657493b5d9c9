"""What edge/precompute/schedule.py decides, by looking at every key each time. No queues, no tickets: lists and min()."""

import math

WAITING, READY, BUILDING = range(3)


class ScheduleTwin:
    """chance is always a half, jitter and stagger are none."""

    def __init__(self, every, concurrency, asks):
        self.every, self.concurrency, self.asks = every, concurrency, asks
        self.late = every if every < math.inf else 60.0
        self.keys_now, self.serial = {}, 0
        self.round_due, self.asking, self.round_failures = -math.inf, False, 0
        self.ends = math.inf  # from when on nothing becomes due

    def of(self, state):
        return [job for job in self.keys_now.values() if job["state"] == state]

    def ripen(self, now):
        for job in self.of(WAITING):
            if self.ends == math.inf and job["due"] <= now:
                self.ready(job, job["due"])

    def ready(self, job, due):
        job.update(state=READY, due=due, heat=job["reads"])

    def next(self, now):
        self.ripen(now)
        if not self.asking and self.round_due <= min(now, self.ends):
            self.asking = True
            return "round"
        room = len(self.of(BUILDING)) < self.concurrency
        ready = self.of(READY)
        if room and ready:
            late = [job for job in ready if job["due"] + self.late <= now]
            job = (min(late, key=lambda job: (job["due"], job["serial"])) if late else
                   min(ready, key=lambda job: (-job["heat"], job["due"], job["serial"])))
            job.update(state=BUILDING, forced=job["touched"], touched=False)
            return job["key"]
        if self.ends < math.inf:
            return math.inf
        moments = [] if self.asking else [self.round_due]
        moments += [job["due"] for job in self.of(WAITING) if room]
        return max(0.0, min(moments, default=math.inf) - now)

    def over(self, job):
        if job["gone"]:
            del self.keys_now[job["key"]]
        return not job["gone"]

    def built(self, key, now, at):
        job = self.keys_now[key]
        job.update(touched=job["again"], again=False)
        if self.over(job):
            self.rest(job, now, at)

    def rest(self, job, now, at):
        job.update(failures=0, at=at, reads=job["reads"] // 2)
        if job["touched"]:
            self.ready(job, now)
        else:
            job.update(state=WAITING, due=at + self.every)

    def missed(self, key, now, how, wait=0.0):
        job = self.keys_now[key]
        job.update(touched=job["touched"] or job["again"] or job["forced"], again=False)
        if not self.over(job):
            return
        if how == "failed":
            self.fail(job, now)
        elif how == "lost":
            self.fail(job, now)
            if job["failures"] == 1:
                self.ready(job, now)
        elif how == "busy":
            job.update(state=WAITING, due=now + wait)
        else:
            self.ready(job, now)

    def fail(self, job, now):
        job["failures"] += 1
        job.update(state=WAITING, due=now + self.backoff(job["failures"]))

    def backoff(self, failures):
        return 0.75 * min(self.late, min(1.0, self.late / 10) * 2.0 ** (failures - 1))

    def noted(self, key, now, at):
        job = self.keys_now[key]
        if job["state"] != BUILDING and not job["gone"] and (job["at"] is None or at > job["at"]):
            self.rest(job, now, at)

    def read_failed(self, key, now):
        job = self.keys_now[key]
        if job["state"] != BUILDING and not job["gone"]:
            self.fail(job, now)

    def touch(self, key, now):
        job = self.keys_now.get(key)
        if job is None or job["gone"]:
            if self.asks:
                self.round_due = min(self.round_due, now)
            return False
        if job["state"] == BUILDING:
            job["again"] = True
        else:
            job["touched"] = True
            if job["state"] == WAITING and not job["failures"]:
                self.ready(job, now)
        return True

    def touch_tag(self, tag, now):
        keys = [key for key, job in self.keys_now.items() if tag in job["tags"]]
        return sum(self.touch(key, now) for key in keys)

    def keys(self, found, now):
        self.asking, self.round_failures = False, 0
        self.round_due = now + self.every if self.asks else math.inf
        for key, job in list(self.keys_now.items()):
            if key not in found and job["state"] == BUILDING:
                job["gone"] = True
            elif key not in found:
                del self.keys_now[key]
        for key in found:
            if key not in self.keys_now:
                self.serial += 1
                self.keys_now[key] = dict(key=key, serial=self.serial, at=None, reads=0, failures=0, tags=(), gone=False,
                                          touched=False, again=False, forced=False)
                self.ready(self.keys_now[key], now)
            elif self.keys_now[key]["gone"]:
                self.keys_now[key].update(gone=False, again=True)

    def round_failed(self, now):
        self.asking = False
        self.round_failures += 1
        self.round_due = now + self.backoff(self.round_failures)
