"""What a store tells of its connections."""

from __future__ import annotations

from dataclasses import dataclass

from daemons.storage.sockets import Transport
from daemons.storage.traits import StoreTraits


@dataclass(frozen=True, slots=True)
class NetworkReport:
    """What a store's connections are like; for `/status` and `doctor`."""

    sender: str
    """`direct` or `boto3`."""
    proof: str
    """How uploads are proved to have arrived."""
    bandwidth_bytes_per_s: float | None
    """The ceiling, as it is now."""
    uploads_at_once: int
    """Fewer than `connections` while the store asks for that."""
    clock_skew_s: float | None
    """How far the store's clock is ahead of ours, as last seen."""
    traits: StoreTraits | None
    """What the endpoint can do, once it was probed."""
    refusals: tuple[str, ...]
    """What the kernel did not grant, with advice."""
    transports: tuple[Transport, ...]
    """Each open connection after its last answer, with what the kernel granted."""
