"""What asking the origin may take, and what comes of it."""

from dataclasses import dataclass

from ..._base.contracts import Permit
from ..contracts import OriginFailed, Reply
from ..rules import Outcome, Verdict
from .body import Reader


@dataclass(frozen=True, slots=True)
class Limits:
    """What a fetch may take. Times in seconds, sizes in bytes.

    head_s: until the fields of the answer are there. gap_s: between two parts of its body. fill_s: for the whole of a body
    that is to be stored; slower ones are broken off. lag_s: for which one slow reader may hold up the others, where
    nothing is kept. body: the largest body that is kept in memory. memory: of all bodies on their way in; and see Loans.
    """

    head_s: float
    gap_s: float
    fill_s: float
    lag_s: float
    body: int
    memory: int


@dataclass(slots=True)
class Got:
    """What came of asking the origin.

    outcome: what the rules say; its result is never RETRY. Whoever has this closes it.
    reply: for PASS: its body is still to come.
    reader: for STORE: of the body on its way in, from its begin.
    is_elsewhere: somebody else has asked. error: why there is no answer. busy_s: there was no place at the origin; when
    it makes sense to ask again.
    """

    outcome: Outcome
    verdict: Verdict
    reason: bytes = b""
    reply: Reply | None = None
    reader: Reader | None = None
    permit: Permit | None = None
    error: OriginFailed | None = None
    busy_s: float | None = None
    is_elsewhere: bool = False

    async def close(self) -> None:
        """Let go of the reply or the reader, and of the place at the origin."""
        reply, permit, self.reply, self.permit = self.reply, self.permit, None, None
        if self.reader is not None:
            self.reader.close()
        try:
            if reply is not None:
                await reply.close()
        finally:
            if permit is not None:
                permit.leave()
