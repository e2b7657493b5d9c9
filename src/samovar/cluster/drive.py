"""The two drivers of node verbs: one blocking, one asyncio, to be read side by side.

    answer = run(node.read(["a", "b"]))
    answer = await arun(node.read(["a", "b"]))

A verb's generator says which node is to be asked what; the node's connection asks. What raises here is a caller's
mistake: an engine's fault is an answer.
"""

from typing import TypeVar

from .node import Steps

_T = TypeVar("_T")


def run(steps: Steps[_T]) -> _T:
    """What the steps return, each request performed in turn by this thread."""
    try:
        node, request = next(steps)
        while True:
            node, request = steps.send(node.perform(request))
    except StopIteration as stop:
        answer: _T = stop.value
        return answer


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
