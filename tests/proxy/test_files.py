"""Nothing outside the root is ever opened, and a file that changes while it is sent is seen to have changed."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from proxy.files import CHUNK, File, FileBody, open_beneath
from stack.errors import HopError, ResponseIncomplete


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "root"
    (root / "img").mkdir(parents=True)
    (root / "a.txt").write_text("hello")
    (root / "img" / "b.txt").write_text("below")
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "c.txt").write_text("secret too")
    return root


def read(root: Path, *names: str) -> bytes | None:
    file = open_beneath(str(root), names)
    if file is None:
        return None
    try:
        return file.read(0, file.size)
    finally:
        file.close()


def test_regular_files_are_opened(root: Path) -> None:
    assert read(root, "a.txt") == b"hello"
    assert read(root, "img", "b.txt") == b"below"


@pytest.mark.parametrize(
    "names",
    [("b.txt",), ("img",), ("a.txt", "b"), ("nowhere", "a.txt"), ("x" * 300,), ()],
    ids=lambda names: "/".join(names)[:20],
)
def test_what_is_no_file_is_not_there(root: Path, names: tuple[str, ...]) -> None:
    assert open_beneath(str(root), names) is None


@pytest.mark.parametrize("target", ["../secret.txt", "a.txt", "/etc/passwd", "nowhere"])
def test_a_symbolic_link_is_not_followed(root: Path, target: str) -> None:
    (root / "link.txt").symlink_to(target)
    assert open_beneath(str(root), ("link.txt",)) is None


def test_a_linked_directory_is_not_followed(root: Path) -> None:
    (root / "linked").symlink_to("../other")
    (root / "inner").symlink_to("img")
    assert open_beneath(str(root), ("linked", "c.txt")) is None
    assert open_beneath(str(root), ("inner", "b.txt")) is None


def test_the_root_itself_may_be_a_link(root: Path, tmp_path: Path) -> None:
    current = tmp_path / "current"
    current.symlink_to("root")
    assert read(current, "a.txt") == b"hello"
    current.unlink()
    current.symlink_to("other")  # the next release, without a restart
    assert read(current, "a.txt") is None
    assert read(current, "c.txt") == b"secret too"


def test_a_pipe_is_no_file_and_holds_nobody_up(root: Path) -> None:
    os.mkfifo(root / "pipe")
    assert open_beneath(str(root), ("pipe",)) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file_is_not_there(root: Path) -> None:
    (root / "a.txt").chmod(0)
    assert open_beneath(str(root), ("a.txt",)) is None


def test_swapping_a_directory_for_a_link_never_leads_out(root: Path) -> None:
    """The race that checking a name before opening it loses."""
    (root / "img" / "c.txt").write_text("inside")
    stop = threading.Event()

    def swap() -> None:
        while not stop.is_set():
            os.rename(root / "img", root / "aside")
            os.symlink("../other", root / "img")
            os.unlink(root / "img")
            os.rename(root / "aside", root / "img")

    swapper = threading.Thread(target=swap)
    swapper.start()
    try:
        seen = {read(root, "img", "c.txt") for _ in range(3000)}
        for _ in range(100_000):  # the threads may have run one after the other
            if b"inside" in seen:
                break
            seen.add(read(root, "img", "c.txt"))
    finally:
        stop.set()
        swapper.join()
    assert seen <= {None, b"inside"}
    assert b"inside" in seen


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/fd"), reason="counts descriptors in /proc")


@needs_proc
def test_no_descriptor_stays_open(root: Path) -> None:
    (root / "link").symlink_to("img")
    before = descriptors()
    for names in (("a.txt",), ("img", "b.txt"), ("img", "nowhere"), ("img",), ("link", "b.txt"), ("nowhere",)):
        for _ in range(5):
            read(root, *names)
    assert descriptors() == before


def test_no_descriptors_left_is_no_404(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("os.open", full)
    with pytest.raises(HopError) as caught:
        open_beneath(str(root), ("a.txt",))
    assert caught.value.status == 503
    assert "a.txt" not in caught.value.detail


def opened(root: Path, name: str) -> File:
    file = open_beneath(str(root), (name,))
    assert file is not None
    return file


async def test_a_body_is_the_part_that_was_asked_for(root: Path) -> None:
    content = os.urandom(3 * CHUNK + 17)
    (root / "big").write_bytes(content)
    file = opened(root, "big")
    chunks = [chunk async for chunk in FileBody(file, (5, len(content) - 5))]
    assert b"".join(chunks) == content[5:-5]
    assert max(map(len, chunks)) <= CHUNK
    assert file.closed


async def test_a_body_may_have_parts_of_its_own(root: Path) -> None:
    parts = (b"<", (0, 2), b"|", (3, 5), b">")
    assert b"".join([chunk async for chunk in FileBody(opened(root, "a.txt"), *parts)]) == b"<he|lo>"
    file = opened(root, "a.txt")
    assert FileBody(file, *parts).whole() == b"<he|lo>"
    assert file.closed


async def test_closing_a_body_closes_the_file(root: Path) -> None:
    (root / "big").write_bytes(bytes(3 * CHUNK))
    for reads in (0, 1):
        file = opened(root, "big")
        body = FileBody(file, (0, file.size))
        for _ in range(reads):
            await body.__anext__()
        await body.aclose()
        assert file.closed
        with pytest.raises(StopAsyncIteration):
            await body.__anext__()


async def test_a_file_cut_short_while_it_is_sent_raises(root: Path) -> None:
    (root / "big").write_bytes(bytes(3 * CHUNK))
    file = opened(root, "big")
    body = FileBody(file, (0, file.size))
    await body.__anext__()
    os.truncate(root / "big", CHUNK + 10)
    with pytest.raises(ResponseIncomplete):
        async for _ in body:
            pass
    await body.aclose()
    assert file.closed


async def test_a_file_that_grows_is_sent_as_it_was_announced(root: Path) -> None:
    (root / "big").write_bytes(bytes(2 * CHUNK))
    file = opened(root, "big")
    with (root / "big").open("ab") as more:
        more.write(b"x" * CHUNK)
    assert sum([len(chunk) async for chunk in FileBody(file, (0, file.size))]) == 2 * CHUNK


async def test_a_replaced_file_is_sent_whole_as_it_was(root: Path) -> None:
    (root / "big").write_bytes(b"a" * 2 * CHUNK)
    file = opened(root, "big")
    (root / "new").write_bytes(b"b" * 2 * CHUNK)
    os.replace(root / "new", root / "big")
    assert b"".join([chunk async for chunk in FileBody(file, (0, file.size))]) == b"a" * 2 * CHUNK
