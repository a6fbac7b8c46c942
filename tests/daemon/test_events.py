import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

from hostports.daemon.events import EventBus
from hostports.model.event import Event, Happening

AT = datetime(2026, 1, 2, tzinfo=UTC)


def event(number: int) -> Event:
    return Event(Happening.NETWORK_CREATED, AT, network=f"net{number}")


async def everything(events: AsyncIterator[Event]) -> list[str]:
    return [each.network async for each in events]


def test_everybody_gets_what_happens_while_they_watch() -> None:
    async def scene() -> list[list[str]]:
        bus = EventBus()
        bus.publish(event(0))
        first = bus.watch()
        bus.publish(event(1))
        second = bus.watch()
        bus.publish(event(2))
        bus.close()
        return [await everything(each) for each in (first, second)]

    assert asyncio.run(scene()) == [["net1", "net2"], ["net2"]]


def test_who_does_not_read_is_hung_up_on_and_costs_no_more_memory() -> None:
    async def scene() -> list[str]:
        bus = EventBus()
        slow = bus.watch()
        for number in range(5000):
            bus.publish(event(number))
        return await everything(slow)

    assert asyncio.run(scene()) == [f"net{number}" for number in range(1000)]


def test_who_has_enough_is_forgotten() -> None:
    async def scene() -> str:
        bus = EventBus()
        async with asyncio.timeout(10):
            watching = bus.watch()
            bus.publish(event(1))
            first = await anext(watching)
            await watching.aclose()  # type: ignore[attr-defined] # it is a generator
            bus.publish(event(2))
        return f"{first.network}, {bus.watchers} watch"

    assert asyncio.run(scene()) == "net1, 0 watch"
