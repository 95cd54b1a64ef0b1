"""The whole path in a test: `async with WebStack(app) as web: r = await web.get("/")`. docs/testing.md is the guide."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from stack.testing.asserts import assert_cached as assert_cached
    from stack.testing.asserts import assert_miss as assert_miss
    from stack.testing.asserts import assert_no_leak as assert_no_leak
    from stack.testing.asserts import assert_served_by as assert_served_by
    from stack.testing.calls import Late as Late
    from stack.testing.client import Client as Client
    from stack.testing.client import NoResponse as NoResponse
    from stack.testing.lookup import NoSuchHost as NoSuchHost
    from stack.testing.response import Response as Response
    from stack.testing.sync import SyncWebStack as SyncWebStack
    from stack.testing.webstack import WebStack as WebStack

_WHERE: Final = {
    "Client": "client", "Late": "calls", "NoResponse": "client", "NoSuchHost": "lookup", "Response": "response",
    "SyncWebStack": "sync", "WebStack": "webstack", "assert_cached": "asserts", "assert_miss": "asserts",
    "assert_no_leak": "asserts", "assert_served_by": "asserts",
}  # fmt: skip


def __getattr__(name: str) -> Any:
    # the pytest plugin is in this package, and every test run loads it: the hops are imported when they are wanted
    if name in _WHERE:
        return getattr(importlib.import_module(f"stack.testing.{_WHERE[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(_WHERE)
