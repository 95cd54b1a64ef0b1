"""Reason phrases: those of RFC 9110 §15 and of IANA's registry. Python before 3.13 has older names."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final

_RENAMED: Final = {
    413: "Content Too Large",
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}
PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | _RENAMED


def phrase(status: int) -> str:
    """Empty for a status that is not registered."""
    return PHRASES.get(status, "")
