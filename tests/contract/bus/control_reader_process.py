"""A durable reader in a process of its own, to be killed.

Takes the settings of a control bus (JSON), a durable name and how many messages to
acknowledge; prints `reader: ` and the name of each image that it gets.
"""

from __future__ import annotations

import asyncio
import sys

from daemons.bus import Topic
from daemons.bus.control.factory import open_control_bus
from daemons.bus.settings_control import ControlBusSettings
from daemons.runtime.clock import SystemClock
from daemons.runtime.health import HealthBoard


def tell(word: str) -> None:
    """Write a line that stands out from the log."""
    sys.stdout.write(f"reader: {word}\n")
    sys.stdout.flush()


async def main(settings: str, durable: str, acknowledge: int) -> None:
    bus = open_control_bus(
        ControlBusSettings.model_validate_json(settings),
        identity="reader",
        clock=SystemClock(),
        health=HealthBoard(),
    )
    topic = Topic("MTCamera", "logevent_startIntegration")
    async with bus.subscribe([topic], durable=durable, history=False) as subscription:
        await subscription.ready()
        tell("ready")
        count = 0
        async for delivery in subscription:
            if count < acknowledge:
                await delivery.ack()
            count += 1
            tell(str(delivery.message.fields["imageName"]))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
