"""What the edge itself says: a response out of the store, or a problem, with Age, Cache-Status and X-Cache."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Final

from cdn_edge.asked import Asked
from cdn_edge.assembling import Assembly
from cdn_edge.rules import answering, cache_status
from cdn_edge.rules.answering import Selected
from cdn_edge.rules.asking import Asking
from cdn_edge.stored import Stored
from stack.clock import Clock
from stack.errors import ClientError, HopError
from stack.http import problem
from stack.http.conditional import Condition
from stack.http.message import Body, Field, Fields, Request, Response
from stack.http.ranges import Range
from stack.telemetry.exchange import Exchange

# X-Cache, for tools that read it: the words of nginx and others
HIT: Final[Field] = (b"x-cache", b"HIT")
STALE: Final[Field] = (b"x-cache", b"STALE")
"""From the store, past its freshness."""
REVALIDATED: Final[Field] = (b"x-cache", b"REVALIDATED")
"""From the store, and the origin has said that it holds."""
MISS: Final[Field] = (b"x-cache", b"MISS")
BYPASS: Final[Field] = (b"x-cache", b"BYPASS")
"""No request for a cache to answer."""
_OWN: Final = frozenset({b"x-request-id", b"x-cache"})


class NotCached(ClientError):
    """RFC 9111 §5.2.1.7."""

    status, proxy_status, title = 504, "", "Nothing stored answers this request, and it forbids asking the origin"


class Answers:
    def __init__(
        self,
        name: str,
        clock: Clock,
        random: Random,
        renewed: Callable[[Stored, float], None] = lambda stored, now: None,
        assembly: Assembly | None = None,
        *,
        hidden: frozenset[bytes] = frozenset(),
    ) -> None:
        """`renewed` is told of each head that is made, and when: the store counts them. `hidden` are fields of the
        origin's that are for this cache alone.
        """
        self._name = name
        self._dropped = _OWN | hidden
        self.member = cache_status.member(name)
        self.fresh = cache_status.fresh_hit(self.member)
        """Cache-Status of a fresh hit, as a format that wants the ttl."""
        self._lines = b"age: %%d\r\ncache-status: %b\r\nx-cache: HIT\r\n" % self.fresh
        self._clock = clock
        self._random = random
        self._renewed = renewed
        self.assembly = assembly
        """For what is held in pieces."""

    def lines(self, stored: Stored, now: float) -> bytes:
        """What a fresh hit says besides the stored fields, as field lines of HTTP/1.1."""
        return self._lines % (now - stored.born, stored.fresh_until - now)

    def renew(self, stored: Stored, now: float) -> None:
        """The head of a fresh hit, serialised once for as long as its Age and ttl do not change: a second at most."""
        age, ttl = (
            max(0, int(now - stored.born)),
            int(stored.fresh_until - now),
        )  # it may have waited before it came here
        stored.hit = stored.block.extended([(b"age", b"%d" % age), (b"cache-status", self.fresh % ttl), HIT])
        stored.hit_until = min(stored.born + age + 1, stored.fresh_until - ttl)
        self._renewed(stored, now)

    def select(self, stored: Stored, request: Request, asked: Asking) -> Selected | None:
        """All of it, a part of it, or 304. None where If-Match or If-Unmodified-Since does not hold."""
        block = stored.block
        if asked.conditional:
            condition = answering.condition(request, stored.status, block.fields, self._clock.time())
            if condition is Condition.NOT_MODIFIED:
                return Selected(304, answering.unchanged(block.fields))
            if condition is Condition.FAILED:
                return None
        size = len(stored.body) if stored.parts is None else stored.parts.length
        if asked.ranged and stored.status == 200:
            part = answering.partial(request, block, size, now=self._clock.time(), boundary=self._boundary)
            if part is not None:
                return part
        return Selected(stored.status, spans=(Range(0, size),) if size else ())

    def status(self, stored: Stored, request: Request, asked: Asking) -> int | None:
        """Of what `from_stored` would answer, without making it."""
        selected = self.select(stored, request, asked)
        if selected is None:
            return None
        if stored.parts is not None and request.method != b"HEAD":
            if self.assembly is None:
                return None if any(map(stored.parts.gaps, selected.spans)) else selected.status
            return selected.status if self.assembly.lacking(stored.parts, selected) is None else None
        return selected.status

    def from_stored(self, stored: Stored, asked: Asked, added: Fields, *, lacking: bool = False) -> Response | None:
        """What the client gets of it. None where If-Match or If-Unmodified-Since does not hold, and where not all of
        that is held, but for `lacking`: then what is missing is fetched while the answer is sent.
        """
        if not asked.asking.conditional and not asked.asking.ranged and stored.parts is None:
            return Response(stored.status, added, stored.body, block=stored.block)
        selected = self.select(stored, asked.request, asked.asking)
        if selected is None:
            return None
        if stored.parts is None:
            body: Body = stored.body if selected.fields is None else selected.content(stored.body)
        elif asked.request.method == b"HEAD":
            body = b""
        elif (
            self.assembly is not None
            and (found := self.assembly.content(asked, stored.parts, selected, lacking=lacking)) is not None
        ):
            body = found
        else:
            return None
        if selected.fields is None:
            return Response(selected.status, added, body, block=stored.block)
        return Response(selected.status, selected.fields + added, body)

    def stamped(self, response: Response, member: bytes, said: Field = MISS) -> Response:
        """The origin's response, with what this hop says in place of what the hops behind said for themselves."""
        fields = self.passed(response.fields)
        fields.append((b"cache-status", member))
        fields.append(said)
        response.fields = fields
        return response

    def passed(self, fields: Fields) -> Fields:
        """The request's id is this hop's to say, and X-Cache speaks of one cache only."""
        dropped = self._dropped
        return [field for field in fields if field[0] not in dropped]

    def problem(self, request: Request, exchange: Exchange, error: HopError, member: bytes) -> Response:
        """Made here rather than in the engine, so that it has its Cache-Status like any other."""
        exchange.proxy_status = error.proxy_status
        exchange.detail = error.private or error.detail
        accept = request.get(b"accept")
        response = problem.response(error, hop=self._name, accept=accept, request_id=exchange.request_id)
        response.fields += [(b"cache-status", member), MISS]
        return response

    def _boundary(self) -> bytes:
        return b"%032x" % self._random.getrandbits(128)
