"""Flask: nothing is configured for what stands before it, no ProxyFix either."""

import time

from flask import Flask, jsonify, redirect, request, url_for


def create_app():
    app = Flask(__name__)

    @app.get("/")
    def front():
        return "<h1>hello from flask</h1>"

    @app.get("/where")
    def where():
        return jsonify(
            url=request.url,
            external=url_for("where", _external=True),
            secure=request.is_secure,
            client=request.remote_addr,
        )

    @app.post("/form")
    def form():
        response = jsonify(name=request.form["name"], cookies=dict(request.cookies))
        response.set_cookie("visited", "yes")
        return response

    @app.get("/old")
    def old():
        return redirect(url_for("where", _external=True))

    @app.get("/stream")
    def stream():
        def lines():
            for number in range(4):
                yield f"line {number}\n"
                time.sleep(0.2)

        return app.response_class(lines(), mimetype="text/plain")

    @app.post("/upload")
    def upload():
        size = 0
        while piece := request.stream.read(65536):
            size += len(piece)
        return jsonify(size=size)

    @app.get("/boom")
    def boom():
        raise RuntimeError("the database password is hunter2")

    return app
