"""aiohttp: nothing is configured for what stands before it."""

import asyncio

from aiohttp import web

routes = web.RouteTableDef()


@routes.get("/")
async def front(request):
    return web.Response(text="<h1>hello from aiohttp</h1>", content_type="text/html")


@routes.get("/where", name="where")
async def where(request):
    return web.json_response(
        {
            "url": str(request.url),
            "external": str(request.url.join(request.app.router["where"].url_for())),
            "secure": request.secure,
            "client": request.remote,
        }
    )


@routes.post("/form")
async def form(request):
    data = await request.post()
    response = web.json_response({"name": data["name"], "cookies": dict(request.cookies)})
    response.set_cookie("visited", "yes")
    return response


@routes.get("/old")
async def old(request):
    raise web.HTTPFound(request.url.join(request.app.router["where"].url_for()))


@routes.get("/chat")
async def chat(request):
    socket = web.WebSocketResponse(protocols=["chat"])
    await socket.prepare(request)
    await socket.send_str(f"{'wss' if request.secure else 'ws'} {request.remote}")
    async for message in socket:
        await socket.send_str(message.data)
    return socket


@routes.get("/stream")
async def stream(request):
    response = web.StreamResponse(headers={"Content-Type": "text/plain"})
    await response.prepare(request)
    for number in range(4):
        await response.write(f"line {number}\n".encode())
        await asyncio.sleep(0.2)
    return response


@routes.post("/upload")
async def upload(request):
    size = 0
    async for piece in request.content.iter_any():
        size += len(piece)
    return web.json_response({"size": size})


@routes.get("/boom")
async def boom(request):
    raise RuntimeError("the database password is hunter2")


def create_app():
    app = web.Application()
    app.add_routes(routes)
    return app
