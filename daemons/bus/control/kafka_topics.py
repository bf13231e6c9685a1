"""How our topics of the control bus are made."""

from __future__ import annotations

from daemons.bus.kafka_client import KafkaCluster, TopicPlan, ensure_topics
from daemons.bus.kafka_guard import existing_partitions


async def create_topic(
    cluster: KafkaCluster, topic: str, *, compacted: bool, replication: int
) -> None:
    """Create a topic as SAL clients do, unless it is there.

    Parameters
    ----------
    cluster
        Where.
    topic
        Its name.
    compacted
        True for events: the last one is kept.
    replication
        Copies.

    Raises
    ------
    KafkaError, OSError, TimeoutError
        The cluster cannot be reached.
    """
    existing = await existing_partitions(cluster, [topic])
    if existing.partitions or existing.undecided:
        return
    config = {"cleanup.policy": "compact"} if compacted else {}
    await ensure_topics(cluster, [TopicPlan(topic, 1, replication, config)])
