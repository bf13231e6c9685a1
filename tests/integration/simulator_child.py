"""A simulated night in a process of its own, for tests that kill it.

Arguments: the folder, the seed of the headers. Prints a line when the night is over.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from daemons.bus.control.memory import MemoryControlBroker, MemoryControlBus
from daemons.simulators.header_document import HeaderCard, HeaderDocument
from daemons.simulators.runner import SimulatedNight
from daemons.simulators.settings import SimulatorSettings


class Headers:
    """Knows a header for every exposure, after a moment."""

    async def fetch(self, obs_id: str) -> HeaderDocument | None:
        await asyncio.sleep(0.02)
        return HeaderDocument({"OBJECT": HeaderCard(f"target of {obs_id}", "target")})


def settings(folder: Path) -> SimulatorSettings:
    return SimulatorSettings(
        drop_directory=folder / "drop",
        manifest=folder / "manifest.jsonl",
        exposures=8,
        detectors=("R22_S11", "R22_S12", "R01_S00", "R44_SW0", "R44_SG0"),
        guider_stamps=3,
        day_obs=20261103,
        seed=11,
        amplifier_shape=(20, 70),
        telemetry_rate_scale=0.05,
    )


async def main(folder: Path) -> None:
    night = SimulatedNight(settings(folder))
    bus = MemoryControlBus(MemoryControlBroker(), identity="simulator", clock=night.clock)
    summary = await night.run(bus, Headers())
    await bus.close()
    night.close()
    sys.stdout.write(f"over {summary.complete}\n")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
