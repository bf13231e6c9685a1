"""A process that sends files with boto3: peers of the transfer benchmarks.

    python -m benchmarks.kit.boto_sender --endpoint URL --like defaults|s3daemon

Reads a line of JSON per exposure, `{"bucket": B, "prefix": P, "paths": [...]}`, sends each file
with `put_object` in a thread of its own, and answers `{"failed": N}`.

`defaults`: one client as boto3 makes it when nobody says anything, kept for all exposures.
`s3daemon`: opens what s3daemon opens: 25 connections, unsigned payload, no checksum, file objects
as bodies (so `Expect: 100-continue` stays), two attempts, connect timeout 5 s. It is no s3daemon:
that one's asyncio client needs several times the processor time of this one.
"""

from __future__ import annotations

import argparse
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from benchmarks.kit.store import ACCESS_KEY, SECRET_KEY

_S3DAEMON: dict[str, Any] = {
    "connect_timeout": 5,
    "max_pool_connections": 25,
    "retries": {"total_max_attempts": 2, "mode": "adaptive"},
    "request_checksum_calculation": "when_required",
    "s3": {"payload_signing_enabled": False, "addressing_style": "path"},
}
_THREADS = 25


def main() -> None:
    """Read the command line and serve."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--endpoint", required=True)
    parser.add_argument("--like", choices=["defaults", "s3daemon"], required=True)
    parser.add_argument("--access-key", default=ACCESS_KEY)
    parser.add_argument("--secret-key", default=SECRET_KEY)
    options = parser.parse_args()
    # The credentials are those of a store that this benchmark has started.
    client = boto3.client(
        "s3",
        endpoint_url=options.endpoint,
        region_name="us-east-1",
        aws_access_key_id=options.access_key,
        aws_secret_access_key=options.secret_key,
        config=Config(**_S3DAEMON) if options.like == "s3daemon" else None,
    )
    with ThreadPoolExecutor(_THREADS) as pool:
        print("ready", flush=True)
        for line in sys.stdin:
            order = json.loads(line)
            sent = pool.map(
                lambda path, order=order: _put(client, order, Path(path)), order["paths"]
            )
            print(json.dumps({"failed": list(sent).count(False)}), flush=True)


def _put(client: Any, order: dict[str, Any], path: Path) -> bool:
    try:
        with path.open("rb") as body:
            client.put_object(
                Bucket=order["bucket"], Key=f"{order['prefix']}/{path.name}", Body=body
            )
    except (BotoCoreError, ClientError, OSError) as error:
        print(f"{path.name}: {error}", file=sys.stderr)
        return False
    return True


if __name__ == "__main__":
    main()
