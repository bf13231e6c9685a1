"""The `arriero` command: its groups, its way to end.

Every command group is a module of this package and is imported when it is
used, so that `arriero --help` does not load astropy or the Butler.

Exit codes: see `daemons.runtime.errors`. An error is one sentence on the
standard error stream, or with `--json` one JSON object `{code, message}`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

import click

from daemons.cli.lazy import LazyGroup
from daemons.runtime.errors import ArrieroError
from translators.errors import TranslatorsError

_COMMANDS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "run": ("daemons.cli.run:run", "Run services until they are told to stop."),
        "status": ("daemons.cli.status:status", "What the running services are doing."),
        "command": ("daemons.cli.status:command", "Send a command to a running service."),
        "send": ("daemons.cli.send:send", "Hand files to the running forwarder."),
        "queue": ("daemons.cli.queue:queue", "What waits in the forwarder, why, since when."),
        "quarantine": ("daemons.cli.quarantine:quarantine", "Files that were set aside."),
        "requeue": ("daemons.cli.steering:requeue", "Try files again."),
        "pause": ("daemons.cli.steering:pause", "Begin no more files."),
        "resume": ("daemons.cli.steering:resume", "Take a pause or a draining back."),
        "drain": ("daemons.cli.steering:drain", "Take in nothing new, send what waits."),
        "limits": ("daemons.cli.steering:limits", "Ceilings of concurrency and bandwidth."),
        "refused": ("daemons.cli.refused:refused", "Images that the Butler did not take."),
        "headers": ("daemons.cli.headers:headers", "Keyword definitions and headers."),
        "check": ("daemons.cli.check:check", "What is wrong with files and headers."),
        "translate": ("daemons.cli.translate:translate", "What headers say of observations."),
        "translators": ("daemons.cli.translators:translators", "Instruments' translators."),
        "audit": ("daemons.cli.audit:audit", "Check very many headers, resumable."),
        "bus": ("daemons.cli.bus:bus", "Record and replay the control bus."),
        "config": ("daemons.cli.config:config", "Check, show or describe the configuration."),
        "simulate": ("daemons.cli.simulate:simulate", "A simulated observatory and camera."),
        "demo": ("daemons.cli.demo:demo", "The whole path on this machine, simulated."),
    }
)
"""Name to (module:attribute, one sentence)."""

_INTERRUPTED = 130


@click.command(
    cls=LazyGroup, lazy=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]}
)
@click.option(
    "-c",
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    envvar="ARRIERO_CONFIG",
    help="The host's configuration; by default $ARRIERO_CONFIG, else built-in defaults.",
)
@click.version_option(package_name="arriero", prog_name="arriero")
@click.pass_context
def cli(context: click.Context, config: Path | None) -> None:
    """Take an observatory's images from the summit to the data facility."""
    context.obj = config


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and end the process with its exit code."""
    argv = sys.argv[1:] if arguments is None else arguments
    code = _run(argv)
    sys.exit(code)


def _run(argv: list[str]) -> int:
    try:
        result = cli.main(args=argv, prog_name="arriero", standalone_mode=False)
    except (ArrieroError, TranslatorsError) as error:
        return _complain(error.code, str(error), getattr(error, "exit_code", 1), argv)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        return _INTERRUPTED
    except BrokenPipeError:
        return 1
    return result if isinstance(result, int) else 0


def _complain(code: str, message: str, exit_code: int, argv: list[str]) -> int:
    if "--json" in argv:
        click.echo(json.dumps({"code": code, "message": message}), err=True)
    else:
        click.echo(f"arriero: {message}", err=True)
    return exit_code


if __name__ == "__main__":
    main()
