"""A client that knows SAL alone finds a well-behaved component, with nothing to adapt."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import structlog
from aiokafka.admin import AIOKafkaAdminClient

from daemons.bus import Topic
from daemons.bus.audit import FileAudit
from daemons.bus.commandable import CommandPolicy, Configuration
from daemons.bus.control.log_relay import LogRelay
from daemons.runtime.clock import SystemClock
from daemons.runtime.logging import configure_logging
from daemons.runtime.state import State
from tests.contract.bus.control_benches import KafkaBench
from tests.contract.bus.control_crew import COMPONENT, Crew
from tests.support.fixtures import Starter
from tests.support.logs import restored_logging
from tests.support.sal_client import CONFIGURATION, GENERICS, SalClient, is_bytes_of_sal, names
from tests.support.servers import Apicurio, Kafka, SmallRegistry
from tests.support.waiting import until

pytestmark = pytest.mark.server

AT_START = [
    f"logevent_{name}"
    for name in ("logLevel", "simulationMode", "softwareVersions", "summaryState", "errorCode")
]


@pytest.fixture
async def bench(kafka: Kafka, small_registry: SmallRegistry) -> AsyncIterator[KafkaBench]:
    made = KafkaBench(kafka, small_registry)
    yield made
    await made.close()


@pytest.fixture
def logging_restored() -> Iterator[None]:
    with restored_logging():
        yield


def client(bench: KafkaBench, component: str = COMPONENT, **rest: object) -> SalClient:
    return SalClient(
        component,
        bench.kafka.bootstrap,
        bench.registry.registry_url,
        bench.subname,
        **rest,  # type: ignore[arg-type]
    )


async def test_component_is_taken_through_its_states(bench: KafkaBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        for command, state in [
            ("start", State.DISABLED),
            ("enable", State.ENABLED),
            ("disable", State.DISABLED),
            ("standby", State.STANDBY),
        ]:
            *_, final = await remote.command(command)
            assert final.record["ack"] == 303
            assert final.record["result"] == "Done"
            assert final.record["error"] == 0
            await remote.until_seen("logevent_summaryState", summaryState=int(state))
        *_, final = await remote.command("exitControl")
        assert final.record["ack"] == 303
        await remote.until_seen("logevent_summaryState", summaryState=4)
    assert remote.problems == []
    assert remote.values("logevent_summaryState", "summaryState") == [5, 1, 2, 1, 5, 4]
    assert remote.values("logevent_errorCode", "errorCode") == [0]


async def test_every_message_is_the_bytes_that_sal_would_send(bench: KafkaBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    before = time.time()
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_heartbeat", 2)
        await remote.command("start")
        await remote.until_seen("logevent_summaryState", summaryState=1)
    theirs = [each for each in remote.seen if not each.topic.startswith("command_")]
    assert {*AT_START, "logevent_heartbeat", "ackcmd"} <= {each.topic for each in theirs}
    for each in theirs:
        assert is_bytes_of_sal(remote, each), each
        assert each.raw.key == remote.key(each.topic)
        assert each.raw.headers == ()
        assert each.record["private_identity"] == COMPONENT
        assert each.record["private_origin"] == os.getpid()
        assert each.record["private_rcvStamp"] == 0.0
        assert each.record["private_kafkaStamp"] == each.record["private_sndStamp"]
        assert each.record["private_efdStamp"] == each.record["private_sndStamp"] - 37.0
        assert each.record["private_sndStamp"] > before + 36.0
        # The client's schema was there first, so it is the one that is written with.
        assert each.record["private_revCode"] == remote.revision(each.topic)
    beats = remote.values("logevent_heartbeat", "private_seqNum")
    assert beats == list(range(1, len(beats) + 1))
    assert [each for each in names(theirs) if each in AT_START][:5] == AT_START


async def test_late_joiner_finds_everything(bench: KafkaBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    async with crew.at_work():
        async with client(bench) as early:
            await early.until_seen("logevent_errorCode")
            await early.command("start")
        async with client(bench) as late:
            for topic in AT_START:
                found = await late.until_seen(topic)
                assert found.historical, topic
            assert (await late.until_seen("logevent_summaryState")).record["summaryState"] == 1
    assert late.problems == []


async def test_component_that_starts_first_makes_topics_and_schemas_itself(
    bench: KafkaBench,
) -> None:
    crew = Crew(bench.bus(COMPONENT))
    async with crew.at_work():
        admin = AIOKafkaAdminClient(bootstrap_servers=bench.kafka.bootstrap)
        await admin.start()
        try:

            async def made() -> bool:
                return set(map(bench.topic, [Topic(COMPONENT, name) for name in AT_START])) <= set(
                    await admin.list_topics()
                )

            await until(made, timeout_s=60)
        finally:
            await admin.close()
        async with client(bench) as late:
            for topic in AT_START:
                assert (await late.until_seen(topic)).historical
            assert (await late.command("start"))[-1].record["ack"] == 303
    assert late.problems == []


async def test_acknowledgement_names_issuer_and_number(bench: KafkaBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        *_, refused = await remote.command("enable")
        *_, wrong = await remote.command("start", number=-1)
        *_, overridden = await remote.command("start", configurationOverride="other.yaml")
        *_, done = await remote.command("start")
    assert refused.record["ack"] == -302
    assert refused.record["error"] == 1
    assert refused.record["result"].startswith("Failed: ")
    assert "STANDBY" in refused.record["result"]
    assert wrong.record["ack"] == -302
    assert "private_seqNum must be positive" in wrong.record["result"]
    assert overridden.record["ack"] == -302
    assert "configurationOverride must be empty" in overridden.record["result"]
    assert done.record["cmdtype"] == 6
    assert remote.values("logevent_errorCode", "errorCode") == [0]


async def test_slow_command_is_acknowledged_as_in_progress_first(bench: KafkaBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    crew.service.may_open.clear()
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        waiting = asyncio.create_task(remote.command("start"))
        first = await remote.until_seen("ackcmd", ack=301)
        crew.service.may_open.set()
        answers = await waiting
    assert first.record["timeout"] > 0
    assert [each.record["ack"] for each in answers][-1] == 303


async def test_stranger_is_refused_and_written_down(bench: KafkaBench, tmp_path: Path) -> None:
    path = tmp_path / "audit" / "commands.jsonl"
    audit = FileAudit(path)
    crew = Crew(
        bench.bus(COMPONENT),
        policy=CommandPolicy(allowed=("*@summit-*", f"operator@*#{os.getpid()}")),
        audit=audit,
    )
    async with (
        client(bench) as stranger,
        client(bench, identity="operator@home") as operator,
        crew.at_work(),
    ):
        await stranger.until_seen("logevent_errorCode")
        *_, refused = await stranger.command("start")
        *_, obeyed = await operator.command("start")
    await audit.close()
    assert refused.record["ack"] == -300
    assert "verifier@localhost may not command MTHeaderService" in refused.record["result"]
    assert obeyed.record["ack"] == 303
    lines = [line.split('"outcome": "')[1].split('"')[0] for line in path.read_text().splitlines()]
    assert lines == ["NOPERM", "COMPLETE"]


async def test_fault_is_told_and_recovered_from(bench: KafkaBench) -> None:
    crew = Crew(bench.bus(COMPONENT))
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        await crew.runner.fault(104, "no camera", "Traceback: here")
        await remote.until_seen("logevent_summaryState", summaryState=3)
        fault = await remote.until_seen("logevent_errorCode", errorCode=104)
        told = await remote.until_seen("logevent_logMessage", level=50)
        assert (await remote.command("standby"))[-1].record["ack"] == 303
        await remote.until_seen("logevent_errorCode", 2, errorCode=0)
    assert fault.record["errorReport"] == "no camera"
    assert fault.record["traceback"] == "Traceback: here"
    assert "no camera" in told.record["message"]


@pytest.mark.usefixtures("logging_restored")
async def test_log_level_and_log_messages(bench: KafkaBench) -> None:
    configure_logging(level="INFO", format="json", host="test", service="idle")
    crew = Crew(bench.bus(COMPONENT), relay=LogRelay(SystemClock(), service="idle"))
    log = structlog.get_logger("daemons.forwarder.deliver")
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        log.info("not_told")
        log.warning("disk_almost_full", free_bytes=5)
        await remote.until_seen("logevent_logMessage")
        *_, final = await remote.command("setLogLevel", level=20)
        assert final.record["ack"] == 303
        log.info("told_now", obs_id="x")
        log.error("journal_failed", exc_info=OSError("disk full"))
        await remote.until_seen("logevent_logMessage", 1, level=40)
    levels = remote.values("logevent_logLevel", "level")
    assert levels == [30, 20]
    messages = {each.record["message"]: each for each in remote.of("logevent_logMessage")}
    assert not any("not_told" in text for text in messages)
    assert "disk_almost_full free_bytes=5" in messages
    assert any(text.startswith("told_now") for text in messages)
    failed = next(each for text, each in messages.items() if text.startswith("journal_failed"))
    assert "OSError: disk full" in failed.record["traceback"]
    assert failed.record["filePath"].endswith("test_existing_sal_client.py")
    assert failed.record["functionName"] == "test_log_level_and_log_messages"
    assert failed.record["lineNumber"] > 0
    assert failed.record["name"] == "daemons.forwarder.deliver"
    assert all(is_bytes_of_sal(remote, each) for each in messages.values())


async def test_indexed_component_answers_to_its_index_alone(bench: KafkaBench) -> None:
    name = "GCHeaderService"
    crews = {
        index: Crew(bench.bus(f"{name}:{index}"), component=name, index=index) for index in (1, 101)
    }
    async with (
        client(bench, name, index=101) as remote,
        client(bench, name, index=0) as everyone,
        crews[1].at_work(),
        crews[101].at_work(),
    ):
        await remote.until_seen("logevent_errorCode")
        await everyone.until_seen("logevent_errorCode", 2)
        *_, final = await remote.command("start")
        assert final.record["ack"] == 303
        assert final.record["salIndex"] == 101
        assert final.raw.key == b'{ "name": "GCHeaderService", "index": 101, "topic": "ackcmd" }'
        await remote.until_seen("logevent_summaryState", summaryState=1)
        async with client(bench, name, index=0) as late:
            await late.until_seen("logevent_summaryState", salIndex=1, summaryState=5)
            await late.until_seen("logevent_summaryState", salIndex=101, summaryState=1)
            unanswered = asyncio.create_task(late.command("start"))  # index 0 is no broadcast
            await late.until_seen("logevent_heartbeat", 20)
            assert not unanswered.done()
            unanswered.cancel()
    assert crews[1].runner.state is not State.DISABLED
    assert {each.record["salIndex"] for each in everyone.of("logevent_heartbeat")} == {1, 101}
    assert {each.record["salIndex"] for each in remote.of("logevent_heartbeat")} == {101}
    assert all(is_bytes_of_sal(remote, each) for each in remote.of("logevent_summaryState"))


async def test_configuration_is_told(bench: KafkaBench) -> None:
    crew = Crew(
        bench.bus("MTForwarder:2"),
        component="MTForwarder",
        index=2,
        configuration=Configuration(name="summit/host", version="abc"),
    )
    topics = {**GENERICS, **CONFIGURATION}
    async with client(bench, "MTForwarder", index=2, topics=topics) as remote, crew.at_work():
        available = await remote.until_seen("logevent_configurationsAvailable")
        assert remote.of("logevent_configurationApplied") == []
        await remote.command("start")
        applied = await remote.until_seen("logevent_configurationApplied")
        state = await remote.until_seen("logevent_summaryState", summaryState=1)
    assert available.record["version"] == applied.record["version"] == "abc"
    assert applied.record["configurations"] == "summit/host"
    assert applied.record["private_sndStamp"] <= state.record["private_sndStamp"]


@pytest.mark.parametrize("mechanism", ["SCRAM-SHA-512", "PLAIN"])
@pytest.mark.parametrize("tls", [False, True], ids=["clear", "tls"])
async def test_broker_that_asks_who_is_there(
    start_kafka: Starter[Kafka],
    small_registry: SmallRegistry,
    tmp_path: Path,
    mechanism: str,
    tls: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    broker = start_kafka(users={"arriero": "mule"}, mechanism=mechanism, tls=tls)
    bench = KafkaBench(
        broker, small_registry, security=broker.security(tmp_path, *broker.super_user)
    )
    crew = Crew(bench.bus(COMPONENT))
    options = broker.client_options(*broker.super_user)
    async with client(bench, security=options) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        assert (await remote.command("start"))[-1].record["ack"] == 303
    await bench.close()
    assert remote.problems == []


@pytest.mark.slow
async def test_over_the_real_registry(kafka: Kafka, apicurio: Apicurio) -> None:
    bench = KafkaBench(kafka, apicurio)
    crew = Crew(bench.bus(COMPONENT))
    async with client(bench) as remote, crew.at_work():
        await remote.until_seen("logevent_errorCode")
        assert (await remote.command("start"))[-1].record["ack"] == 303
        async with client(bench) as late:
            assert (await late.until_seen("logevent_summaryState")).record["summaryState"] == 1
    await bench.close()
    assert remote.problems == late.problems == []
