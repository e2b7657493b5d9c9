"""The drivers of node verbs: one blocking, one asyncio, to be read side by side.

    answer = run(node.read(["a", "b"]))
    answer = await arun(node.read(["a", "b"]))
    one, other = run_all([node.read(["a"]), another.read(["b"])])

A verb's generator says which node is to be asked what; the node's connection asks. What raises here is a caller's
mistake: an engine's fault is an answer.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any, TypeVar

from .blocking import Aside
from .node import Node, Pending, Steps

_T = TypeVar("_T")
_AT_ONCE = 500  # requests that one node is sent in one


def run(steps: Steps[_T]) -> _T:
    """What the steps return, each request performed in turn by this thread."""
    try:
        node, request = next(steps)
        while True:
            node, request = steps.send(node.perform(request))
    except StopIteration as stop:
        answer: _T = stop.value
        return answer


def run_all(verbs: Sequence[Steps[Any]]) -> list[Any]:
    """What each of these returns, in their order, driven side by side by this thread: all nodes are sent their requests
    before the first reply is awaited, so that it takes the slowest one's time, and requests to one node go as one.
    Nodes that can only be asked by `perform`, clients of redis-py's, are asked when the others were sent theirs: one by this
    thread, the others by threads of a small pool meanwhile, or in turn where none is free."""
    answers: list[Any] = [None] * len(verbs)
    told: list[tuple[int, Any]] = [(at, None) for at in range(len(verbs))]
    due: list[tuple[int, Node, Any]] = []
    while True:
        for at, replies in told:
            try:
                due.append((at, *verbs[at].send(replies)))
            except StopIteration as stop:
                answers[at] = stop.value
        if not due:
            return answers
        turns: dict[int, list[tuple[int, Node, Any]]] = {}
        for one in due:
            turns.setdefault(id(one[1]), []).append(one)
        due = [one for turn in turns.values() for one in turn[_AT_ONCE:]]
        told = _asked([turn[:_AT_ONCE] for turn in turns.values()])


def _asked(turns: Sequence[list[tuple[int, Node, Any]]]) -> list[tuple[int, Any]]:
    """Ask each node what is due: (number, replies) of each verb."""
    told: list[tuple[int, Any]] = []
    pending: list[tuple[list[tuple[int, Node, Any]], Pending]] = []
    waits = []
    try:
        for turn in turns:
            begun = turn[0][1].begin([request for _, _, request in turn])
            if begun is None:
                waits.append(turn)
            else:
                pending.append((turn, begun))
        for turn in waits[:-1]:
            begun = Aside.start(partial(_performed, turn))
            if begun is None:
                told += zip([at for at, _, _ in turn], _performed(turn), strict=True)
            else:
                pending.append((turn, begun))
        for turn in waits[-1:]:
            told += zip([at for at, _, _ in turn], _performed(turn), strict=True)
        while pending:
            turn, begun = pending.pop()
            told += zip([at for at, _, _ in turn], begun.finish(), strict=True)
        return told
    finally:
        for _, begun in pending:
            begun.drop()


def _performed(turn: Sequence[tuple[int, Node, Any]]) -> list[Any]:
    """What one node says to what is due, asked in turn."""
    return [node.perform(request) for _, node, request in turn]


async def arun(steps: Steps[_T]) -> _T:
    """What the steps return, each request performed in turn by this task. A cancellation ends them where they are."""
    try:
        node, request = next(steps)
        while True:
            node, request = steps.send(await node.aperform(request))
    except StopIteration as stop:
        answer: _T = stop.value
        return answer
    finally:
        steps.close()
