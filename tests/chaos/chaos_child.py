"""`arriero run` in a process that was forked from one which has imported everything.

So a life costs milliseconds before it works, and hundreds of kills fit into minutes.
Nothing else differs from the command.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import daemons.cli.run
import daemons.storage.s3  # noqa: F401 - as above
from daemons.cli.main import main


def live(config: str, log: str) -> None:
    """Run the services of a configuration until killed."""
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    for number in (1, 2):
        os.dup2(out, number)
    sys.exit(main(["--config", str(Path(config)), "run"]))
