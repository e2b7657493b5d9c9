"""What does single flight add to the call of a function when nobody else asks for the key?

The same loop over a function that does nothing, called by itself and through `SingleFlight.do`; keys in random order. The
bar is on the difference: at most a microsecond.
"""

from __future__ import annotations

from bench.cases.contest import Case
from bench.cases.hits import in_random_order, ints
from bench.loops import call_each, do_each
from bench.rounds import Effort, Lane, Result, take_turns
from samovar import SingleFlight

CALL, DO, ADDED = "the function", "SingleFlight.do", "added by do"


def uncontended(effort: Effort) -> Result:
    asked = in_random_order(ints())
    result = take_turns([Lane(CALL, call_each, None, [asked]), Lane(DO, do_each, SingleFlight(), [asked])], effort, CALL)
    result.ns[ADDED] = result.ns[DO] - result.ns[CALL]
    result.ratio[ADDED] = result.ns[CALL] / result.ns[ADDED]
    result.unsure[ADDED] = result.unsure[DO]
    return result


CASES = (Case("single-flight", "single flight, uncontended", uncontended, at_most=1000.0, judged=(ADDED,), baseline=CALL,
              level=2),)
