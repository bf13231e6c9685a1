"""Start real servers and keep them until interrupted.

::

    python -m tests.support.servers DIRECTORY kafka registry seaweedfs postgres

Prints one JSON object with what clients need (server name → address), then waits
for SIGINT or SIGTERM. The servers end with this process, however it ends.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from tests.support.servers.errors import ServerError
from tests.support.servers.together import KINDS, start_all


def main() -> int:
    """Run the command; return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.servers", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("directory", type=Path)
    parser.add_argument("servers", nargs="+", choices=sorted(KINDS), metavar="SERVER")
    options = parser.parse_args()
    ends = {signal.SIGINT, signal.SIGTERM}
    try:
        with start_all(options.directory, options.servers) as running:
            signal.pthread_sigmask(signal.SIG_BLOCK, ends)  # not before: servers would inherit it
            print(json.dumps(running.endpoints()), flush=True)
            signal.sigwait(ends)
    except ServerError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
