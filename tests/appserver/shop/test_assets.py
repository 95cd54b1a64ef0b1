"""Static files: names that tell their content."""

from __future__ import annotations

from pathlib import Path

from appserver.shop.assets import STATIC, Assets, content_hash, rename
from appserver.shop.catalog import PRODUCTS
from proxy.rules.representation import is_hashed
from tests.appserver.shop.conftest import Client


def test_every_name_holds_the_hash_of_the_content() -> None:
    files = sorted(STATIC.iterdir())
    assert len(files) == len(PRODUCTS) + 4
    for path in files:
        stem, digest, suffix = path.name.split(".")
        assert digest == content_hash(path.read_bytes()), f"{path.name}: run python -m appserver.shop.assets"
        assert is_hashed(path.name)  # as the proxy sees it, which then lets it be cached for ever
        assert stem
        assert suffix in ("css", "svg")


def test_every_product_has_a_picture() -> None:
    assets = Assets()
    for product in PRODUCTS:
        assert assets.path(f"{product.slug}.svg").startswith("/static/")


def test_files_are_renamed_after_an_edit(tmp_path: Path) -> None:
    (tmp_path / "shop.css").write_bytes(b"a {}")
    [first] = rename(tmp_path)
    assert rename(tmp_path) == []
    (tmp_path / first).write_bytes(b"b {}")
    [second] = rename(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [second]
    assert first != second
    assert Assets(tmp_path).path("shop.css") == f"/static/{second}"


def test_a_hash_has_letters_and_figures() -> None:
    for number in range(2000):
        digest = content_hash(b"%d" % number)
        assert len(digest) == 8
        assert not digest.isdigit()
        assert not digest.isalpha()


async def test_the_shop_serves_them_itself_when_asked_directly(shop: Client) -> None:
    for name, asset in Assets():
        async with shop.get(f"/static/{name}") as answer:
            assert answer.status == 200
            assert await answer.read() == asset.content
            assert answer.content_type == asset.content_type
            assert answer.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        async with shop.head(f"/static/{name}") as head:
            assert (head.status, head.headers["Content-Length"]) == (200, str(len(asset.content)))


def test_pictures_load_nothing_and_run_nothing() -> None:
    for path in STATIC.glob("*.svg"):
        text = path.read_text().replace('xmlns="http://www.w3.org/2000/svg"', "")
        for word in ("<script", "http", "href", "onload", "<style", "<foreignObject"):
            assert word not in text, path
