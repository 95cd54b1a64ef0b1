"""A zone's file with further records is written elsewhere: what it includes is found nevertheless."""

from __future__ import annotations

from pathlib import Path

import pytest

from stack.plan.zones import _included_from


@pytest.mark.parametrize(
    ("line", "wanted"),
    [
        ("$INCLUDE more\n", "$INCLUDE /z/more\n"),
        ("$include\tsub/more sub.z.test. ; all\n", "$include\t/z/sub/more sub.z.test. ; all\n"),
        ('$INCLUDE "more"\n', '$INCLUDE "/z/more"\n'),
        ("$INCLUDE /etc/more\n", "$INCLUDE /etc/more\n"),
        ("a TXT \"$INCLUDE more\"\n", "a TXT \"$INCLUDE more\"\n"),
        ("; $INCLUDE more\n", "; $INCLUDE more\n"),
    ],
)  # fmt: skip
def test_what_a_zone_includes(line: str, wanted: str) -> None:
    assert _included_from(Path("/z"), "a A 192.0.2.1\n" + line) == "a A 192.0.2.1\n" + wanted
