"""What event stream and control bus share on Kafka: connection, errors, topics.

aiokafka is wrapped because its clients can stay alive and useless (a producer
that was fenced, a consumer that nobody feeds), and because it says of a wrong
password only that it was "unable to bootstrap". The clients themselves are in
`daemons.bus.kafka_producer` and `daemons.bus.kafka_consumer`.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog
from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.conn import create_conn
from aiokafka.errors import KafkaError

from daemons.bus.address import BusAddress
from daemons.bus.interface import BusDeniedError, BusUnavailableError
from daemons.bus.kafka_guard import existing_partitions
from daemons.bus.security import BusSecurity
from daemons.runtime.errors import ArrieroError
from daemons.runtime.retry import Backoff

__all__ = [
    "REFUSED",
    "KafkaCluster",
    "KafkaError",
    "KafkaTiming",
    "TopicPlan",
    "ensure_topics",
    "explain",
    "quiet_aiokafka",
    "topic_partitions",
]

_log = structlog.get_logger(__name__)

REFUSED = (
    kafka_errors.MessageSizeTooLargeError,
    kafka_errors.RecordListTooLargeError,
    kafka_errors.InvalidTopicError,
    kafka_errors.PolicyViolationError,
)
"""What is wrong with the message itself: sending it again does not help."""

MAX_DEFAULT_REPLICATION = 3
"""Copies of a topic whose plan leaves the number open, where there are brokers enough."""

_RETRY_BACKOFF_MS = 250
"""Between two attempts inside aiokafka, which knows no jitter and no growth."""


@dataclass(frozen=True, slots=True)
class KafkaTiming:
    """Every waiting time of our Kafka clients."""

    request_timeout_s: float = 15.0
    """One request to a broker; longer than `session_timeout_s`, because joining a group waits."""
    session_timeout_s: float = 10.0
    """A consumer that is silent for so long loses its partitions."""
    heartbeat_s: float = 1.0
    """Between two signs of life; also how soon a member learns of a rebalance."""
    stall_after_s: float = 30.0
    """A consumer that is behind and does not move for so long is made anew."""
    watch_every_s: float = 5.0
    """Between two looks of the progress watchdog."""
    stop_timeout_s: float = 5.0
    """For an orderly end; after it the connections are cut."""
    retry_initial_s: float = 0.25
    """Bound of the first delay before another attempt to connect."""
    retry_cap_s: float = 15.0
    """Bound of every later delay."""

    def backoff(self) -> Backoff:
        """Return a fresh back-off."""
        return Backoff(base_s=self.retry_initial_s, cap_s=self.retry_cap_s, floor_s=0.0)


@dataclass(frozen=True, slots=True)
class KafkaCluster:
    """How to reach a cluster, and as whom."""

    address: BusAddress
    client_id: str
    """Name in the broker's logs and group descriptions."""
    security: BusSecurity = field(default_factory=BusSecurity)
    timing: KafkaTiming = field(default_factory=KafkaTiming)

    def options(self) -> dict[str, Any]:
        """Return what every aiokafka client takes; secrets are read anew each time.

        Raises
        ------
        SettingsError
            A secret or certificate that cannot be read.
        """
        options: dict[str, Any] = {
            "bootstrap_servers": list(self.address.servers),
            "client_id": self.client_id,
            "request_timeout_ms": _ms(self.timing.request_timeout_s),
            "retry_backoff_ms": _RETRY_BACKOFF_MS,
        } | self._security_options()
        return options

    def _security_options(self) -> dict[str, Any]:
        security = self.security
        options: dict[str, Any] = {"security_protocol": security.protocol}
        if security.protocol in {"SSL", "SASL_SSL"}:
            options["ssl_context"] = security.tls_context()
        if security.uses_sasl:
            options["sasl_mechanism"] = security.mechanism
            options["sasl_plain_username"] = security.username
            options["sasl_plain_password"] = security.read_password()
        return options

    async def explain(self, error: BaseException) -> BusUnavailableError:
        """Return the error for the operator behind what aiokafka raised.

        `start` of an aiokafka client says only that it could not bootstrap, so
        each broker is asked once more, directly, for its reason.
        """
        if isinstance(error, BusUnavailableError):
            return error
        if isinstance(error, ArrieroError):
            return BusUnavailableError(str(error))
        if isinstance(error, kafka_errors.KafkaConnectionError):
            for endpoint in self.address.endpoints:
                found = await self._ask(endpoint.host, endpoint.port)
                if found is not None:
                    return explain(found, str(endpoint), self.security)
        return explain(error, str(self.address), self.security)

    async def _ask(self, host: str, port: int) -> BaseException | None:
        try:
            async with asyncio.timeout(self.timing.request_timeout_s):
                connection = await create_conn(
                    host,
                    port,
                    client_id=self.client_id,
                    request_timeout_ms=_ms(self.timing.request_timeout_s),
                    **self._security_options(),
                )
        except (KafkaError, OSError, ArrieroError) as error:
            return error
        await connection.close()
        return None


def explain(error: BaseException, where: str, security: BusSecurity) -> BusUnavailableError:
    """Return an error with a sentence for the operator.

    Parameters
    ----------
    error
        What aiokafka or the system raised.
    where
        Broker that it is about.
    security
        Names the user in the sentence.
    """
    denial = _denial(error, where, security)
    return BusDeniedError(denial) if denial else BusUnavailableError(_absence(error, where))


def _denial(error: BaseException, where: str, security: BusSecurity) -> str | None:
    user = f"user `{security.username}`" if security.username else "an anonymous client"
    what = ", ".join(str(argument) for argument in error.args) or "in question"
    match error:
        case kafka_errors.SaslAuthenticationFailed():
            return (
                f"{where} refuses {user}: wrong user name or password for {security.mechanism};"
                " correct `security`"
            )
        case kafka_errors.UnsupportedSaslMechanismError() | kafka_errors.IllegalSaslStateError():
            return f"{where} does not offer {security.mechanism}: correct `security` ({what})"
        case kafka_errors.TopicAuthorizationFailedError():
            return (
                f"{where} does not allow {user} the topic {what}: ask for the rights Describe,"
                " Read and Write on it"
            )
        case kafka_errors.GroupAuthorizationFailedError():
            return (
                f"{where} does not allow {user} the consumer group {what}: ask for the right Read"
                " on it"
            )
        case kafka_errors.ClusterAuthorizationFailedError():
            return (
                f"{where} does not allow {user} idempotent writing: ask for the right Write on"
                " the topic, or IdempotentWrite on the cluster"
            )
    return None


def _absence(error: BaseException, where: str) -> str:
    match error:
        case kafka_errors.UnknownTopicOrPartitionError():
            return f"{where} does not know the topic and does not let us create it: have it created"
        case ssl.SSLError():
            return (
                f"TLS with {where} fails ({error.reason or error}): check `security.ca_file`, and"
                " that `security.protocol` is the listener's"
            )
        case kafka_errors.KafkaConnectionError():
            return (
                f"{where} closes our connections ({error}): check that it is a Kafka listener and"
                " that `security.protocol` is the listener's"
            )
        case OSError() if not isinstance(error, TimeoutError):
            return f"cannot reach Kafka at {where}: {error}"
        case TimeoutError():
            return f"Kafka at {where} does not answer in time"
    return f"Kafka at {where}: {error!r}"


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


@dataclass(frozen=True, slots=True)
class TopicPlan:
    """A topic as we would create it."""

    name: str
    partitions: int = 1
    replication: int | None = None
    """Copies; by default one per broker, at most three."""
    config: Mapping[str, str] = field(default_factory=dict)
    """Topic configuration, such as `retention.ms`."""


async def topic_partitions(
    cluster: KafkaCluster, names: Collection[str]
) -> dict[str, tuple[int, ...]]:
    """Return the partitions of each topic; creates none.

    Raises
    ------
    KafkaError, OSError
        The cluster cannot be reached, or a topic does not exist or is denied.
    SettingsError
        A secret or certificate that cannot be read.
    """
    existing = await existing_partitions(cluster, names)
    if existing.undecided:
        raise kafka_errors.LeaderNotAvailableError(*existing.undecided)
    found = {name: existing.of(name) for name in names}
    absent = [name for name, numbers in found.items() if not numbers]
    if absent:
        raise kafka_errors.UnknownTopicOrPartitionError(*absent)
    return found


async def ensure_topics(cluster: KafkaCluster, plans: Collection[TopicPlan]) -> None:
    """Create the topics that do not exist yet; those that exist stay as they are.

    Where the broker does not let us create topics, they are taken as made by
    its operator: whoever uses them learns soon enough when they are not.

    Raises
    ------
    KafkaError, OSError
        The cluster cannot be reached.
    SettingsError
        A secret or certificate that cannot be read.
    """
    if not plans:
        return
    admin = AIOKafkaAdminClient(**cluster.options())
    try:
        await admin.start()
        # Asking for a topic first would let the broker create it in its own way.
        not_created = await _create(admin, plans)
        if not_created:
            await _compare(cluster, plans, not_created)
    finally:
        await admin.close()


async def _create(
    admin: AIOKafkaAdminClient, plans: Collection[TopicPlan]
) -> dict[str, type[KafkaError]]:
    """Return why each topic that was not created was not."""
    brokers = len((await admin.describe_cluster())["brokers"])
    copies = min(max(brokers, 1), MAX_DEFAULT_REPLICATION)
    topics = [
        NewTopic(
            plan.name,
            num_partitions=plan.partitions,
            replication_factor=plan.replication or copies,
            topic_configs=dict(plan.config),
        )
        for plan in plans
    ]
    try:
        response = await admin.create_topics(topics)
    except AttributeError as fault:  # aiokafka takes it for granted that there is a controller
        raise kafka_errors.BrokerNotAvailableError("no controller yet") from fault
    answers = {name: kafka_errors.for_code(code) for name, code, *_ in response.topic_errors}
    for name, error in answers.items():
        if error is kafka_errors.NoError:
            _log.info("topic_created", topic=name)
    return {name: error for name, error in answers.items() if error is not kafka_errors.NoError}


async def _compare(
    cluster: KafkaCluster,
    plans: Iterable[TopicPlan],
    not_created: Mapping[str, type[KafkaError]],
) -> None:
    """Log where a topic that was there before is not what we would have made."""
    try:
        existing = await existing_partitions(cluster, list(not_created))
    except KafkaError as error:
        # Whoever may not even see a topic learns it where the topic is used.
        _log.warning("topics_not_seen", topics=sorted(not_created), reason=repr(error))
        return
    described = {name: len(existing.of(name)) for name in not_created if existing.of(name)}
    for plan in plans:
        if plan.name not in not_created or plan.name in existing.undecided:
            continue
        if plan.name not in described:
            reason = not_created[plan.name].__name__
            _log.warning("topic_not_created", topic=plan.name, reason=reason)
        elif described[plan.name] != plan.partitions:
            _log.warning(
                "topic_has_other_partition_count",
                topic=plan.name,
                partitions=described[plan.name],
                configured=plan.partitions,
            )


def quiet_aiokafka() -> None:
    """Let aiokafka log only what is critical, unless its level was set already.

    While a broker is away it logs some ten errors a second and client. What
    they say is on the health board, once, in our words.
    """
    logger = logging.getLogger("aiokafka")
    if logger.level == logging.NOTSET:
        logger.setLevel(logging.CRITICAL)
