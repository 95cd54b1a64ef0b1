"""An ASGI app of WebSockets and server-sent events, for the tests of what stays open."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any
from urllib.parse import parse_qs

PAGE = b"""<!doctype html><title>socket</title><script>
const said = [];
const socket = new WebSocket("wss://" + location.host + "/echo", ["chat"]);
socket.binaryType = "arraybuffer";
const report = (more) => fetch("/report", {method: "POST", body: JSON.stringify({said, ...more})});
socket.onopen = () => { socket.send("hello"); socket.send(new Uint8Array([1, 2, 3])); socket.send("x".repeat(100000)); };
socket.onmessage = (event) => {
  said.push(typeof event.data === "string" ? event.data.slice(0, 5) : event.data.byteLength);
  if (said.length === 3) socket.close(4000, "enough");
};
socket.onclose = (event) => report({code: event.code, clean: event.wasClean, protocol: socket.protocol});
socket.onerror = () => said.push("error");
</script>"""

seen: dict[str, Any] = {"reports": [], "disconnects": [], "open": 0}


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await SOCKETS[scope["path"]](scope, receive, send)
    elif scope["type"] == "http":
        await http(scope, receive, send)
    else:
        raise NotImplementedError(scope["type"])


async def http(scope: Any, receive: Any, send: Any) -> None:
    path = scope["path"]
    if path == "/events":
        await events(scope, send)
    elif path == "/report":
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message["body"]
            if not message["more_body"]:
                break
        seen["reports"].append(json.loads(body))
        await answer(send, b"{}")
    elif path == "/seen":
        await answer(send, json.dumps(seen).encode())
    elif path == "/page":
        await answer(send, PAGE, b"text/html")
    else:
        await answer(send, b"ok", b"text/plain")


async def answer(send: Any, body: bytes, kind: bytes = b"application/json") -> None:
    headers = [(b"content-type", kind), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def events(scope: Any, send: Any) -> None:
    """`count` events, one each `every` seconds, each with the Unix time at which it was sent."""
    query = parse_qs(scope["query_string"].decode())
    headers = [(b"content-type", b"text/event-stream"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    for number in range(int(query["count"][0])):
        await asyncio.sleep(float(query["every"][0]))
        event = b"id: %d\ndata: %.6f\n\n" % (number, time.time())
        await send({"type": "http.response.body", "body": event, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)})
    seen["open"] += 1
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
    seen["open"] -= 1
    seen["disconnects"].append({"code": message["code"], "at": time.time(), "path": scope["query_string"].decode()})


async def pour(scope: Any, receive: Any, send: Any) -> None:
    """10,000 messages of 10,000 bytes, as fast as they are taken."""
    await receive()
    await send({"type": "websocket.accept"})
    seen["poured"] = 0
    for _ in range(10_000):
        await send({"type": "websocket.send", "bytes": b"x" * 10_000})
        seen["poured"] += 1
    await send({"type": "websocket.close", "code": 4444, "reason": "all poured"})


async def refuse(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.close"})


SOCKETS = {"/echo": echo, "/pour": pour, "/refuse": refuse}
