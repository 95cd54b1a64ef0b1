"""The pytest plugin: fixtures, a marker, and the waterfall of what failed. Light: every test run imports it."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import AsyncIterator, Generator, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from stack.testing.response import Response
    from stack.testing.sync import SyncWebStack
    from stack.testing.webstack import WebStack

INI: Final = "webstack_app"
MARKER: Final = "webstack"
MOST: Final = 3
"""Requests that are printed for one failure."""
_TEST: Final = pytest.StashKey[Any]()
"""The test's own function: an item may run more than once (pytest-rerunfailures)."""
_STACK: Final = pytest.StashKey[Any]()
"""What the fixture webstack made for the test."""
_SECTION: Final = "webstack: what the requests went through"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("webstack", "hopstack: the whole web path in a test")
    group.addoption(
        "--webstack-trace",
        choices=("failed", "all", "off"),
        default="failed",
        help="Print the waterfall and the decisions of the last requests: of failed tests (default), of all tests "
        "(passed ones show it with -rP), or never.",
    )
    group.addoption(
        "--webstack-app",
        metavar="APP",
        default=None,
        help="The app of the webstack fixtures; wins over the ini option.",
    )
    parser.addini(INI, 'The app of the webstack fixtures, as "package.module:app". Default: the demo shop.', default="")


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "webstack(app=..., replicas=3, edges=['fra', 'nrt'], **sections): how the webstack fixtures make the stack; "
        "takes what WebStack takes.",
    )


@pytest.fixture
def webstack_app(request: pytest.FixtureRequest) -> Any:
    """The app in front of which the stack is put. Override it, or set the ini option `webstack_app`."""
    return request.config.getoption("--webstack-app") or request.config.getini(INI) or None


@pytest.fixture
def webstack(request: pytest.FixtureRequest, webstack_app: Any) -> WebStack:
    """A `WebStack` that runs in the loop of the test, whoever made that: pytest-asyncio with any loop scope, anyio."""
    from stack.testing.webstack import WebStack

    if not inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        pytest.fail("the fixture webstack is for async tests; this one is not: take webstack_sync", pytrace=False)
    web = request.node.stash[_STACK] = WebStack(**_arguments(request.node, webstack_app))
    return web


@pytest.fixture
def webstack_sync(request: pytest.FixtureRequest, webstack_app: Any) -> Iterator[SyncWebStack]:
    """A `SyncWebStack`: for tests that do not await."""
    from stack.testing.sync import SyncWebStack

    with SyncWebStack(**_arguments(request.node, webstack_app)) as web:
        yield web


def _arguments(node: pytest.Item, app: Any) -> dict[str, Any]:
    """What `WebStack` is made with: markers, the nearest one last and so the strongest, over the app."""
    named: dict[str, Any] = {"app": app}
    for marker in reversed(list(node.iter_markers(MARKER))):
        if marker.args:
            named["app"] = marker.args[0]
        named |= marker.kwargs
    return named


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(
    fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest
) -> Generator[None, object, object]:
    """An async fixture that asks for the stack finds it running; then it runs until that fixture has ended."""
    func: Any = fixturedef.func
    web = request.node.stash.get(_STACK, None)
    is_generator = inspect.isasyncgenfunction(func)
    if web is None or not (is_generator or inspect.iscoroutinefunction(func)) or not _asks(fixturedef, request):
        return (yield)
    bound = func
    if inspect.ismethod(func) and type(func.__self__) is type(request.instance):
        bound = func.__func__.__get__(request.instance)  # of this test's instance, as pytest does it

    @functools.wraps(func)
    async def within(*args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        async with contextlib.AsyncExitStack() as ends:
            if not web.started:
                await ends.enter_async_context(web)
            if is_generator:
                async with contextlib.aclosing(bound(*args, **kwargs)) as values:
                    async for value in values:
                        yield value
            else:
                yield await bound(*args, **kwargs)

    fixturedef.func = within  # type: ignore[misc]
    try:
        return (yield)
    finally:
        fixturedef.func = func  # type: ignore[misc]


def _asks(fixturedef: pytest.FixtureDef[Any], request: pytest.FixtureRequest) -> bool:
    """Whether it needs the fixture webstack, itself or through others."""
    known: Any = getattr(request.node, "_fixtureinfo", None)
    found = known.name2fixturedefs if known is not None else {}
    names, seen = list(fixturedef.argnames), set[str]()
    while names:
        name = names.pop()
        if name == "webstack":
            return True
        if name not in seen:
            seen.add(name)
            names += [more for one in found.get(name, ())[-1:] for more in one.argnames]
    return False


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """The stack lives as long as the test's own coroutine: in its loop, its task and its context."""
    web: Any = getattr(item, "funcargs", {}).get("webstack") or item.stash.get(_STACK, None)
    if not _is(web, "WebStack") or web.started:
        return  # none, or one that an async fixture has started, of the user's own or one that asked for it
    test = item.stash.setdefault(_TEST, item.obj)  # type: ignore[attr-defined]
    if not inspect.iscoroutinefunction(test):
        return

    @functools.wraps(test)
    async def within(*args: Any, **kwargs: Any) -> Any:
        async with web:
            return await test(*args, **kwargs)

    item.obj = within  # type: ignore[attr-defined]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[Any]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    wanted = item.config.getoption("--webstack-trace")
    if wanted == "off" or report.when != "call" or (report.passed and wanted != "all"):
        return report
    if found := _responses(item, call.excinfo):
        report.sections.append((_SECTION, "\n\n".join(_explained(response) for response in found)))
    return report


def _responses(item: pytest.Item, error: pytest.ExceptionInfo[BaseException] | None) -> list[Response]:
    """Those that the failing test has in its variables, and else the last ones of its stacks."""
    values: list[Any] = list(getattr(item, "funcargs", {}).values())
    seen: list[Any] = []
    for entry in error.traceback if error is not None else ():
        seen += entry.frame.f_locals.values()
    found = [value for value in seen if _is(value, "Response")]
    if not found:
        stacks = [value for value in [*seen, *values] if _is(value, "WebStack", "SyncWebStack")]
        found = [response for stack in _each(stacks) for response in stack.responses]
    return list(_each(found))[-MOST:]


def _is(value: object, *names: str) -> bool:
    """By name: the classes are not imported to find out that there is none of them."""
    kind = type(value)
    return kind.__module__.startswith("stack.testing.") and kind.__name__ in names


def _each(values: Iterable[Any]) -> Iterator[Any]:
    """Each object once."""
    return iter({id(value): value for value in values}.values())


def _explained(response: Response) -> str:
    try:
        return response.explained()
    except Exception as error:  # a report must not fail for its ornament
        return f"{response!r}: its waterfall could not be drawn: {error!r}"
