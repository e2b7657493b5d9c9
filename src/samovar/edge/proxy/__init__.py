"""The exchange between sockets: clients on one side (front, wire), an origin on the other (upstream, pool, connection), in
any number of processes."""

from .proxy import Edge, serve
from .settings import Settings

__all__ = ["Edge", "Settings", "serve"]
