"""The private fields of SAL: who sent a message, when, and as which of how many.

Every message of the control bus carries them, whatever the transport. They are
put on by the sending bus and taken off by the receiving one, so the services
see them only as attributes of `ControlMessage`.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from daemons.bus.interface import ControlMessage, Topic
from daemons.runtime.clock import Clock, TaiSeconds, tai_to_utc

SEQUENCE_MAX = 2**31 - 1
"""Largest `private_seqNum`; the next one is 1 again."""

PRIVATE_FIELDS: tuple[tuple[str, str, str], ...] = (
    ("private_sndStamp", "double", "second"),
    ("private_rcvStamp", "double", "second"),
    ("private_efdStamp", "double", "second"),
    ("private_kafkaStamp", "double", "second"),
    ("private_seqNum", "int", "unitless"),
    ("private_revCode", "string", "unitless"),
    ("private_identity", "string", "unitless"),
    ("private_origin", "int", "unitless"),
)
"""Name, Avro type and units, in the order in which they stand in every schema."""

SAL_INDEX = "salIndex"
"""The field that carries an indexed component's index; it comes before the private fields."""


class Stamper:
    """Makes messages out of payloads: numbers and dates them, and says from whom they are.

    Parameters
    ----------
    identity
        `private_identity`: a component's name (`Name` or `Name:index`), or `user@host`.
    clock
        Where the time of sending comes from.
    origin
        `private_origin`; this process's id by default.
    """

    def __init__(self, identity: str, clock: Clock, *, origin: int | None = None) -> None:
        self._identity = identity
        self._clock = clock
        self._origin = os.getpid() if origin is None else origin
        self._counters: dict[Topic, int] = {}

    @property
    def identity(self) -> str:
        """From whom the messages are."""
        return self._identity

    @property
    def origin(self) -> int:
        """From which process the messages are."""
        return self._origin

    def stamp(
        self, topic: Topic, fields: Mapping[str, Any], sequence: int | None = None
    ) -> ControlMessage:
        """Return the message that is to be sent now.

        Parameters
        ----------
        topic
            Where it goes.
        fields
            The whole payload.
        sequence
            `private_seqNum` instead of this topic's counter, which then stands still.
        """
        if sequence is None:
            sequence = self._counters.get(topic, 0) % SEQUENCE_MAX + 1
            self._counters[topic] = sequence
        return ControlMessage(
            topic=topic,
            fields=fields,
            sent=self._clock.tai(),
            sequence=sequence,
            identity=self._identity,
            origin=self._origin,
        )


def private_values(message: ControlMessage, *, revision: str) -> dict[str, Any]:
    """Return the private fields of a message as they go on the wire.

    Parameters
    ----------
    message
        The stamped message.
    revision
        `private_revCode` of the schema that it is written with.
    """
    return {
        "private_sndStamp": float(message.sent),
        "private_rcvStamp": 0.0,
        "private_efdStamp": float(tai_to_utc(message.sent)),
        "private_kafkaStamp": float(message.sent),
        "private_seqNum": message.sequence,
        "private_revCode": revision,
        "private_identity": message.identity,
        "private_origin": message.origin,
    }


@lru_cache(maxsize=8192)
def _topic(component: str, name: str, index: int) -> Topic:
    """Return one and the same topic each time: dictionaries then find it without comparing."""
    return Topic(component, name, index)


@lru_cache(maxsize=8192)
def _payload(fields: tuple[str, ...]) -> tuple[str, ...]:
    """Return which fields of a record are payload; a topic has the same ones in every message."""
    return tuple(
        field for field in fields if not field.startswith("private_") and field != SAL_INDEX
    )


def from_wire(
    component: str,
    name: str,
    record: Mapping[str, Any],
    *,
    historical: bool = False,
    schema: str | None = None,
) -> ControlMessage:
    """Make a message out of a decoded record, whatever private fields its writer knows.

    Parameters
    ----------
    component, name
        From the transport's topic.
    record
        Payload, private fields and `salIndex` together.
    historical
        Whether it is from before the subscription.
    schema
        What it was written with.

    Raises
    ------
    ValueError, TypeError
        A private field is not of its type.
    """
    return ControlMessage(
        topic=_topic(component, name, int(record.get(SAL_INDEX, 0))),
        fields={field: record[field] for field in _payload(tuple(record))},
        sent=TaiSeconds(float(record.get("private_sndStamp", 0.0))),
        sequence=int(record.get("private_seqNum", 0)),
        identity=str(record.get("private_identity", "")),
        origin=int(record.get("private_origin", 0)),
        historical=historical,
        schema=schema,
    )
