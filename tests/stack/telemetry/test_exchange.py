from __future__ import annotations

from stack.clock import VirtualClock
from stack.telemetry.exchange import Exchange


async def test_each_attempt_names_whom_it_was_sent_to() -> None:
    clock = VirtualClock()
    exchange = Exchange("lb-a", clock.now)
    exchange.mark("choose", "chosen")
    for name, word in (("proxy-2", "refused"), ("proxy-3", "answered")):
        exchange.tried += (name,)
        await clock.advance(0.0015)
        exchange.mark("attempt", word)
    assert exchange.server_timing() == (
        b'lb-a.choose;dur=0.0;desc="chosen", lb-a.attempt;dur=1.5;desc="refused";to="proxy-2", '
        b'lb-a.attempt;dur=1.5;desc="answered";to="proxy-3"'
    )


async def test_where_nobody_was_chosen_among_there_is_no_name() -> None:
    exchange = Exchange("edge-fra", VirtualClock().now)
    exchange.mark("lookup", "hit")
    assert exchange.server_timing() == b'edge-fra.lookup;dur=0.0;desc="hit"'
