"""Carrying out a compression plan: complete bodies at once, the rest as it flows."""

from __future__ import annotations

from collections.abc import Mapping

from proxy.codecs.coder import Coder, Coding
from proxy.rules.compression import (
    IDENTITY,
    OF_THE_OTHER_CODING,
    NotCompressed,
    Policy,
    coded,
    plan,
    revalidated,
    varying,
)
from proxy.turn import next_turn
from stack.http.message import BodyStream, Fields, Request, Response
from stack.telemetry.exchange import Exchange

AT_ONCE = 256 * 1024
"""Bytes of a complete body that are coded in one go: 3 ms with br, 1 ms with zstd. A longer one is cut in pieces."""
PIECE = 64 * 1024


class Compressor:
    """Step `compress`: decides by `rules.compression`, marks the word, changes the response in place."""

    def __init__(self, policy: Policy, coders: Mapping[bytes, Coder]) -> None:
        self._policy = policy
        self._coders = coders
        self.tallies: Mapping[bytes, Tally] = {coding: Tally() for coding in coders}

    def apply(self, request: Request, response: Response, exchange: Exchange, *, flush: bool = True) -> Response:
        """`flush=False` for content that is all there (a file): nobody waits for a part of it."""
        decided = plan(request, response, self._policy)
        if isinstance(decided, NotCompressed):
            exchange.mark("compress", decided.value)
            if response.status == 304 and (fields := revalidated(request, response, self._policy)) is not None:
                response.fields = fields
            return response
        exchange.mark("compress", decided.word)
        if decided.coding == IDENTITY:
            response.fields = varying(response.fields)
            return response
        response.fields = coded(response.fields, decided.coding)
        if request.method == b"HEAD":  # RFC 9110 §9.3.2: the fields of a GET, as far as they are known
            return response
        coder, tally = self._coders[decided.coding], self.tallies[decided.coding]
        body = response.body
        tally.responses += 1
        if isinstance(body, bytes):
            if len(body) <= AT_ONCE:
                tally.before += len(body)
                response.body = body = coder.once(body)
                tally.after += len(body)
                return response
            body, flush = Pieces(body), False
        response.body = Compressed(body, coder.stream(held=decided.held), response.trailers, tally, flush=flush)
        return response

    def statistics(self) -> dict[str, dict[str, int]]:
        """Of each coding: how many responses, and the bytes of content before and after."""
        return {
            coding.decode("ascii"): {"responses": tally.responses, "before": tally.before, "after": tally.after}
            for coding, tally in self.tallies.items()
        }


class Tally:
    """What one coding has done so far."""

    __slots__ = ("after", "before", "responses")

    def __init__(self) -> None:
        self.responses = self.before = self.after = 0


class Compressed:
    """A `BodyStream` that codes another one.

    What the app has sent reaches the client although the app sends no more: a chunk is all that was there when it was
    asked for, so each is followed by a flush. When the source breaks off, the coding is left without its end.
    """

    __slots__ = ("_body", "_coding", "_ended", "_flush", "_tally", "_trailers")

    def __init__(self, body: BodyStream, coding: Coding, trailers: Fields, tally: Tally, *, flush: bool) -> None:
        self._body = body
        self._coding = coding
        self._trailers = trailers
        self._tally = tally
        self._flush = flush
        self._ended = False

    def __aiter__(self) -> Compressed:
        return self

    async def __anext__(self) -> bytes:
        coding = self._coding
        while not self._ended:
            try:
                data = await self._body.__anext__()
            except StopAsyncIteration:
                self._ended = True
                self._trailers[:] = [pair for pair in self._trailers if pair[0] not in OF_THE_OTHER_CODING]
                if last := coding.finish():
                    self._tally.after += len(last)
                    return last
                break
            if not data:
                continue
            self._tally.before += len(data)
            out = coding.feed(data)
            if self._flush:
                out += coding.flush()
            if out:
                self._tally.after += len(out)
                return out
        raise StopAsyncIteration

    async def aclose(self) -> None:
        self._ended = True
        await self._body.aclose()


class Pieces:
    """A long body that is there already, as a `BodyStream` of pieces with a turn for the others between them."""

    __slots__ = ("_at", "_data")

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __aiter__(self) -> Pieces:
        return self

    async def __anext__(self) -> bytes:
        if self._at >= len(self._data):
            raise StopAsyncIteration
        if self._at:
            await next_turn()
        piece = self._data[self._at : self._at + PIECE]
        self._at += PIECE
        return piece

    async def aclose(self) -> None:
        self._at = len(self._data)
