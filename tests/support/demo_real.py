"""The demonstration through real servers: `python -m tests.support.demo_real [demo options]`.

Starts Apache Kafka, the Apicurio schema registry, SeaweedFS, PostgreSQL and
mosquitto on free loopback ports, runs `arriero demo` twice, once in SAL's Kafka
dialect and once in the MQTT dialect, and stops the servers.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.servers import MissingServerError, Running, ServerError, start_all

_SERVERS = ("kafka", "apicurio", "seaweedfs", "postgres", "mosquitto")
_BUCKET = "demo"


def kafka_options(running: Running, database: str) -> list[str]:
    """Return the options that put a demonstration on Kafka and PostgreSQL."""
    return [
        *("--bus", running.kafka.url),
        *("--registry", running.apicurio.registry_url),
        *("--butler", running.postgres.create_database(database)),
    ]


def mqtt_options(running: Running) -> list[str]:
    """Return the options that put a demonstration on MQTT."""
    return ["--bus", running.mosquitto.mqtt_url]


def store_options(running: Running, folder: Path) -> list[str]:
    """Return the options that put the images of a demonstration into the S3 server."""
    keys = {"access": running.seaweedfs.access_key, "secret": running.seaweedfs.secret_key}
    options = ["--store", f"s3://{_BUCKET}", "--endpoint", running.seaweedfs.endpoint_url]
    for name, value in keys.items():
        file = folder / f"{name}-key"
        file.touch(mode=0o600)
        file.write_text(value)
        options += [f"--{name}-key-file", str(file)]
    return options


def demonstrate(directory: Path, options: Sequence[str]) -> int:
    """Run `arriero demo` and return its exit code."""
    command = [sys.executable, "-m", "daemons.cli.main", "demo", "--directory", str(directory)]
    return subprocess.run([*command, *options], check=False).returncode


def main(extra: Sequence[str]) -> int:
    """Run both demonstrations; return 0 when both prove that everything arrived."""
    with TemporaryDirectory(prefix="arriero-demo-real-") as temporary:
        folder = Path(temporary)
        print(f"starting {', '.join(_SERVERS)}", flush=True)
        with start_all(folder / "servers", _SERVERS) as running:
            for name, endpoint in running.endpoints().items():
                print(f"  {name:<10} {endpoint}", flush=True)
            running.seaweedfs.create_bucket(_BUCKET)
            store = store_options(running, folder)
            print("\nKafka, schema registry, SeaweedFS, PostgreSQL:", flush=True)
            first = demonstrate(
                folder / "kafka", [*kafka_options(running, "butler"), *store, *extra]
            )
            print("\nMQTT, SeaweedFS, SQLite:", flush=True)
            prefixed = [
                option.replace(f"s3://{_BUCKET}", f"s3://{_BUCKET}/mqtt") for option in store
            ]
            small = ["--small", "--exposures", "3"]
            second = demonstrate(
                folder / "mqtt", [*mqtt_options(running), *prefixed, *small, *extra]
            )
    return first or second


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except MissingServerError as error:
        sys.exit(str(error))
    except ServerError as error:
        sys.exit(f"a server did not start: {error}")
