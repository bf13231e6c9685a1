"""Turns a definition file into rules, and collects what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

from daemons.bus import Topic
from daemons.runtime.problems import KeyPath, Problem, dotted
from headerservice import units
from headerservice.catalogue import Catalogue
from headerservice.definitions import (
    KeywordEntry,
    KeywordFile,
    SensorEntry,
    Sensors,
    SourceName,
    UnitChange,
    Validity,
)
from headerservice.field_checks import FieldChecks
from headerservice.rules import (
    Dating,
    Definitions,
    EventPlan,
    Gate,
    Interpolation,
    KeywordRule,
    ReadingRule,
    Role,
    SensorPlan,
    SensorRule,
    Source,
)


class Compiler:
    """Compiles one definition file.

    Parameters
    ----------
    file
        The file, with those that it extends below it.
    catalogue
        What the topics carry.
    where
        Tells `file:line` of a key.
    """

    def __init__(
        self, file: KeywordFile, catalogue: Catalogue, where: Callable[[KeyPath], str]
    ) -> None:
        self._file = file
        self._where = where
        self.problems: list[Problem] = []
        self._checks = FieldChecks(catalogue, self._problem)
        self._enums: Mapping[str, Mapping[str, int]] = {**catalogue.enums, **file.enums}
        events = file.exposure
        self._start = self._topic(events.start, ("exposure", "start"))
        self._readout = (
            None if events.readout is None else self._topic(events.readout, ("exposure", "readout"))
        )
        self._end = self._topic(events.end, ("exposure", "end"))
        also = [
            self._topic(each, ("exposure", "also", index)) for index, each in enumerate(events.also)
        ]
        self._roles: dict[Topic, Role] = {
            **dict.fromkeys(also, Role.ALSO),
            **({} if self._readout is None else {self._readout: Role.READOUT}),
            self._end: Role.END,
            self._start: Role.START,
        }

    def definitions(self, digest: str, files: tuple[Path, ...]) -> Definitions:
        """Return the compiled definitions; `problems` says whether they can be used."""
        self._check_topics()
        self._check_events()
        self._check_comparisons()
        return Definitions(
            instrument=self._file.instrument,
            events=self._event_plan(),
            instants=MappingProxyType(
                {
                    name: tuple(
                        self._instant(source, ("instants", name, index))
                        for index, source in enumerate(sources)
                    )
                    for name, sources in self._file.instants.items()
                }
            ),
            sections=tuple(
                (
                    section.section,
                    tuple(
                        self._rule(entry, ("primary", number, "keywords", index))
                        for index, entry in enumerate(section.keywords)
                    ),
                )
                for number, section in enumerate(self._file.primary)
            ),
            sensors=None if self._file.sensors is None else self._sensors(self._file.sensors),
            digest=digest,
            files=files,
            witnesses=tuple(
                self._rule(entry, ("witnesses", index))
                for index, entry in enumerate(self._file.witnesses)
            ),
            crosschecks=self._file.crosschecks,
            wcs=self._file.wcs,
        )

    def _problem(self, path: KeyPath, what: str, hint: str = "") -> None:
        self.problems.append(Problem(self._where(path), dotted(path), what, hint))

    # Topics and events.

    def _topic(self, topic: Topic, path: KeyPath) -> Topic:
        """Return a topic with the component that its name stands for."""
        if topic.component[:1].isupper():
            return topic
        component = self._file.components.get(topic.component)
        if component is None:
            known = ", ".join(self._file.components) or "none"
            self._problem(
                path, f"there is no {topic.component} among `components`", f"known: {known}"
            )
            return topic
        return Topic(component.name, topic.name, topic.index or component.index)

    def _check_topics(self) -> None:
        for name in self._file.topics:
            component, _, rest = name.partition(".")
            bare = component.partition(":")[0]
            if not rest.isidentifier() or not bare.isidentifier():
                self._problem(("topics", name), "is not of the form Component[:index].topic")
            elif not bare[:1].isupper() and bare not in self._file.components:
                self._problem(("topics", name), f"there is no {bare} among `components`")

    def _check_events(self) -> None:
        events = self._file.exposure
        named = [("start", self._start), ("end", self._end)]
        if self._readout is not None:
            named.append(("readout", self._readout))
        if len({topic for _, topic in named}) < len(named):
            self._problem(
                ("exposure",),
                "start, readout and end are not different events",
                "leave `readout` out where `end` says that the readout begins",
            )
        for role, topic in named:
            if not topic.is_event:
                self._problem(("exposure", role), f"{topic} is no event")
            self._checks.kind(topic, events.name_field, "str", ("exposure", role))
        for index, each in enumerate(events.also):
            topic = self._topic(each, ("exposure", "also", index))
            self._checks.kind(topic, events.name_field, "str", ("exposure", "also", index))
        self._checks.kind(self._start, events.date_field, "str", ("exposure", "date_field"))
        for key in ("exposure_time_field", "timeout_field"):
            field = getattr(events, key)
            if field is not None:
                self._checks.kind(self._start, field, "float", ("exposure", key))
        self._check_keywords()

    def _check_keywords(self) -> None:
        """Check that every keyword is there once, and that the one that decides is there."""
        seen: set[str] = set()
        for number, section in enumerate(self._file.primary):
            for index, entry in enumerate(section.keywords):
                if entry.keyword in seen:
                    self._problem(
                        ("primary", number, "keywords", index, "keyword"),
                        f"{entry.keyword} stands there more than once",
                        "keep one",
                    )
                seen.add(entry.keyword)
        deciding = self._file.exposure.image_type_keyword
        if deciding not in seen:
            self._problem(
                ("exposure", "image_type_keyword"),
                f"{deciding} is no keyword of the primary header",
            )

    def _check_comparisons(self) -> None:
        """Check that cross-checks and world coordinates name keywords that there are."""
        known = {entry.keyword for section in self._file.primary for entry in section.keywords}
        for index, entry in enumerate(self._file.witnesses):
            if entry.keyword in known:
                self._problem(("witnesses", index), f"{entry.keyword} is a keyword already")
            known.add(entry.keyword)
        used: list[tuple[KeyPath, str]] = []
        if self._file.crosschecks is not None:
            used += self._file.crosschecks.keywords()
        if self._file.wcs is not None:
            used += self._file.wcs.keywords()
        for path, keyword in used:
            if keyword not in known:
                self._problem(
                    path, f"{keyword} is no keyword of the primary header, and no witness"
                )

    def _event_plan(self) -> EventPlan:
        events = self._file.exposure
        return EventPlan(
            roles=MappingProxyType(self._roles),
            name_field=events.name_field,
            exposure_time_field=events.exposure_time_field,
            timeout_field=events.timeout_field or "",
            date_field=events.date_field,
            image_type_keyword=events.image_type_keyword,
        )

    def _instant(self, name: SourceName, path: KeyPath) -> Source:
        source = self._source(name, path)
        self._checks.kind(source.topic, source.field, "float", path)
        if source.role is None:
            self._problem(path, f"{source.topic} is no event of the exposure")
        return source

    def _source(self, name: SourceName, path: KeyPath, entry: KeywordEntry | None = None) -> Source:
        topic = self._topic(name.topic, path)
        dating = self._dating(name.topic, topic)
        if entry is not None:
            dating = Dating(
                time_field=entry.time or dating.time_field,
                scale=dating.scale,
                expires_field=dating.expires_field,
                max_age_s=entry.max_age_s or dating.max_age_s,
                array_step_s=dating.array_step_s,
                stream=dating.stream,
            )
        self._checks.field(topic, name.field, path)
        for field in (dating.time_field, dating.expires_field):
            if field is not None:
                self._checks.kind(topic, field, "float", path)
        return Source(topic=topic, field=name.field, dating=dating, role=self._roles.get(topic))

    def _dating(self, said: Topic, topic: Topic) -> Dating:
        """Return what `topics` says of a topic: of its index before all, by either name."""
        names = (
            str(said),
            f"{said.component}.{said.name}",
            str(topic),
            f"{topic.component}.{topic.name}",
        )
        known = next((self._file.topics[name] for name in names if name in self._file.topics), None)
        if known is None:
            return Dating()
        return Dating(
            time_field=known.time,
            scale=known.scale,
            expires_field=known.expires,
            max_age_s=known.max_age_s,
            array_step_s=known.array_step_s,
            stream=known.stream,
        )

    # Keywords.

    def _rule(self, entry: KeywordEntry, path: KeyPath) -> KeywordRule:
        sources = tuple(self._source(name, (*path, "from"), entry) for name in entry.sources)
        source_unit, target_unit = _units(entry.unit)
        for source in sources:
            self._checks.use(source, entry, source_unit, path)
        return KeywordRule(
            keyword=entry.keyword,
            comment=_comment(entry.comment, target_unit),
            required=self._required(entry, path),
            reading=self._reading(entry, source_unit, target_unit, path),
            sources=sources,
            at=entry.at,
            interpolation=Interpolation(entry.interpolate),
            pick=entry.pick,
            fixed=entry.value,
            compute=entry.compute,
        )

    def _reading(
        self, entry: KeywordEntry, source_unit: str | None, target_unit: str | None, path: KeyPath
    ) -> ReadingRule:
        scale, turn = 1.0, None
        if source_unit is not None and target_unit is not None and entry.sources:
            scale = self._number(lambda: units.factor(source_unit, target_unit), (*path, "unit"))
            if entry.interpolate == "angular":
                turn = self._number(lambda: units.period(source_unit), (*path, "unit"))
        unset = {*entry.unset} | ({""} if entry.type == "str" and entry.form is None else set())
        return ReadingRule(
            type=entry.type,
            item=entry.item,
            key=entry.key,
            keys_field=entry.keys,
            enum=self._enum(entry.enum, path),
            form=entry.form,
            scale=scale,
            period=turn,
            range=entry.range or (None, None),
            unset=frozenset(unset),
            unset_when=tuple(entry.unset_when.items()),
            gate=None if entry.valid_when is None else _gate(entry.valid_when),
            decimals=entry.decimals,
        )

    def _number(self, compute: Callable[[], float], path: KeyPath) -> float:
        try:
            return compute()
        except ValueError as error:
            self._problem(path, str(error))
            return 1.0

    def _enum(self, name: str | None, path: KeyPath) -> Mapping[int, str] | None:
        if name is None:
            return None
        alias, dot, rest = name.partition(".")
        component = self._file.components.get(alias)
        members = self._enums.get(f"{component.name}{dot}{rest}" if component else name)
        if members is None:
            self._problem(
                (*path, "enum"), f"there is no enumeration {name}", "write it out below `enums`"
            )
            return MappingProxyType({})
        return MappingProxyType({number: member for member, number in members.items()})

    def _required(self, entry: KeywordEntry, path: KeyPath) -> bool | frozenset[str]:
        if isinstance(entry.required, bool):
            return entry.required
        types = self._file.image_types.get(entry.required)
        if types is None:
            known = ", ".join(self._file.image_types) or "none"
            self._problem(
                (*path, "required"),
                f"there is no set of image types {entry.required}",
                f"known: {known}",
            )
            return False
        return frozenset(name.upper() for name in types)

    # Sensors.

    def _sensors(self, sensors: Sensors) -> SensorPlan:
        path: KeyPath = ("sensors",)
        topic = self._topic(sensors.topic, (*path, "topic"))
        self._checks.kind(topic, sensors.names_field, "str", (*path, "names_field"))
        if sensors.sizes is not None:
            self._checks.kind(topic, sensors.sizes.field, "str", (*path, "sizes"))
        if any(entry.compute for entry in sensors.keywords) and sensors.sizes is None:
            self._problem(path, "`detector_size` needs `sizes`")
        source = self._source(SourceName(sensors.topic, sensors.names_field), (*path, "topic"))
        return SensorPlan(
            source=source,
            at=sensors.at,
            hdu=sensors.hdu,
            size_field=None if sensors.sizes is None else sensors.sizes.field,
            sizes=MappingProxyType({} if sensors.sizes is None else dict(sensors.sizes.of)),
            rules=tuple(
                self._sensor_rule(topic, sensors, entry, (*path, "keywords", index))
                for index, entry in enumerate(sensors.keywords)
            ),
        )

    def _sensor_rule(
        self, topic: Topic, sensors: Sensors, entry: SensorEntry, path: KeyPath
    ) -> SensorRule:
        field, own = entry.field, None
        if entry.source is not None:
            own, field = self._topic(entry.source.topic, (*path, "from")), entry.source.field
            if own not in self._roles:
                self._problem(
                    (*path, "from"),
                    f"{own} is no event of the exposure",
                    "name it in `exposure.also`",
                )
            self._checks.kind(own, entry.names_field or sensors.names_field, "str", path)
        if field is not None:
            self._checks.sensor(own or topic, field, entry, path)
        return SensorRule(
            keyword=entry.keyword,
            comment=_comment(entry.comment, entry.unit),
            required=entry.required,
            reading=ReadingRule(
                type=entry.type,
                range=entry.range or (None, None),
                unset=frozenset({*entry.unset} | ({""} if entry.type == "str" else set())),
            ),
            field=field,
            topic=own,
            names_field=entry.names_field or sensors.names_field,
        )


def _units(unit: str | UnitChange | None) -> tuple[str | None, str | None]:
    if isinstance(unit, UnitChange):
        return unit.source, unit.target
    return unit, unit


def _gate(said: Validity) -> Gate:
    one_of = None if said.one_of is None else frozenset[object](said.one_of)
    return Gate(said.field, said.min, said.max, one_of)


def _comment(text: str, unit: str | None) -> str:
    return f"[{unit}] {text}" if unit else text
