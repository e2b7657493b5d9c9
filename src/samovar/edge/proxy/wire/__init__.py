"""HTTP/1.1 as it stands on the wire (RFC 9112), read strictly, without a socket: heads and bodies.

Theory of operation. Two readers that disagree about where a message ends are how requests are smuggled and caches
poisoned, so these accept one spelling and refuse the rest: no bare CR or LF, no obs-fold, no space before a colon, no
NUL, one Content-Length of digits only, no Content-Length beside Transfer-Encoding, no coding but chunked. A connection
on which something was refused is closed: what follows on it cannot be trusted.

Why not llhttp (httptools): it does not tell where in a buffer a message ended, so that surplus bytes and the next
request are hard to tell apart; it knows a fixed list of methods; and it drops the spelling that these checks are about.
It walks beside these readers in the tests: whatever they accept, it must read in the same way.
"""

from .bodies import BadBody, Body, Chunked, Sized, UntilClose
from .heads import BadHead, Limits, RequestHead, ResponseHead, read_request, read_response, suspicious
from .written import request_bytes, response_bytes

__all__ = [
    "BadBody", "BadHead", "Body", "Chunked", "Limits", "RequestHead", "ResponseHead", "Sized", "UntilClose",
    "read_request", "read_response", "request_bytes", "response_bytes", "suspicious",
]
