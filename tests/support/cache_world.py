"""The edge between a scripted origin and a client, with every response of the origin remembered and every answer judged."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from email.utils import formatdate

from cdn_edge.rules.judging import Policy
from stack.errors import ConnectRefused, ResponseIncomplete, ResponseTimeout
from stack.http.message import Request, Response
from tests.cdn_edge.lab import Lab, Reply, Stream
from tests.support import cache_model as model
from tests.support.cache_model import Fields, Known

_SAFE = ("GET", "HEAD", "OPTIONS")
_EPOCH = 1_700_000_000
SILENT = 30
"""Seconds after a failure that was waited for, in which what is stale may answer at once (decision 167)."""
INSTANT = 1 / 1024
"""Seconds, exact as a binary number: no two responses come at one time."""
FAILURES = (500, 502, 503, 504)


@dataclass(frozen=True)
class Says:
    """What the origin says to whatever it is asked next. Dates are seconds from now."""

    status: int = 200
    control: str | None = None
    targeted: str | None = None
    """CDN-Cache-Control."""
    expires: int | str | None = None
    age: str | None = None
    date: int | None = 0
    etag: str | None = "strong"
    modified: bool = True
    vary: str | None = None
    cookie: bool = False
    location: str | None = None
    ranges: bool = True
    changed: bool = False
    """Its content is another from now on."""
    fails: str | None = None
    """refused, silent; cut: its content breaks off."""


@dataclass(frozen=True)
class Ask:
    """What a client asks. {tag} and {old} are entity-tags, {then} and {before} dates of Last-Modified."""

    target: str = "/a"
    method: str = "GET"
    fields: tuple[tuple[str, str], ...] = ()
    says: Says = Says()


@dataclass(frozen=True)
class Wait:
    seconds: int


Step = Ask | Wait


class Violation(AssertionError):
    pass


@dataclass
class World:
    delay: int = 0
    """Seconds that the origin takes."""
    size: int = 1_000_000
    """Of the store. In a small one nothing must be found."""

    def __post_init__(self) -> None:
        self.lab = Lab(size=self.size, policy=Policy(max_object=100_000))
        self.lab.delay = self.delay
        self.known: list[Known] = []
        """All that may be in a store, in the order of its coming; what was invalidated is not."""
        self.latest: dict[str, int] = {}
        """By target the number of the last response that was got for it."""
        self.versions: dict[str, int] = {}
        self.came: list[Known] = []
        """Since the client asked."""
        self.failed: list[str] = []
        """The same, for what did not come at all."""
        self.silent: dict[str, float] = {}
        """By target when it last failed to answer, after some time."""
        self.serial = 0
        self.hits = self.required = self.validated = self.stale = 0

    # The origin.

    def etag(self, target: str, language: str) -> str:
        return f'"{target[1:]}{self.versions.get(target, 0)}{language}"'

    def modified(self, target: str) -> int:
        return _EPOCH - 90 + self.versions.get(target, 0)

    def _answer(self, request: Request) -> Response:
        says = self._says
        now = self.lab.clock.time()
        target, method = request.target.decode(), request.method.decode()
        asked = {name.decode(): value.decode() for name, value in request.fields}
        if says.fails in ("refused", "silent"):
            self.failed.append(says.fails)
            if self.delay:
                self.silent[target] = now
            raise ConnectRefused() if says.fails == "refused" else ResponseTimeout()
        if says.changed:
            self.versions[target] = self.versions.get(target, 0) + 1
        self.serial += 1
        language = asked.get("accept-language", "").partition(",")[0].strip()
        etag = self.etag(target, language)
        content = f"{etag} at {target} in {language}".encode()
        fields: Fields = {"x-serial": str(self.serial), "x-user": "somebody"}
        for name, value in (
            ("cache-control", says.control),
            ("cdn-cache-control", says.targeted),
            ("vary", says.vary),
            ("age", says.age),
        ):
            if value is not None:
                fields[name] = value
        if says.date is not None:
            fields["date"] = formatdate(now + says.date, usegmt=True)
        if says.expires is not None:
            expires = says.expires
            fields["expires"] = expires if isinstance(expires, str) else formatdate(now + expires, usegmt=True)
        if says.etag is not None:
            fields["etag"] = etag if says.etag == "strong" else f"W/{etag}"
        if says.modified:
            fields["last-modified"] = formatdate(self.modified(target), usegmt=True)
        if says.cookie:
            fields["set-cookie"] = "id=1"
        if says.location is not None:
            fields["content-location"] = says.location
        status, sent = says.status, (0, len(content))
        if 200 <= status < 300 and method in ("GET", "HEAD"):
            status, sent = self._selected(asked, fields, method, status, len(content))
        body = b"" if status in (204, 304, 412) or method == "HEAD" else content[sent[0] : sent[1]]
        if status == 206:
            fields["content-range"] = f"bytes {sent[0]}-{sent[1] - 1}/{len(content)}"
        elif status == 416:
            body = b""
            fields["content-range"] = f"bytes */{len(content)}"
        if status not in (204, 304):
            fields["content-length"] = str(len(content) if method == "HEAD" and status != 412 else len(body))
        cut = says.fails == "cut" and len(body) > 1
        known = Known(
            serial=self.serial,
            target=target,
            method=method,
            asked=asked,
            status=status,
            fields={"date": formatdate(now, usegmt=True), **fields},  # RFC 9110 §6.6.1: whoever gets it adds it
            content=b"" if status == 204 else content,
            sent=sent,
            whole=not cut,
            requested=now - self.delay,
            received=now,
        )
        self._remember(known)
        lines = [(name.encode(), value.encode()) for name, value in fields.items()]
        return Response(status, lines, Stream(body[:1], error=ResponseIncomplete()) if cut else body)

    def _selected(
        self, asked: Fields, fields: Fields, method: str, status: int, size: int
    ) -> tuple[int, tuple[int, int]]:
        """RFC 9110 §13.2.2, as an origin does it."""
        if (instead := model.condition(asked, fields, method)) is not None:
            return instead, (0, 0)
        if self._says.ranges and status == 200 and method == "GET":
            wanted = model.part(asked, fields.get("etag"), size)
            if isinstance(wanted, str):
                return 416, (0, 0)
            if wanted is not None:
                return 206, wanted
        return status, (0, size)

    def _remember(self, known: Known) -> None:
        self.came.append(known)
        if known.method not in _SAFE and 200 <= known.status < 400:
            # §4.4: the target, and what Location and Content-Location name
            gone = {known.target, known.fields.get("content-location", known.target)}
            self.known = [one for one in self.known if one.target not in gone]
            for target in gone:
                self.latest[target] = known.serial
        if known.method in ("GET", "HEAD", "POST"):
            self.latest[known.target] = known.serial
        updates: list[Known] = []
        if known.status == 304 or (known.method == "HEAD" and known.status == 200):
            # §4.3.4, §4.3.5
            updates = [
                one.updated(known) for one in self.known if one.target == known.target and self._same(one, known)
            ]
        self.known += updates
        if known.method in ("GET", "POST") and known.status not in (304, 412, 416):
            self.known.append(known)

    @staticmethod
    def _same(stored: Known, fresh: Known) -> bool:
        """§4.3.4: a validator of the new one is of the old one, too; without one, it can mean any."""
        for name in ("etag", "last-modified"):
            if name in fresh.fields and name in stored.fields:
                return fresh.fields[name].removeprefix("W/") == stored.fields[name].removeprefix("W/")
        return "etag" not in fresh.fields or "etag" in stored.fields

    # The client.

    async def run(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if isinstance(step, Wait):
                await self.lab.clock.advance(step.seconds)
            else:
                await self.ask(step)
                await self.lab.clock.advance(INSTANT)

    async def ask(self, ask: Ask) -> Reply:
        """Raises Violation for an answer that no text allows, or that could have been a hit and was none."""
        self._says = ask.says
        self.lab.origin(self._answer)
        language = (
            next((value for name, value in ask.fields if name == "Accept-Language"), "").partition(",")[0].strip()
        )
        known = {
            "tag": self.etag(ask.target, language),
            "then": formatdate(self.modified(ask.target), usegmt=True),
            "before": formatdate(self.modified(ask.target) - 100, usegmt=True),
        }
        lines = [(name, value.format(**known)) for name, value in ask.fields]
        asked = {name.lower(): value for name, value in lines}
        before = list(self.known)
        began = self.lab.clock.time()
        must = self._must_answer(ask, asked, began)
        silent = began - self.silent.get(ask.target, float("-inf")) < SILENT
        self.came, self.failed = [], []
        text = "\n".join(f"{name}: {value}" for name, value in lines)
        body = b"content" if ask.method in ("POST", "PUT") else b""
        asking = asyncio.ensure_future(self.lab.ask(ask.target, text, method=ask.method, body=body))
        for _ in range(20):
            await asyncio.sleep(0)
            if asking.done() or not self.delay:
                break
            await self.lab.clock.advance(1)
        reply = await asyncio.wait_for(asking, 5)
        if ask.method == "HEAD":
            reply.body = b""  # the engine's to leave out
        self._judge(ask, asked, reply, before, began, must, silent)
        return reply

    def _must_answer(self, ask: Ask, asked: Fields, now: float) -> Known | None:
        """What a good cache has, and answers with at once: the last that came for this URL, whole, fresh, storable."""
        if ask.method not in ("GET", "HEAD") or {"if-match", "if-unmodified-since", "if-range"} & asked.keys():
            return None
        if self.size < 1_000_000 or not self.known or "cache-control" in asked or "pragma" in asked:
            return None
        candidate = next((one for one in reversed(self.known) if one.target == ask.target), None)
        if candidate is None or candidate.serial != self.latest.get(ask.target) or candidate.status == 206:
            return None
        if not (candidate.first_hand and candidate.must_be_stored() and candidate.matches(asked, exactly=True)):
            return None
        others = [one for one in self.known if one.target == ask.target and one is not candidate and one.matches(asked)]
        if any(one.rank >= candidate.rank for one in others):
            return None
        return candidate if candidate.age(now) < candidate.lifetime()[0] else None

    def _judge(
        self, ask: Ask, asked: Fields, reply: Reply, before: list[Known], began: float, must: Known | None, silent: bool
    ) -> None:
        now = self.lab.clock.time()
        reasons: list[str] = []

        def accepted(known: Known, why: str) -> bool:
            why = why or self._differs(known, ask, asked, reply, began, now)
            if why:
                reasons.append(f"{known.serial}: {why}")
            return not why

        stored = [one for one in before if one.target == ask.target]
        if must is not None and (self.came or self.failed):
            raise Violation(f"{must} should have answered {asked}, and the origin was asked")
        if ask.method in ("GET", "HEAD"):
            for known in stored:
                if accepted(known, known.why_not(asked, began)):
                    self.hits += 1
                    self.required += must is not None
                    if must is not None and known is not must:
                        raise Violation(f"{known} answered {asked}, and {must} is newer")
                    wanted = model.part(asked, known.fields.get("etag"), len(known.content))
                    if must is not None and wanted and ask.method == "GET" and reply.status == known.status == 200:
                        raise Violation(f"all of {known} for {asked}")
                    return
            # after a 304 that the origin gave to what the cache asked, or a HEAD that went by
            bases = [one for one in stored if not one.must_not_be_stored()]
            for came in self.came:
                if came.status == 304:
                    for base in bases:
                        # §4.1, §4.3.1: of responses that Vary keeps apart the tags may be sent, and one chosen by 304
                        tags = came.asked.get("if-none-match", "")
                        meant = base.matches(asked) or model.tag_matches(tags, base.fields.get("etag"), weakly=True)
                        if meant and self._same(base, came) and accepted(base.updated(came), ""):
                            self.validated += 1
                            return
            failed = silent or bool(self.failed) or any(not came.whole for came in self.came)
            answered = any(came.status in FAILURES for came in self.came)
            if failed or answered:
                for known in stored:
                    why = known.why_not_instead_of_failure(asked, now, answered=not failed)
                    if accepted(known, why):
                        self.stale += 1
                        return
        for came in self.came:
            if self._first_hand(came, ask, asked, reply):
                return
            reasons.append(f"{came.serial}: not as it came")
        if self._own(asked, reply):
            return
        raise Violation(
            f"{ask.method} {ask.target} {asked} at {began - _EPOCH:.0f}: answered {reply.status} {reply.body!r} {reply.fields}, "
            f"which nothing allows:\n" + "\n".join(reasons)
        )

    @staticmethod
    def _own(asked: Fields, reply: Reply) -> bool:
        """No response of the origin at all: 504 for only-if-cached (§5.2.1.7), 502 or 504 for its failure."""
        return reply.status in (502, 503, 504) and reply.get("x-serial") is None

    def _first_hand(self, came: Known, ask: Ask, asked: Fields, reply: Reply) -> bool:
        """As it came from the origin, with the client's conditions held against it."""
        if reply.get("x-serial") != str(came.serial) and reply.status not in (412, 416):
            return False
        if reply.status == came.status:
            if ask.method == "HEAD" or came.status in (204, 304, 412, 416):
                return reply.body == b""
            if not came.whole:
                return reply.body == came.content[came.sent[0] :][:1] + b"<cut>"
            return reply.body == came.content[came.sent[0] : came.sent[1]]
        if reply.status in (304, 412) and 200 <= came.status < 300:
            return model.condition(asked, came.fields, ask.method) == reply.status
        return reply.status in (206, 416, 200) and came.status in (200, 206) and not self._of(came, ask, asked, reply)

    def _differs(self, known: Known, ask: Ask, asked: Fields, reply: Reply, began: float, now: float) -> str:
        """How the answer is not what this stored response comes to; empty: it is that, to the second."""
        if reply.get("x-serial") != str(known.serial) and reply.status not in (412, 416):
            return "another head"
        if why := self._of(known, ask, asked, reply):
            return why
        age = reply.get("age")
        allowed = {str(int(known.age(began))), str(int(known.age(now)))}
        if reply.status not in (412, 416) and age not in allowed:
            return f"§5.1: Age {age}, not {allowed}"
        if (
            "x-user" in model.named(known.control)
            and reply.get("x-user") is not None
            and known.serial not in {one.serial for one in self.came}
        ):
            return "§5.2.2.4: a field that no-cache names"
        for name in ("etag", "cache-control", "expires", "date", "vary", "last-modified"):
            if name in known.fields and reply.status in (200, 304) and reply.get(name) != known.fields[name]:
                return f"{name} is {reply.get(name)}"
        return ""

    @staticmethod
    def _of(known: Known, ask: Ask, asked: Fields, reply: Reply) -> str:
        """How status and content are not those of this response to this request; empty: they are."""
        success = 200 <= known.status < 300
        instead = model.condition(asked, known.fields, ask.method) if success else None
        if reply.status in (304, 412):
            return "" if instead == reply.status and not reply.body else f"RFC 9110 §13.2.2: {reply.status}"
        if instead is not None:
            return f"RFC 9110 §13.2.2: not {instead}"
        size = len(known.content)
        if reply.status in (206, 416):
            wanted = model.part(asked, known.fields.get("etag"), size)
            if ask.method != "GET" or wanted is None:
                return "RFC 9110 §14.2: a part that nobody asked for"
            if isinstance(wanted, str) or reply.status == 416:
                return "" if reply.status == 416 and wanted == "416" else "RFC 9110 §15.5.17"
            start, stop = wanted
            if reply.get("content-range") != f"bytes {start}-{stop - 1}/{size}":
                return f"RFC 9110 §14.4: {reply.get('content-range')}"
            return "" if reply.body == known.content[start:stop] else f"content {reply.body!r}"
        if reply.status != (200 if known.status == 206 else known.status):
            return f"status {reply.status}"
        if ask.method == "HEAD" or reply.status == 204:
            return "" if not reply.body else "RFC 9110 §9.3.2"
        return "" if reply.body == known.content else f"content {reply.body!r}"
