from __future__ import annotations

import pytest

from stack.http.statuses import Statuses


@pytest.mark.parametrize(
    ("texts", "inside", "outside"),
    [
        pytest.param(["200-299"], [200, 204, 299], [199, 300, 404, 503], id="a class"),
        pytest.param(["200-399"], [200, 302, 399], [199, 400, 500], id="two classes"),
        pytest.param(["100-499"], [100, 200, 404, 499], [500, 502, 503, 599], id="whatever is below 500"),
        pytest.param(["200"], [200], [201, 199], id="one status"),
        pytest.param(["200", "404-405"], [200, 404, 405], [201, 403, 406], id="several"),
        pytest.param(["200-200"], [200], [201], id="a range of one"),
        pytest.param([], [], [200], id="nothing counts"),
    ],
)
def test_which_count(texts: list[str], inside: list[int], outside: list[int]) -> None:
    statuses = Statuses(texts)
    assert [status for status in inside + outside if status in statuses] == inside


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("299-200", "'299-200': no status is in it; write the lower one first, as 200-299"),
        ("2xx", "'2xx': wanted a status or a range of them, as 200 or 200-399"),
        ("600", "'600': wanted"),
        ("200-", "'200-': wanted"),
        ("-200", "'-200': wanted"),
        ("200-600", "'200-600': wanted"),
        ("200 ", "'200 ': wanted"),
        ("200\n", "'200\\n': wanted"),
        ("", "'': wanted"),
    ],
)
def test_what_is_no_range(text: str, says: str) -> None:
    with pytest.raises(ValueError) as caught:
        Statuses([text])
    assert str(caught.value).startswith(says)
