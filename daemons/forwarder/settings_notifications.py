"""Settings of the S3 notifications that the forwarder can send beside its events."""

from __future__ import annotations

from daemons.bus.settings_stream import EventStreamSettings
from daemons.runtime.secrets import SecretRef


class NotificationSettings(EventStreamSettings):
    """Where the records go, and what they say besides the object."""

    topic: str = "arriero-notifications"
    """Kafka topic that existing consumers of bucket notifications read."""
    region: str = "default"
    """`awsRegion`: the zone group, for those who look at it."""
    event_source: str = "ceph:s3"
    """`eventSource`: `ceph:s3`, or `aws:s3`."""
    configuration_id: str = "arriero"
    """`configurationId` of the notification."""
    principal: str = "arriero"
    """`principalId` of user and owner."""
    opaque_data: SecretRef | None = None
    """Where the `opaqueData` is, which some consumers take as a shared secret."""
