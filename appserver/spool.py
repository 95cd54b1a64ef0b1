"""A request's content, taken whole before the app begins: a slow client then holds no thread."""

from __future__ import annotations

import io
import tempfile
from typing import IO

from stack.errors import ContentTooLarge, HopError
from stack.http.message import BodyStream


async def spooled(body: BodyStream, *, memory: int, most: int) -> tuple[IO[bytes], int]:
    """The content as a file that stands at its beginning, and its size. Who gets it closes it.

    Up to `memory` bytes are kept there, up to `most` in a temporary file without a name; more is ContentTooLarge.
    Raises what reading raises (RequestTimeout, ClientGone), and HopError 507 where the file cannot be written.
    """
    file: IO[bytes] = io.BytesIO()
    size = 0
    try:
        async for piece in body:
            size += len(piece)
            if size > most:
                raise ContentTooLarge(f"At most {most} bytes of content are kept for the app.")
            if size > memory and isinstance(file, io.BytesIO):
                file = _moved(file)
            file.write(piece)
        file.seek(0)
    except OSError as error:
        file.close()
        raise HopError("The content cannot be kept.", status=507, private=f"temporary file: {error}") from None
    except BaseException:
        file.close()
        raise
    finally:
        await body.aclose()
    return file, size


def _moved(memory: io.BytesIO) -> IO[bytes]:
    file = tempfile.TemporaryFile()  # noqa: SIM115 - its reader closes it
    try:
        file.write(memory.getvalue())
    except OSError:
        file.close()
        raise
    return file
