"""`arriero pause`, `resume`, `drain`, `limits` and `requeue`: steering a running forwarder."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from daemons.cli.admin import ask, at_option
from daemons.cli.output import json_option, print_json, print_pairs
from daemons.cli.quarantine import who_am_i

_RATE = re.compile(r"^(?P<number>\d+(?:\.\d+)?) ?(?P<prefix>[kMG]?)(?P<unit>b|bit|B)/s$")
_PREFIXES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9}
_WAIT_STEP_S = 50.0


def on_record(default_why: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Give a command `--why` and `--who`, and hand it both as `decision`.

    Parameters
    ----------
    default_why
        What is on record where no reason is given.
    """

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @click.option("--why", default=default_why, help="For the record.")
        @click.option("--who", help="For the record; by default you.")
        @functools.wraps(command)
        def with_decision(*args: Any, why: str, who: str | None, **options: Any) -> Any:
            return command(*args, decision={"who": who or who_am_i(), "why": why}, **options)

        return with_decision

    return decorate


wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0.0),
    default=0.0,
    metavar="SECONDS",
    help="Wait so long for it to be done; exit code 75 when it is not.",
)


def parse_rate(text: str) -> int:
    """Return bytes per second of `4Gb/s`, `500 MB/s` or `none` (0).

    Raises
    ------
    click.BadParameter
        It is no rate.
    """
    if text == "none":
        return 0
    match = _RATE.match(text)
    if match is None:
        raise click.BadParameter(f"`{text}` is no rate: write 4Gb/s, 500MB/s or none")
    per_second = float(match["number"]) * _PREFIXES[match["prefix"]]
    return max(1, round(per_second if match["unit"] == "B" else per_second / 8))


@click.command()
@click.option("--backlog", is_flag=True, help="Only the backlog: new exposures are still sent.")
@wait_option
@on_record("paused")
@at_option
@json_option
@click.pass_obj
def pause(
    path: Path | None,
    *,
    backlog: bool,
    wait_s: float,
    decision: dict[str, str],
    at: str | None,
    as_json: bool,
) -> int:
    """Begin no more files; those in hand are finished, new ones are noted.

    A pause outlasts a restart, until `arriero resume`.
    """
    body = {**decision, "backlog_only": backlog}
    answer = _post(path, at, "/forwarder/pause", {**body, "wait_s": min(wait_s, _WAIT_STEP_S)})
    done = backlog or not answer["in_hand"]
    what = "the backlog is paused, new exposures are sent" if backlog else "paused"
    _say(answer, f"{what}; {_counts(answer)}", as_json=as_json)
    return 0 if done or not wait_s else 75


@click.command()
@on_record("resumed")
@at_option
@json_option
@click.pass_obj
def resume(path: Path | None, *, decision: dict[str, str], at: str | None, as_json: bool) -> None:
    """Take a pause or a draining back."""
    answer = _post(path, at, "/forwarder/resume", decision)
    _say(answer, f"running; {_counts(answer)}", as_json=as_json)


@click.command()
@wait_option
@on_record("drained")
@at_option
@json_option
@click.pass_obj
def drain(
    path: Path | None,
    *,
    wait_s: float,
    decision: dict[str, str],
    at: str | None,
    as_json: bool,
) -> int:
    """Take in no new file, send all that waits, and empty the outbox.

    Before work on a host, for example. `arriero resume` takes it back.
    """
    left_s = wait_s
    while True:
        step_s = min(left_s, _WAIT_STEP_S)
        answer = _post(path, at, "/forwarder/drain", {**decision, "wait_s": step_s})
        left_s -= step_s
        if answer["drained"] or left_s <= 0:
            break
    what = "drained: nothing waits" if answer["drained"] else f"draining; {_counts(answer)}"
    _say(answer, what, as_json=as_json)
    return 0 if answer["drained"] or not wait_s else 75


@click.command()
@click.option(
    "--concurrency", type=click.IntRange(1, 256), help="Files worked on at the same time."
)
@click.option(
    "--bandwidth", metavar="RATE", help="Ceiling on what is sent: 4Gb/s, 500MB/s or none."
)
@click.option("--reset", is_flag=True, help="Go back to the configuration.")
@on_record("limits changed")
@at_option
@json_option
@click.pass_obj
def limits(
    path: Path | None,
    *,
    concurrency: int | None,
    bandwidth: str | None,
    reset: bool,
    decision: dict[str, str],
    at: str | None,
    as_json: bool,
) -> None:
    """Show the ceilings in force, or change them at once; a change outlasts a restart."""
    if concurrency is None and bandwidth is None and not reset:
        answer = ask(path, at, lambda client: client.get("/forwarder/limits"))
    else:
        body = {
            **decision,
            "concurrency": concurrency,
            "bandwidth_bytes_per_s": None if bandwidth is None else parse_rate(bandwidth),
            "reset": reset,
        }
        answer = _post(path, at, "/forwarder/limits", body)
    if as_json:
        print_json(answer)
        return
    by_operators = answer.pop("set_by_operators")
    print_pairs(answer)
    for name, control in by_operators.items():
        click.echo(f"  {name} set by {control['who']} at {control['since']}: {control['why']}")


@click.command()
@click.argument("numbers", type=int, nargs=-1)
@click.option("--exposure", "obs_id", metavar="OBSID", help="All files of an exposure.")
@click.option(
    "--state",
    type=click.Choice(["quarantined", "conflicted", "failed"]),
    help="All files in a state.",
)
@click.option("--announce", is_flag=True, help="Announce images that are stored once more.")
@on_record("tried again")
@at_option
@json_option
@click.pass_obj
def requeue(
    path: Path | None,
    numbers: tuple[int, ...],
    *,
    obs_id: str | None,
    state: str | None,
    announce: bool,
    decision: dict[str, str],
    at: str | None,
    as_json: bool,
) -> int:
    """Try files again, by NUMBER, exposure or state; nothing that was found wrong is waived."""
    body = {
        **decision,
        "files": list(numbers),
        "obs_id": obs_id,
        "state": state,
        "announce": announce,
    }
    answer = _post(path, at, "/forwarder/requeue", body)
    parts = [
        f"{answer['again']} tried again",
        f"{answer['hurried']} that wait are tried at once",
        f"{answer['announced']} announced again",
        f"{answer['left_alone']} stored already and left alone",
    ]
    lines = [f"{answer['files']} files: {', '.join(parts)}"]
    lines += [f"  {each['path']}: {each['why']}" for each in answer["refused"]]
    if answer["more"]:
        lines.append("there may be more: say it once more")
    _say(answer, "\n".join(lines), as_json=as_json)
    return 1 if answer["refused"] or not answer["files"] else 0


def _post(path: Path | None, at: str | None, route: str, body: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = ask(path, at, lambda client: client.post(route, body))
    return answer


def _counts(answer: dict[str, Any]) -> str:
    return (
        f"{answer['waiting']} files wait, {answer['in_hand']} of them in hand, "
        f"{answer['outbox']} events to publish"
    )


def _say(answer: dict[str, Any], sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(sentence)
