"""What the protocols of this level ask of whoever drives them.

    request   about                           told
    NODE      (node, verb, arguments)         the node's answer
    ALL       a list of these                 the answers, in their order; asked at once where that can be
    PAUSE     seconds                         nothing
    ENTER     whether it may wait             a permit of the origin budget; or it raises OriginBusy
    CALL      loads, with their maker         the values that the factory made; or it raises
    SPAWN     steps                           whether they are driven in the background

A node that fails never raises: its answer says so.
"""

from collections.abc import Generator
from typing import Any, TypeAlias

NODE, ALL, PAUSE, ENTER, CALL, SPAWN = range(6)
Request: TypeAlias = tuple[int, Any]
Steps: TypeAlias = Generator[Request, Any, Any]
