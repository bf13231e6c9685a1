"""Messages of the control bus as other SAL software puts them on Kafka, byte for byte.

Written with the test bus `rig`; a schema is given by names and types alone, in their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import nan
from typing import Any

_PRIVATE = (
    ("private_sndStamp", "double"),
    ("private_rcvStamp", "double"),
    ("private_efdStamp", "double"),
    ("private_kafkaStamp", "double"),
    ("private_seqNum", "int"),
    ("private_revCode", "string"),
    ("private_identity", "string"),
    ("private_origin", "int"),
)
_INDEX = (("salIndex", "int"),)


@dataclass(frozen=True)
class Sample:
    kafka_topic: str
    key: bytes
    schema_id: int
    fields: Sequence[tuple[str, Any]]
    """Name and Avro type."""
    value: bytes
    record: Mapping[str, Any]

    @property
    def schema(self) -> dict[str, Any]:
        _, _, component, name = self.kafka_topic.split(".")
        return {
            "type": "record",
            "name": name,
            "namespace": f"lsst.sal.{component}",
            "fields": [{"name": field, "type": kind} for field, kind in self.fields],
        }


SAMPLES = (
    Sample(
        kafka_topic="lsst.rig.MTHeaderService.logevent_heartbeat",
        key=b'{ "name": "MTHeaderService", "topic": "logevent_heartbeat" }',
        schema_id=10,
        fields=(
            *_PRIVATE,
            ("heartbeat", "boolean"),
        ),
        value=bytes.fromhex(
            "000000000a660683506cc0da410000000000000000660643476cc0da41660683506cc0da4106"
            "1032656663636566361e4d544865616465725365727669636586fe0200"
        ),
        record={
            "private_sndStamp": 1795273026.0472655,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272989.0472655,
            "private_kafkaStamp": 1795273026.0472655,
            "private_seqNum": 3,
            "private_revCode": "2efccef6",
            "private_identity": "MTHeaderService",
            "private_origin": 24451,
            "heartbeat": False,
        },
    ),
    Sample(
        kafka_topic="lsst.rig.MTHeaderService.logevent_summaryState",
        key=b'{ "name": "MTHeaderService", "topic": "logevent_summaryState" }',
        schema_id=16,
        fields=(
            *_PRIVATE,
            ("summaryState", "int"),
        ),
        value=bytes.fromhex(
            "000000001072d1e5526cc0da41000000000000000072d1a5496cc0da4172d1e5526cc0da4104"
            "1063316236643163371e4d544865616465725365727669636586fe0202"
        ),
        record={
            "private_sndStamp": 1795273035.5909085,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272998.5909085,
            "private_kafkaStamp": 1795273035.5909085,
            "private_seqNum": 2,
            "private_revCode": "c1b6d1c7",
            "private_identity": "MTHeaderService",
            "private_origin": 24451,
            "summaryState": 1,
        },
    ),
    Sample(
        kafka_topic="lsst.rig.MTHeaderService.command_start",
        key=b'{ "name": "MTHeaderService", "topic": "command_start" }',
        schema_id=7,
        fields=(
            *_PRIVATE,
            ("configurationOverride", "string"),
        ),
        value=bytes.fromhex(
            "0000000007b6a7e1526cc0da410000000000000000b6a7a1496cc0da41b6a7e1526cc0da418a"
            "a28acd0e103562393336343836247665726966696572406c6f63616c686f737486fe0200"
        ),
        record={
            "private_sndStamp": 1795273035.5258613,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272998.5258613,
            "private_kafkaStamp": 1795273035.5258613,
            "private_seqNum": 1959872645,
            "private_revCode": "5b936486",
            "private_identity": "verifier@localhost",
            "private_origin": 24451,
            "configurationOverride": "",
        },
    ),
    Sample(
        kafka_topic="lsst.rig.MTHeaderService.ackcmd",
        key=b'{ "name": "MTHeaderService", "topic": "ackcmd" }',
        schema_id=8,
        fields=(
            *_PRIVATE,
            ("ack", "int"),
            ("error", "int"),
            ("result", "string"),
            ("identity", "string"),
            ("origin", "int"),
            ("cmdtype", "int"),
            ("timeout", "double"),
        ),
        value=bytes.fromhex(
            "00000000084ae3e5526cc0da4100000000000000004ae3a5496cc0da414ae3e5526cc0da418a"
            "a28acd0e1032613566643035311e4d544865616465725365727669636586fe02de040008446f"
            "6e65247665726966696572406c6f63616c686f737486fe020c0000000000000000"
        ),
        record={
            "private_sndStamp": 1795273035.5919976,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272998.5919976,
            "private_kafkaStamp": 1795273035.5919976,
            "private_seqNum": 1959872645,
            "private_revCode": "2a5fd051",
            "private_identity": "MTHeaderService",
            "private_origin": 24451,
            "ack": 303,
            "error": 0,
            "result": "Done",
            "identity": "verifier@localhost",
            "origin": 24451,
            "cmdtype": 6,
            "timeout": 0.0,
        },
    ),
    Sample(
        kafka_topic="lsst.rig.MTHeaderService.logevent_largeFileObjectAvailable",
        key=b'{ "name": "MTHeaderService", "topic": "logevent_largeFileObjectAvailable" }',
        schema_id=11,
        fields=(
            *_PRIVATE,
            ("url", "string"),
            ("generator", "string"),
            ("version", "float"),
            ("byteSize", "int"),
            ("checkSum", "string"),
            ("mimeType", "string"),
            ("id", "string"),
        ),
        value=bytes.fromhex(
            "000000000b5aa7f3526cc0da4100000000000000005aa7b3496cc0da415aa7f3526cc0da4102"
            "1033643463306439301e4d544865616465725365727669636586fe02f20168747470733a2f2f"
            "73332e6578616d706c652e6f72672f727562696e6f62732d6c66612d63702f4d544865616465"
            "72536572766963652f6865616465722f323032352f31322f33312f4d54486561646572536572"
            "766963655f6865616465725f4d435f4f5f32303235313233315f3030303030312e79616d6c1e"
            "4d54486561646572536572766963650000803fb6bf2a40396531303764396433373262623638"
            "323662643831643335343261343139643612746578742f79616d6c284d435f4f5f3230323531"
            "3233315f303030303031"
        ),
        record={
            "private_sndStamp": 1795273035.8070893,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272998.8070893,
            "private_kafkaStamp": 1795273035.8070893,
            "private_seqNum": 1,
            "private_revCode": "3d4c0d90",
            "private_identity": "MTHeaderService",
            "private_origin": 24451,
            "url": "https://s3.example.org/rubinobs-lfa-cp/MTHeaderService/header/2025/12/31/MTHeaderService_header_MC_O_20251231_000001.yaml",
            "generator": "MTHeaderService",
            "version": 1.0,
            "byteSize": 348123,
            "checkSum": "9e107d9d372bb6826bd81d3542a419d6",
            "mimeType": "text/yaml",
            "id": "MC_O_20251231_000001",
        },
    ),
    Sample(
        kafka_topic="lsst.rig.ESS.temperature",
        key=b"",
        schema_id=27,
        fields=(
            *_INDEX,
            *_PRIVATE,
            ("sensorName", "string"),
            ("timestamp", "double"),
            ("numChannels", "int"),
            ("temperatureItem", {"type": "array", "items": "float"}),
            ("location", "string"),
        ),
        value=bytes.fromhex(
            "000000001bda04a2d9f9526cc0da410000000000000000a2d9b9496cc0da41a2d9f9526cc0da"
            "41021035653234646437380e4553533a33303186fe020e6578616d706c656bd8f9526cc0da41"
            "0220000004410000c07f0000c07f0000c07f0000c07f0000c07f0000c07f0000c07f0000c07f"
            "0000c07f0000c07f0000c07f0000c07f0000c07f0000c07f0000c07f00086d617374"
        ),
        record={
            "salIndex": 301,
            "private_sndStamp": 1795273035.9039083,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272998.9039083,
            "private_kafkaStamp": 1795273035.9039083,
            "private_seqNum": 1,
            "private_revCode": "5e24dd78",
            "private_identity": "ESS:301",
            "private_origin": 24451,
            "sensorName": "example",
            "timestamp": 1795273035.903834,
            "numChannels": 1,
            "temperatureItem": [
                8.25,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
                nan,
            ],
            "location": "mast",
        },
    ),
    Sample(
        kafka_topic="lsst.rig.MTCamera.logevent_startIntegration",
        key=b'{ "name": "MTCamera", "topic": "logevent_startIntegration" }',
        schema_id=29,
        fields=(
            *_PRIVATE,
            ("additionalKeys", "string"),
            ("additionalValues", "string"),
            ("imagesInSequence", "int"),
            ("imageName", "string"),
            ("imageIndex", "int"),
            ("imageSource", "string"),
            ("imageController", "string"),
            ("imageDate", "string"),
            ("imageNumber", "int"),
            ("timestampAcquisitionStart", "double"),
            ("exposureTime", "double"),
            ("mode", "string"),
            ("timeout", "double"),
        ),
        value=bytes.fromhex(
            "000000001d73b0fd526cc0da41000000000000000073b0bd496cc0da4173b0fd526cc0da4102"
            "106431393136396132104d5443616d65726186fe0252696d616765547970653a67726f757049"
            "643a74657374547970653a726561736f6e3a70726f6772616d6a4f424a4543543a323032352d"
            "31322d33315432335c3a35395c3a30312e3030303a4f424a4543543a785f6761703a424c4f43"
            "4b2d3102284d435f4f5f32303235313233315f30303030303102044d43024f10323032353132"
            "3331026daffd526cc0da410000000000002e40000000000000003940"
        ),
        record={
            "private_sndStamp": 1795273035.9638946,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272998.9638946,
            "private_kafkaStamp": 1795273035.9638946,
            "private_seqNum": 1,
            "private_revCode": "d19169a2",
            "private_identity": "MTCamera",
            "private_origin": 24451,
            "additionalKeys": "imageType:groupId:testType:reason:program",
            "additionalValues": "OBJECT:2025-12-31T23\\:59\\:01.000:OBJECT:x_gap:BLOCK-1",
            "imagesInSequence": 1,
            "imageName": "MC_O_20251231_000001",
            "imageIndex": 1,
            "imageSource": "MC",
            "imageController": "O",
            "imageDate": "20251231",
            "imageNumber": 1,
            "timestampAcquisitionStart": 1795273035.9638321,
            "exposureTime": 15.0,
            "mode": "",
            "timeout": 25.0,
        },
    ),
    Sample(
        kafka_topic="lsst.rig.ScriptQueue.logevent_nextVisit",
        key=b'{ "name": "ScriptQueue", "index": 1, "topic": "logevent_nextVisit" }',
        schema_id=61,
        fields=(
            *_INDEX,
            *_PRIVATE,
            ("scriptSalIndex", "int"),
            ("groupId", "string"),
            ("coordinateSystem", "int"),
            ("position", {"type": "array", "items": "double"}),
            ("startTime", "double"),
            ("rotationSystem", "int"),
            ("cameraAngle", "double"),
            ("filters", "string"),
            ("dome", "int"),
            ("duration", "double"),
            ("nimages", "int"),
            ("instrument", "string"),
            ("survey", "string"),
            ("totalCheckpoints", "int"),
        ),
        value=bytes.fromhex(
            "000000003d02e80701536cc0da410000000000000000e807c1496cc0da41e80701536cc0da41"
            "021063656562326364301a53637269707451756575653a3186fe02c29a0c2e323032352d3132"
            "2d33315432333a35393a30312e3030300404cdcccccccc8c4a409a99999999193cc000c60601"
            "586cc0da4104000000000000294008695f3339040000000000003140020e4c53535443616d0e"
            "424c4f434b2d3102"
        ),
        record={
            "salIndex": 1,
            "private_sndStamp": 1795273036.0161076,
            "private_rcvStamp": 0.0,
            "private_efdStamp": 1795272999.0161076,
            "private_kafkaStamp": 1795273036.0161076,
            "private_seqNum": 1,
            "private_revCode": "ceeb2cd0",
            "private_identity": "ScriptQueue:1",
            "private_origin": 24451,
            "scriptSalIndex": 100001,
            "groupId": "2025-12-31T23:59:01.000",
            "coordinateSystem": 2,
            "position": [53.1, -28.1],
            "startTime": 1795273056.0160384,
            "rotationSystem": 2,
            "cameraAngle": 12.5,
            "filters": "i_39",
            "dome": 2,
            "duration": 17.0,
            "nimages": 1,
            "instrument": "LSSTCam",
            "survey": "BLOCK-1",
            "totalCheckpoints": 1,
        },
    ),
)
