"""A web site's own server, for the demonstration of the edge: pages that take a while to make, and a count of them.

Run as a program; it ends when its standard input does, and so with its parent.

    GET  /page/NAME   a page, with a lifetime, a tag and a validator      POST /edition/N   change all pages to this edition
    GET  /counts      how often each was asked for, since it began
"""

import json
import sys
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from .._base.clock import pause

LIFETIME = "max-age=600, stale-while-revalidate=60, stale-if-error=86400"


class Site:
    """The pages: what edition they are, how long one takes, and how often they were asked for."""

    def __init__(self, edition: int, query_s: float) -> None:
        self.edition, self._query_s = edition, query_s
        self._asked: Counter[str] = Counter()
        self._lock = threading.Lock()

    def page(self, name: str) -> tuple[int, bytes]:
        """The edition and the text of a page; slow, as what asks a database is."""
        with self._lock:
            self._asked[name] += 1
        pause(self._query_s)
        return self.edition, f"<h1>{name}</h1><p>Edition {self.edition} of this page.</p>".encode() * 40

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._asked)


def server(site: Site, port: int) -> ThreadingHTTPServer:
    """A server of the site on loopback."""

    class Desk(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def log_message(self, format: str, *args: object) -> None:
            pass  # nobody reads it

        def do_GET(self) -> None:
            verb, _, name = self.path[1:].partition("/")
            if verb == "counts":
                self._answer(json.dumps(site.counts()).encode(), {"Cache-Control": "no-store"})
            elif verb == "page":
                edition, text = site.page(name)
                self._answer(text, {"Cache-Control": LIFETIME, "Surrogate-Key": f"pages page:{name}",
                                    "ETag": f'"{name}-{edition}"'})
            else:
                self.send_error(404)

        def do_POST(self) -> None:
            site.edition = int(self.path.rpartition("/")[2])
            self._answer(b"", {})

        def _answer(self, body: bytes, fields: dict[str, str]) -> None:
            try:
                self.send_response(200)
                for name, value in fields.items():
                    self.send_header(name, value)
                self.send_header("Content-Type", "text/html")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except ConnectionError:
                self.close_connection = True  # who asked is gone

    class Server(ThreadingHTTPServer):
        daemon_threads = True
        request_queue_size = 1_024

    return Server(("127.0.0.1", port), Desk)


def main(options: str) -> None:
    """Serve until standard input ends. options: JSON with port, edition, query_s. The first line of standard output says
    where it listens."""
    said = json.loads(options)
    web = server(Site(said["edition"], said["query_s"]), said["port"])
    threading.Thread(target=web.serve_forever, args=(0.05,), daemon=True).start()
    print(json.dumps({"port": web.server_address[1]}), flush=True)
    sys.stdin.read()
    web.shutdown()
    web.server_close()


if __name__ == "__main__":
    main(sys.argv[1])
