"""The one door to hpack: the static table and the Huffman code (RFC 7541, appendices A and B)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hpack.exceptions import HPACKError
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

from stack.http.message import Field

STATIC_TABLE: Final[Sequence[Field]] = HeaderTable.STATIC_TABLE
"""RFC 7541 appendix A."""


def huffman(text: bytes) -> bytes:
    """RFC 7541 §5.2. ValueError when it is not well-formed."""
    try:
        return decode_huffman(text)
    except HPACKError as error:
        raise ValueError(str(error)) from None
