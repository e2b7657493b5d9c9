"""Who loads is killed in the middle of the load: the crowd that waits for the value is served all the same."""

from __future__ import annotations

from dataclasses import dataclass

from bench.faults.crowd import BUSY, ERROR, Plan, now
from bench.faults.figures import Outcome, late
from bench.faults.stage import Cast, Metronome, Run, Stage, received, sleep_until

LEASE_S, KEY = 1.0, 0
CALLERS, PROCESSES = 50, 2
MORE_S = {"redis": 0.5, "memcached": 2.5}  # Memcached keeps whole seconds
ASK_S, KILL_S = 0.3, 0.4  # when the crowd asks, and when the holder dies


@dataclass(frozen=True)
class Holder:
    """The row, with the face of rows.py's."""

    name: str = "holder"
    title: str = "who loads is killed"
    engines: tuple[str, ...] = ("redis", "memcached")

    def play(self, engine: str, seconds: float, *, tasks: bool, seed: int) -> Outcome:
        """One process takes the lease and is killed; two others, 50 callers each, ask meanwhile. Its length is the
        lease's, whatever `seconds` says."""
        stage, cast, metronome = Stage(engine), None, Metronome()
        rest_s = LEASE_S + MORE_S[engine] + 1
        try:
            holds = Plan(nodes=stage.places(), reads=((0.0, KEY),), origin_s=600, lease_s=LEASE_S, tasks=tasks)
            waits = Plan(nodes=stage.places(), reads=((ASK_S, KEY),) * CALLERS, lease_s=LEASE_S, tasks=tasks, seconds=rest_s)
            cast = Cast([holds, *[waits] * PROCESSES])
            metronome.start()
            begin_s = cast.begin()
            sleep_until(begin_s + KILL_S)
            cast.crew[0].kill()
            killed_s = now()
            records = [received(pipe) for pipe in cast.pipes[1:]]
        finally:
            metronome.over.set()
            if cast is not None:
                cast.end()
            stage.end()
        out = Outcome(self.name, self.title, engine)
        run = Run(engine, begin_s, begin_s, killed_s, killed_s, killed_s, killed_s, records, metronome.ticks)
        out.late_p99_s, out.late_most_s = late(run)
        reads = [read for record in records for read in record.reads]
        out.add("errors", sum(read[3] in (BUSY, ERROR) for read in reads), 0)
        out.add("answered", len(reads) / (CALLERS * PROCESSES), 0.95, "share", least=True)
        out.add("last one served", max(read[1] for read in reads) - killed_s, LEASE_S + MORE_S[engine], "s")
        out.add("more calls", sum(len(record.loads) for record in records), 1)
        out.notes += [text for record in records for text in record.errors[:2]]
        return out
