"""Real servers on loopback, for tests and for the demonstration on real services.

Each is a `ServerProcess`: it starts on free ports with its data in a directory,
is ready when `start` returns, and can be killed, frozen and restarted.
"""

from tests.support.servers.apicurio import Apicurio
from tests.support.servers.errors import MissingServerError, ServerError, ServerStartError
from tests.support.servers.kafka import Kafka
from tests.support.servers.mosquitto import Mosquitto
from tests.support.servers.moto import Moto
from tests.support.servers.postgres import Postgres
from tests.support.servers.process import ServerProcess
from tests.support.servers.registry import SmallRegistry
from tests.support.servers.seaweedfs import SeaweedFS
from tests.support.servers.together import Running, start_all

__all__ = [
    "Apicurio",
    "Kafka",
    "MissingServerError",
    "Mosquitto",
    "Moto",
    "Postgres",
    "Running",
    "SeaweedFS",
    "ServerError",
    "ServerProcess",
    "ServerStartError",
    "SmallRegistry",
    "start_all",
]
