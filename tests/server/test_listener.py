"""A port that is served until it is told to stop, whenever that is."""

import asyncio

from limner.server.doors import Hosts, Keys
from limner.server.gate import Gate
from limner.server.listener import Listener
from limner.server.metrics import Metrics
from tests.waiting import PATIENCE


def test_a_stop_that_is_asked_for_before_the_serving_begins_ends_it() -> None:
    async def serve(listener: Listener) -> None:
        gate = Gate(_absent, Hosts("127.0.0.1"), Keys({}), Metrics(), lambda name: False)
        await asyncio.wait_for(listener.serve(gate), PATIENCE)

    listener = Listener("127.0.0.1", 0)
    try:
        listener.request_stop()
        asyncio.run(serve(listener))
    finally:
        listener.close()


async def _absent(scope: object, receive: object, send: object) -> None:
    raise AssertionError("nothing is asked")
