"""Whether a connection that lay idle is still one: nothing came over it while nothing was asked.

What came is an end, or bytes that nobody asked for and that could be taken for the next answer. The one rule: the system is
asked, and nothing is read.
"""

import select
from typing import Protocol


class Plugged(Protocol):
    """A socket, or what stands for one."""

    def fileno(self) -> int:
        """Its number in the system."""


def is_silent(plug: Plugged) -> bool:
    """Whether the system holds nothing of this socket's that was not read yet: no byte and no end. One system call, without
    waiting."""
    if not hasattr(select, "poll"):  # Windows
        return not select.select([plug], [], [], 0)[0]
    poll = select.poll()  # no bound on the number of a descriptor, as select has
    poll.register(plug, select.POLLIN)
    return not poll.poll(0)
