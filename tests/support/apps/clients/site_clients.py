"""An ASGI app with what real clients try: echoes, ranges, a page of many parts, forms, streams, events."""

from __future__ import annotations

import asyncio
import hashlib
import json
from typing import Any

FILE = hashlib.shake_256(b"file").digest(1_000_000)
PARTS = 60
REPORTS: list[Any] = []

PAGE = (
    "<!doctype html><title>page</title><body>"
    + "".join(f'<script src="/part/{number}.js" async></script>' for number in range(PARTS))
    + """<script>
const post = (data) => fetch("/report", {method: "POST", body: JSON.stringify(data)});
addEventListener("load", async () => {
  const said = {};
  try {
    said.parts = Object.keys(window.parts || {}).length;
    const entries = performance.getEntriesByType("resource").filter((entry) => entry.name.includes("/part/"));
    said.protocols = [...new Set(entries.map((entry) => entry.nextHopProtocol))];
    const form = await fetch("/echo", {method: "POST", body: new URLSearchParams({name: "Ada", text: "a b&c"})});
    said.form = await form.json();
    const range = await fetch("/file", {headers: {Range: "bytes=1000-1999"}});
    said.range = [range.status, range.headers.get("content-range"), (await range.arrayBuffer()).byteLength];
    const stream = (await fetch("/stream")).body.getReader();
    said.pieces = 0;
    said.streamed = 0;
    for (let part; !(part = await stream.read()).done; ) { said.pieces += 1; said.streamed += part.value.length; }
    said.events = await new Promise((resolve) => {
      const seen = [], source = new EventSource("/events");
      source.onmessage = (event) => { seen.push(event.data); if (seen.length == 3) { source.close(); resolve(seen); } };
    });
  } catch (error) { said.error = String(error); }
  await post(said);
});
</script>"""
).encode()


async def content(receive: Any) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ConnectionError
        body += message["body"]
        more = message["more_body"]
    return body


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    path = scope["path"]

    async def answer(body: bytes, *fields: tuple[bytes, bytes], status: int = 200) -> None:
        head = [(b"content-length", b"%d" % len(body)), *fields]
        await send({"type": "http.response.start", "status": status, "headers": head})
        await send({"type": "http.response.body", "body": body})

    async def begin(kind: bytes) -> None:
        head = [(b"content-type", kind), (b"cache-control", b"no-store")]
        await send({"type": "http.response.start", "status": 200, "headers": head})

    if path == "/echo":
        body = await content(receive)
        said = {
            "method": scope["method"],
            "length": len(body),
            "digest": hashlib.sha256(body).hexdigest(),
            "text": body[:200].decode("latin-1"),
            "fields": {name.decode(): value.decode("latin-1") for name, value in scope["headers"]},
            "query": scope["query_string"].decode(),
        }
        await answer(json.dumps(said).encode(), (b"content-type", b"application/json"), (b"cache-control", b"no-store"))
    elif path == "/refuse":
        await answer(b"no", (b"cache-control", b"no-store"), status=403)
    elif path == "/file":
        await answer(
            FILE,
            (b"cache-control", b"max-age=60"),
            (b"etag", b'"file"'),
            (b"content-type", b"application/octet-stream"),
        )
    elif path == "/text":
        await answer(b"hello world, " * 1000, (b"cache-control", b"max-age=60"), (b"content-type", b"text/plain"))
    elif path == "/page":
        await answer(PAGE, (b"content-type", b"text/html"), (b"cache-control", b"no-store"))
    elif path.startswith("/part/"):
        number = path.removeprefix("/part/").removesuffix(".js")
        script = f"(window.parts = window.parts || {{}})[{number}] = 1;".encode()
        await answer(script, (b"content-type", b"text/javascript"), (b"cache-control", b"max-age=60"))
    elif path == "/stream":
        await begin(b"application/octet-stream")
        for _ in range(5):
            await send({"type": "http.response.body", "body": bytes(10_000), "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b""})
    elif path == "/events":
        await begin(b"text/event-stream")
        for number in range(100):
            await send({"type": "http.response.body", "body": b"data: %d\n\n" % number, "more_body": True})
            await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b""})
    elif path == "/report":
        REPORTS.append(json.loads(await content(receive)))
        await answer(b"", status=204)
    elif path == "/reports":
        await answer(json.dumps(REPORTS).encode(), (b"cache-control", b"no-store"))
    else:
        await answer(b"here", (b"content-type", b"text/plain"), (b"cache-control", b"no-store"))
