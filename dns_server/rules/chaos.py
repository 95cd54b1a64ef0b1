"""Class CH: what a server says of itself (RFC 4892)."""

from __future__ import annotations

from collections.abc import Mapping

from dns_server.rules import errors, types
from dns_server.rules.names import from_text
from dns_server.rules.query import Query
from dns_server.rules.rrset import Answer, RRset


class Chaos:
    """TXT records under names that no zone has. All else is refused."""

    def __init__(self, *, identity: bytes, version: bytes) -> None:
        """Either may be empty: then its names are refused too."""
        texts: Mapping[str, bytes] = {
            "id.server": identity,
            "hostname.bind": identity,
            "version.server": version,
            "version.bind": version,
        }
        self._texts = {from_text(name): text for name, text in texts.items() if text}

    def answer(self, query: Query) -> Answer:
        text = self._texts.get(query.key)
        if query.cls != types.CH or text is None or query.type not in (types.TXT, types.ANY):
            return errors.answer(types.REFUSED, errors.CLASS)
        found = Answer("answered")
        rrset = RRset(query.name, types.TXT, 0, (bytes((len(text),)) + text,), types.CH)
        found.answer.append((query.name, rrset))
        return found
