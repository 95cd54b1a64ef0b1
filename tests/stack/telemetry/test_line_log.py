from __future__ import annotations

import logging
import os
import select
from pathlib import Path

import pytest

from stack.clock import VirtualClock
from stack.errors import ConfigError
from stack.telemetry.line_log import BATCH, PENDING, LineLog


class Pipe:
    """Takes the place of standard output, with a reader that reads when told."""

    def __init__(self, log: LineLog) -> None:
        self.reader, self.writer = os.pipe()
        log._fd, log._whole = self.writer, False

    def read(self) -> bytes:
        data = b""
        while select.select([self.reader], [], [], 0)[0]:
            data += os.read(self.reader, 1 << 20)
        return data

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@pytest.fixture
def clock() -> VirtualClock:
    return VirtualClock()


def test_a_batch_is_written_without_waiting(clock: VirtualClock, tmp_path: Path) -> None:
    log = LineLog(str(tmp_path / "log"), clock)
    for n in range(BATCH):
        log.add(f"{n}\n")
    assert (tmp_path / "log").read_text().splitlines() == [str(n) for n in range(BATCH)]
    assert log.written == BATCH
    log.close()


def test_a_reader_that_does_not_read_holds_up_nobody_and_costs_bounded_memory(clock: VirtualClock) -> None:
    log = LineLog("-", clock)
    pipe = Pipe(log)
    line = "x" * 999 + "\n"
    for _ in range(4 * PENDING // 1000):
        log.add(line)
        log.flush()
    assert log._pending_size <= PENDING
    assert log.dropped > 0
    log.close()  # gives up in its time
    kept = pipe.read()
    assert set(kept.split(b"\n")) == {b"x" * 999, b""}, "lines are whole"
    pipe.close()


async def test_a_reader_that_reads_again_gets_what_was_kept(clock: VirtualClock) -> None:
    log = LineLog("-", clock)
    pipe = Pipe(log)
    lines = [f"{n:099d}\n" for n in range(2000)]  # 200 KB: more than a pipe holds
    for line in lines:
        log.add(line)
    got = b""
    for _ in range(20):
        got += pipe.read()
        await clock.advance(0.1)
    assert got.decode() == "".join(lines)
    assert log.dropped == 0
    log.close()
    pipe.close()


def test_writers_that_share_a_pipe_do_not_cut_each_others_lines(clock: VirtualClock) -> None:
    """POSIX: a write up to PIPE_BUF is atomic, so every write ends with a line."""
    log = LineLog("-", clock)
    pipe = Pipe(log)
    writes: list[bytes] = []
    real = os.write

    def spy(fd: int, data: bytes) -> int:
        writes.append(data)
        return real(fd, data)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "write", spy)
        for n in range(BATCH):
            log.add(f"{n:0300d}\n")
        log.flush()
    assert len(writes) > 1
    assert all(data.endswith(b"\n") and len(data) <= select.PIPE_BUF for data in writes)
    log.close()
    pipe.close()


def test_a_reader_that_is_gone_is_said_once(clock: VirtualClock, caplog: pytest.LogCaptureFixture) -> None:
    log = LineLog("-", clock)
    reader, writer = os.pipe()
    os.close(reader)
    log._fd, log._whole = writer, False
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            log.add("x\n")
            log.flush()
    assert log.dropped == 3
    assert [record.message for record in caplog.records] == [
        "the access log - cannot be written: Broken pipe; its lines are dropped"
    ]
    os.close(writer)
    log._fd = -1


def test_after_a_rename_reopening_writes_to_the_new_file(clock: VirtualClock, tmp_path: Path) -> None:
    path = tmp_path / "log"
    log = LineLog(str(path), clock)
    log.add("one\n")
    path.rename(tmp_path / "log.1")
    log.reopen()
    log.add("two\n")
    log.close()
    assert (tmp_path / "log.1").read_text() == "one\n"
    assert path.read_text() == "two\n"


def test_a_file_that_cannot_be_reopened_leaves_the_old_one(
    clock: VirtualClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "logs"
    log = LineLog(str(folder / "log"), clock)
    folder.rename(tmp_path / "old")
    folder.write_text("in the way")
    log.reopen()
    log.add("still\n")
    log.close()
    assert (tmp_path / "old" / "log").read_text() == "still\n"
    assert "writing on to the old file" in caplog.text


def test_lines_are_appended_to_what_is_there(clock: VirtualClock, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    log = LineLog(str(tmp_path / "log"), clock)
    log.add("after\n")
    log.close()
    assert (tmp_path / "log").read_text() == "before\nafter\n"


def test_a_file_that_cannot_be_opened(clock: VirtualClock, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--access-log .*: Is a directory; give a file that can be written"):
        LineLog(str(tmp_path), clock)


def test_what_a_full_disk_does_not_take_is_dropped_and_not_written(clock: VirtualClock) -> None:
    log = LineLog("/dev/full", clock)
    for _ in range(3):
        log.add("x\n")
    log.flush()
    assert (log.written, log.dropped) == (0, 3)
    log.close()


@pytest.mark.parametrize("whole", [True, False], ids=["file", "pipe"])
def test_many_lines_in_one_text_are_lines(clock: VirtualClock, tmp_path: Path, whole: bool) -> None:
    """Counted as lines; a batch of them is written at once; a pipe gets whole ones in each portion."""
    log = LineLog(str(tmp_path / "log") if whole else "-", clock)
    pipe = Pipe(log) if not whole else None
    text = "".join(f"{number:03d} \u2028 {'x' * 60}\n" for number in range(40))
    for _ in range(4):
        log.add("one\n")
        log.add_many(text, 40)
    written = pipe.read() if pipe is not None else (tmp_path / "log").read_bytes()
    assert written.count(b"\n") >= BATCH
    log.flush()
    written += pipe.read() if pipe is not None else (tmp_path / "log").read_bytes()[len(written) :]
    assert written.decode() == ("one\n" + text) * 4
    assert (log.written, log.dropped) == (164, 0)
    log.close()
    if pipe is not None:
        pipe.close()
