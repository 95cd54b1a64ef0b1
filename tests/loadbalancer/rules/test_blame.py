from __future__ import annotations

import pytest

from loadbalancer.rules.blame import Blame, blame, word
from stack import errors
from stack.errors import HopError
from stack.path import STEPS

ROWS = [
    # error, blame, blame while the client's content streams, word
    (errors.ConnectRefused(), Blame.DEAD, Blame.DEAD, "refused"),
    (errors.DnsFailed(), Blame.DEAD, Blame.DEAD, "failed"),
    (errors.TlsFailed(), Blame.DEAD, Blame.DEAD, "failed"),
    (errors.CertificateRefused(), Blame.DEAD, Blame.DEAD, "failed"),
    (errors.ConnectTimeout(), Blame.SUSPECT, Blame.SUSPECT, "timeout"),
    (errors.ClosedEarly(), Blame.SUSPECT, Blame.NONE, "failed"),
    (errors.ResponseTimeout(), Blame.SUSPECT, Blame.NONE, "timeout"),
    (errors.ResponseIncomplete(), Blame.SUSPECT, Blame.NONE, "failed"),
    (errors.ResponseMalformed(), Blame.SUSPECT, Blame.NONE, "failed"),
    (errors.Refused(), Blame.NONE, Blame.NONE, "failed"),
    (errors.PoolExhausted(), Blame.NONE, Blame.NONE, "failed"),
    (errors.RequestTimeout(), Blame.NONE, Blame.NONE, "client"),
    (errors.ContentTooLarge(), Blame.NONE, Blame.NONE, "client"),
    (errors.ClientGone(), Blame.NONE, Blame.NONE, "client"),
    (errors.BadRequest(), Blame.NONE, Blame.NONE, "client"),
    (HopError(), Blame.NONE, Blame.NONE, "failed"),
]


@pytest.mark.parametrize(
    ("error", "plain", "streamed", "attempt"), ROWS, ids=lambda value: type(value).__name__ if value else ""
)
def test_blame(error: HopError, plain: Blame, streamed: Blame, attempt: str) -> None:
    assert blame(error, streamed=False) is plain
    assert blame(error, streamed=True) is streamed
    assert word(error) == attempt
    assert attempt in STEPS["loadbalancer"]["attempt"]
