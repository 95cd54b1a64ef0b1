"""The words of the edge's cache: what each means, and what makes it a hit. The one table; a new word needs a line here.

`stack.path.STEPS` takes the words from here, `hopstack trace` and `hopstack explain` their meaning, and `make docs`
writes docs/why-not-cached.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Word:
    means: str
    """In half a sentence."""
    remedy: str = ""
    """What would have made it a hit: sentences for the author of the app. Empty where nothing is amiss."""
    write: tuple[str, ...] = ()
    """Header lines that the origin sends for it."""
    clause: str = ""
    """Where the standards say so."""


DISK: Final[Mapping[str, Word]] = {
    "read": Word(
        "it was not in memory, and came back from disk: `detail=disk` in Cache-Status where that made it a hit"
    ),
    "none": Word(
        "something is on disk under this URL, but for other request fields, or it became invalid just now",
        "As with `vary-miss`: let Vary name few fields with few values.",
        clause="RFC 9111 §4.1",
    ),
    "gone": Word(
        "its file is not there any more",
        "Nothing: it is fetched anew. Let nothing but the edge remove files in --cache-disk.",
    ),
    "torn": Word(
        "what is on disk is not what was written",
        "Nothing: it is thrown away and fetched anew. After a power failure it may happen, else look at the disk.",
    ),
    "busy": Word(
        "too many requests wait for the disk, or what is there under this URL is being taken out",
        "The disk is slower than what is asked of it. A larger --cache-size asks less of it.",
    ),
    "slow": Word("the disk did not answer in two seconds", "Look at the disk; the origin was asked instead."),
    "failed": Word("the disk could not be read", "The log has the reason; the origin was asked instead."),
}
"""What looking for it on disk came to, where there is one (`--cache-disk`), it is not in memory, and may be there."""

LOOKUP: Final[Mapping[str, Word]] = {
    "hit": Word("it is stored and fresh", clause="RFC 9111 §4"),
    "stale-while-revalidate": Word(
        "it is past its freshness, and is being refreshed now (stale-while-revalidate)",
        "Nobody waited: the next request gets the new one. A longer max-age makes this rarer.",
        clause="RFC 5861 §3",
    ),
    "max-stale": Word("it is past its freshness, and the request takes it so (max-stale)", clause="RFC 9111 §5.2.1.2"),
    "stale": Word(
        "what is stored is no longer fresh",
        "Let it be fresh for longer, or let it be served while it is refreshed. With an ETag, asking again costs the "
        "origin a 304 and no content. `no-cache` means this on every request: leave it out if it is not meant.",
        ("Cache-Control: max-age=600, stale-while-revalidate=60", 'ETag: "v1"'),
        "RFC 9111 §4.2, §4.3",
    ),
    "uri-miss": Word(
        "nothing was stored under this URL",
        "The first request of a URL is always one. If it stays so, the response is not stored: the word of the step "
        "`store` says why. Every query parameter makes a URL of its own, those of advertisements too: where one means "
        "nothing, the response says so in No-Vary-Search, or the edge by --cache-key-ignore-query.",
        clause="RFC 9211 §2.2",
    ),
    "vary-miss": Word(
        "what is stored under this URL is for other request fields",
        "The response's Vary names a field whose value differs from client to client. Name only fields that the "
        "response really depends on, with few values: Accept-Encoding is one, User-Agent and Cookie are not.",
        ("Vary: Accept-Encoding",),
        "RFC 9111 §4.1",
    ),
    "request": Word(
        "the request wants it newer than what is stored",
        "The client sent Cache-Control: no-cache, max-age=0 or min-fresh (a browser's reload, developer tools with "
        '"Disable cache"), or If-Match. Ask without it.',
        clause="RFC 9111 §5.2.1",
    ),
    "partial": Word(
        "a part of what it asks for is stored, and the rest comes from the origin",
        "Once all of it has been asked for, all of it is stored. If it stays so, what is stored of it leaves for want "
        "of room: a larger --cache-size.",
        clause="RFC 9111 §3.4, RFC 9211 §2.2",
    ),
    "method": Word(
        "a request of this method is always passed on",
        "Only GET and HEAD are answered from a cache. What only reads should be a GET.",
        clause="RFC 9111 §2",
    ),
    "bypass": Word(
        "this cache does not look at requests like this one",
        "A GET with content, or one that opens a tunnel: put what the answer depends on into the URL.",
        clause="RFC 9110 §9.3.1",
    ),
    "only-if-cached": Word(
        "the request takes only what is stored (only-if-cached), and nothing is",
        "The client asked for this 504: without only-if-cached the origin is asked.",
        clause="RFC 9111 §5.2.1.7",
    ),
}
"""What looking into the store came to."""

FETCH: Final[Mapping[str, Word]] = {
    "fetched": Word("the origin answered"),
    "revalidated": Word(
        "the origin said that what is stored still holds (304)",
        "No content was sent, but the client waited for the origin. A longer lifetime saves the question too.",
        ("Cache-Control: max-age=600",),
        "RFC 9111 §4.3",
    ),
    "stale-if-error": Word(
        "the origin failed, so what is stored answers though stale (stale-if-error)",
        "Mend the origin.",
        clause="RFC 5861 §4",
    ),
    "stale-if-unreachable": Word(
        "the origin cannot be reached, so what is stored answers though stale",
        "Mend the origin. How long this goes on is --cache-stale-if-unreachable, or the response's stale-if-error.",
        clause="RFC 9111 §4.2.4",
    ),
    "failed": Word(
        "the origin failed, and nothing stored may answer for it",
        "What is stored could answer while the origin is down, if it may be served stale: it says no-cache, "
        "must-revalidate or s-maxage, or it is stale for too long.",
        ("Cache-Control: max-age=600, stale-if-error=86400",),
        "RFC 5861 §4",
    ),
}
"""What asking the origin came to."""

_PUBLIC: Final = ("Cache-Control: public, max-age=600",)
STORE: Final[Mapping[str, Word]] = {
    "stored": Word("it is kept", clause="RFC 9111 §3"),
    "crowded": Word(
        "it is kept in place of another one: the URL has as many variants as it may have",
        "The response varies by a field of which there are many values, as User-Agent or Cookie. Name what it really "
        "depends on, with few values; or let the edge tell responses apart by one cookie (--cache-key-cookies). How "
        "many there may be is --cache-vary-most.",
        ("Vary: Accept-Encoding",),
        "RFC 9111 §4.1",
    ),
    "stripped": Word(
        "it is kept, and nobody gets the cookies that it sets",
        "This edge runs with --cache-set-cookie strip. What must set a cookie has to say `private` or `no-store`.",
        ("Cache-Control: private",),
        "RFC 9111 §7.3",
    ),
    "method": Word(
        "the response to this method is not kept",
        "Only what answers a GET is kept, and what answers a POST with its own URL as Content-Location and a lifetime.",
        clause="RFC 9111 §3",
    ),
    "content": Word(
        "the request has content",
        "The key is the URL: put what the answer depends on into it.",
        clause="RFC 9110 §9.3.1",
    ),
    "tunnel": Word("it opens a tunnel", clause="RFC 9110 §7.8"),
    "request-no-store": Word(
        "the request says Cache-Control: no-store",
        'The client sends it, often developer tools with "Disable cache". Ask without it.',
        clause="RFC 9111 §5.2.1.5",
    ),
    "host-spelling": Word(
        "the request writes the host in capitals or with the scheme's own port",
        "The key has it in lower case and without that port, and the origin may write what it was asked for into its "
        "answer. Ask as browsers do: Host: shop.test. What is stored answers either way.",
        clause="RFC 9110 §4.2.3",
    ),
    "range": Word(
        "it is a part, and nothing tells what of",
        "A part (206) is stored when it has one Content-Range with the complete length, and was asked for by Range "
        "without If-Range. With a strong ETag parts are put together. A request without Range fills the cache, too.",
        ("Content-Range: bytes 0-499/1234", 'ETag: "v1"'),
        "RFC 9111 §3.3, §3.4",
    ),
    "status": Word(
        "a response of this status is not kept",
        "Cacheable without more are 200, 203, 204, 300, 301, 308, 404, 405, 410, 414 and 501; others, as 302, need a "
        "lifetime of their own.",
        ("Cache-Control: max-age=60",),
        "RFC 9111 §3, RFC 9110 §15.1",
    ),
    "request-error": Word(
        "it finds fault with this request, which others do not share",
        "400, 413, 415, 429, 431 and their like are not kept, however long they say they are fresh: a field that is "
        "not in the key may have brought them about. An answer for everybody who asks for the URL is a 404 or a 410.",
        clause="RFC 6585 §5",
    ),
    "no-store": Word(
        "the response says Cache-Control: no-store",
        "Frameworks add it by themselves, to pages with a session above all. If the page is the same for "
        "everybody, say so. `no-cache` is what lets it be stored and asked about each time.",
        _PUBLIC,
        "RFC 9111 §5.2.2.5",
    ),
    "private": Word(
        "the response says Cache-Control: private",
        "It is for one user. If it is the same for everybody, say so; let what is personal come from a URL of its own.",
        _PUBLIC,
        "RFC 9111 §5.2.2.7",
    ),
    "authorization": Word(
        "the request has Authorization or a client certificate, and the response does not say public",
        "If everybody who may ask gets the same, say public (or s-maxage). Else it stays uncached, and rightly so.",
        _PUBLIC,
        "RFC 9111 §3.5",
    ),
    "set-cookie": Word(
        "the response sets a cookie, and does not say public",
        "Set cookies where they are needed (the login), not on every page; or say public (or s-maxage, or give it a "
        "lifetime in CDN-Cache-Control), if the cookie is for everybody. With --cache-set-cookie pass nothing helps.",
        ("Cache-Control: public, max-age=600",),
        "RFC 9111 §7.3",
    ),
    "vary-star": Word(
        "the response says Vary: *",
        "It matches no later request. Name the fields that the response depends on.",
        ("Vary: Accept-Encoding",),
        "RFC 9111 §4.1",
    ),
    "no-freshness": Word(
        "it says neither how long it is fresh nor how to validate it",
        "Give it a lifetime; with an ETag or Last-Modified it is worth storing even with none.",
        ("Cache-Control: max-age=600", 'ETag: "v1"'),
        "RFC 9111 §4.2",
    ),
    "cookie": Word(
        "the request has a cookie, and the response does not say for how long it is fresh",
        "A lifetime that is only guessed from Last-Modified is not trusted where the page may be the user's own. Give "
        "it a lifetime of its own.",
        ("Cache-Control: max-age=600",),
        "RFC 9111 §4.2.2",
    ),
    "too-large": Word(
        "it is larger than the cache takes",
        "With a strong ETag, Content-Length and `Accept-Ranges: bytes` it is kept in slices, however large it is. Else "
        "it is kept whole up to --cache-max-object, and an eighth of --cache-size.",
        ('ETag: "v1"', "Accept-Ranges: bytes"),
    ),
    "asked-once": Word(
        "the cache is full, and this is large and was asked for only once",
        "Much that is small would have to go for it. When it is asked for again before long, it is stored. A larger "
        "--cache-size makes room.",
    ),
    "no-room": Word(
        "too much is coming in just now",
        "Many large responses come in at once, or slow clients hold them. A larger --cache-size makes room.",
    ),
    "filling": Word("the same is being stored already", "Nothing: the next request finds it."),
    "incomplete": Word(
        "the content broke off",
        "The origin closed early, or the client left before the end. A request that is read to its end stores it.",
        clause="RFC 9111 §3.3",
    ),
    "invalidated": Word(
        "it was purged, or changed, on its way",
        "While it was fetched came a purge, a POST, PUT, PATCH or DELETE of this URL, or a later answer. The next "
        "request stores it.",
        clause="RFC 9111 §4.4",
    ),
}
"""What storing the response came to."""
