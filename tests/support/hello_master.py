"""A master of hello hops, to be killed by a test: `python -m tests.support.hello_master COUNT`. Prints their pids."""

from __future__ import annotations

import asyncio
import sys

from stack.clock import SystemClock
from stack.config.listen import parse
from stack.hop.child import Child
from stack.hop.master import Master
from stack.net.bind import bind
from stack.net.tasks import Tasks


async def main(count: int) -> None:
    master = Master(SystemClock(), Tasks())
    [listener] = bind(parse("http://127.0.0.1:0"))
    for n in range(count):
        name = f"hello-{n}"
        listen = f"http+fd://{listener.fileno()}"
        argv = [sys.executable, "-m", "tests.support.hello_hop", "--name", name, "--listen", listen]
        await master.start(Child(name, "hello", [*argv, "--access-log", "off"], sockets=[listener]))
    await master.wait_ready()
    print(listener.getsockname()[1], *(one.pid for one in master.statistics().values()), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
