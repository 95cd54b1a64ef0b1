"""A directory of the edge's disk tier with many objects in it, made without an edge."""

from __future__ import annotations

import time
from pathlib import Path

from cdn_edge.config import Config
from cdn_edge.disk import fingerprint
from cdn_edge.disk_record import Times
from cdn_edge.disk_shelf import Shelf
from cdn_edge.profiles import profiled
from cdn_edge.rules.reuse import Terms
from cdn_edge.stored import whole
from stack.http.dates import http_date

_AT_ONCE = 2000


def fill(directory: Path, count: int, *, host: str, config: Config | None = None) -> None:
    """`http://HOST/0` and so on, each with its number for content, fresh for an hour."""
    now = time.time()
    shelf = Shelf(directory, fingerprint(profiled(config or Config()).cache))
    shelf.open()
    times = Times(0.0)
    for start in range(0, count, _AT_ONCE):
        batch = []
        for number in range(start, min(start + _AT_ONCE, count)):
            body = b"%d" % number
            fields = [
                (b"content-type", b"text/plain"),
                (b"cache-control", b"max-age=3600"),
                (b"etag", b'"%x"' % number),
                (b"date", http_date(now)),
                (b"content-length", b"%d" % len(body)),
            ]
            key = b"http://%b/%d" % (host.encode(), number)
            batch.append(
                whole(key, (), (), status=200, fields=fields, body=body, terms=Terms(3600.0), date=now, born=now)
            )
        shelf.write(batch, times, now)
    shelf.close()
