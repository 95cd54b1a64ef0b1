"""FastAPI: nothing is configured for what stands before it."""

import asyncio
from typing import Annotated

from fastapi import FastAPI, Form, Request, WebSocket, WebSocketDisconnect
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, StreamingResponse

app = FastAPI()


@app.api_route("/", methods=["GET", "HEAD"], response_class=HTMLResponse)
async def front():
    return "<h1>hello from fastapi</h1>"


@app.get("/where")
async def where(request: Request):
    return {
        "url": str(request.url),
        "external": str(request.url_for("where")),
        "secure": request.url.scheme == "https",
        "client": request.client.host,
    }


@app.post("/form")
async def form(request: Request, name: Annotated[str, Form()]):
    response = JSONResponse({"name": name, "cookies": request.cookies})
    response.set_cookie("visited", "yes")
    return response


@app.get("/old")
async def old(request: Request):
    return RedirectResponse(request.url_for("where"), status_code=302)


@app.get("/stream")
async def stream():
    async def lines():
        for number in range(4):
            yield f"line {number}\n"
            await asyncio.sleep(0.2)

    return StreamingResponse(lines(), media_type="text/plain")


@app.post("/upload")
async def upload(request: Request):
    size = 0
    async for piece in request.stream():
        size += len(piece)
    return {"size": size}


@app.get("/boom")
async def boom():
    raise RuntimeError("the database password is hunter2")


@app.websocket("/chat")
async def chat(socket: WebSocket):
    await socket.accept(subprotocol="chat")
    await socket.send_text(f"{socket.url.scheme} {socket.client.host}")
    try:
        while True:
            await socket.send_text(await socket.receive_text())
    except WebSocketDisconnect:
        pass
