"""`hopstack init`, then `hopstack up`, in a directory with an app: nothing to edit between them."""

from __future__ import annotations

from pathlib import Path

from tests.support.stack import Stack, free_base

APP = """
async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = f"{scope['method']} {scope['scheme']} {scope['path']}".encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})
"""


def test_init_then_up(tmp_path: Path) -> None:
    project = tmp_path / "My Shop"
    (project / "src" / "shop").mkdir(parents=True)
    (project / "src" / "shop" / "__init__.py").write_text("")
    (project / "src" / "shop" / "web.py").write_text(APP)
    stack = Stack(tmp_path / "home", free_base(), cwd=project, name="my-shop.test")
    said = stack.hopstack("init")
    assert said.returncode == 0, said.stderr
    assert 'ASGI in src/shop/web.py, line 2: app = "shop.web:app"' in said.stdout
    checked = stack.hopstack("config", "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    try:
        stack.up()
        assert stack.status()["name"] == "my-shop.test"
        assert stack.curl("/hello") == "GET https /hello"
        seen = stack.hopstack("doctor")
        assert "one runs here, all 13 hops are ready" in " ".join(seen.stdout.split())
        assert seen.returncode == 0, seen.stdout
    finally:
        stack.hopstack("down")
