"""The certificate that clients are shown, which may be changed while the proxy runs.

Every handshake asks for the context that is current (by the callback for server names, which OpenSSL calls without one
too); to read the files again makes another. What was shaken hands on goes on, and nothing is ever half changed: a new
certificate beside an old key, or beside an old certificate with a key of another kind.
"""

import logging
import ssl

_logger = logging.getLogger("samovar.edge")


class Certificates:
    """The certificate of one server. context: what it listens with. chain, key: files (PEM)."""

    def __init__(self, context: ssl.SSLContext, chain: str, key: str) -> None:
        self._current, self._chain, self._key = context, chain, key
        context.sni_callback = self._choose

    def _choose(self, tls: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        if self._current is not context:
            tls.context = self._current

    def reload(self) -> bool:
        """Read the files again, for handshakes from now on. False, with an error in the log, where they cannot be used: then
        all stays as it is."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            context.load_cert_chain(self._chain, self._key, password="")  # else it is asked for at the terminal, and all wait
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            _logger.error("the certificate in %s was not read again, the old one stays: %s", self._chain, error)
            return False
        self._current = context
        _logger.info("the certificate in %s was read again", self._chain)
        return True
