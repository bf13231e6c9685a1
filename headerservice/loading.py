"""Reads a keyword definition file and checks it against the SAL dictionary."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

from daemons.bus import BusError, Topic
from daemons.bus.sal.dictionary import FieldSpec, SalDictionary
from daemons.runtime.problems import KeyPath, Problem, dotted, settings_error
from daemons.runtime.settings import LoadedSettings, load_settings
from headerservice import units
from headerservice.definitions import (
    KeywordEntry,
    KeywordFile,
    SensorEntry,
    Sensors,
    SourceName,
    UnitChange,
    Validity,
)
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
    digest_of,
)
from translators.resources import config_root

_SAL_TYPES: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "str": frozenset({"string"}),
        "bool": frozenset({"boolean", "int", "long"}),
        "int": frozenset({"int", "long"}),
        "float": frozenset({"float", "double", "int", "long"}),
    }
)
"""Avro types that can be read as each type of value."""


def definitions_path(instrument: str) -> Path:
    """Return where the shipped keyword definitions of an instrument are."""
    return config_root() / "instruments" / instrument / "keywords.yaml"


def load_definitions(path: Path, dictionary: SalDictionary) -> Definitions:
    """Read, check and compile keyword definitions.

    Parameters
    ----------
    path
        The file.
    dictionary
        What the topics carry: every field must exist, with the declared unit.

    Raises
    ------
    SettingsError
        One line, with file and line number, for each thing that is wrong.
    """
    loaded = load_settings(KeywordFile, path, environ={})
    compiler = _Compiler(loaded, dictionary)
    definitions = compiler.definitions(digest_of(path.read_bytes()))
    if compiler.problems:
        raise settings_error(compiler.problems)
    return definitions


class _Compiler:
    """Turns a definition file into rules, collecting what is wrong with it."""

    def __init__(self, loaded: LoadedSettings[KeywordFile], dictionary: SalDictionary) -> None:
        self._loaded = loaded
        self._file = loaded.value
        self._dictionary = dictionary
        self.problems: list[Problem] = []
        events = self._file.exposure
        self._roles: dict[Topic, Role] = {
            events.start: Role.START,
            events.readout: Role.READOUT,
            events.end: Role.END,
            **dict.fromkeys(events.also, Role.ALSO),
        }
        self._enums: Mapping[str, Mapping[str, int]] = {**dictionary.enums, **self._file.enums}

    def definitions(self, digest: str) -> Definitions:
        """Return the compiled definitions; `problems` says whether they can be used."""
        self._check_topics()
        return Definitions(
            instrument=self._file.instrument,
            events=self._event_plan(),
            instants=MappingProxyType(
                {
                    name: tuple(
                        self._source(source, ("instants", name, index))
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
        )

    def _problem(self, path: KeyPath, what: str, hint: str = "") -> None:
        key = dotted(path)
        where = next(
            origin
            for length in range(len(path), -1, -1)
            if (origin := self._loaded.origin(dotted(path[:length]))) != "default" or not length
        )
        place = where if where != "default" else str(self._loaded.path)
        self.problems.append(Problem(place, key, what, hint))

    def _event_plan(self) -> EventPlan:
        events = self._file.exposure
        for name, topic in (("start", events.start), ("readout", events.readout)):
            self._field(topic, events.name_field, ("exposure", name))
        for field in ("exposure_time_field", "timeout_field", "date_field"):
            self._field(events.start, getattr(events, field), ("exposure", field))
        keywords = [entry.keyword for section in self._file.primary for entry in section.keywords]
        for keyword in sorted({each for each in keywords if keywords.count(each) > 1}):
            self._problem(("primary",), f"{keyword} stands there more than once", "keep one")
        if events.image_type_keyword not in keywords:
            self._problem(
                ("exposure", "image_type_keyword"),
                f"{events.image_type_keyword} is no keyword of the primary header",
            )
        return EventPlan(
            roles=MappingProxyType(self._roles),
            name_field=events.name_field,
            exposure_time_field=events.exposure_time_field,
            timeout_field=events.timeout_field,
            date_field=events.date_field,
            image_type_keyword=events.image_type_keyword,
        )

    def _check_topics(self) -> None:
        for name in self._file.topics:
            component, _, rest = name.partition(".")
            if not rest.isidentifier() or not component.partition(":")[0].isidentifier():
                self._problem(("topics", name), "is not of the form Component[:index].topic")

    def _source(self, name: SourceName, path: KeyPath, entry: KeywordEntry | None = None) -> Source:
        topic = name.topic
        bare = f"{topic.component}.{topic.name}"
        said = self._file.topics.get(str(topic)) or self._file.topics.get(bare)
        time = said.time if said is not None else None
        age = said.max_age_s if said is not None else None
        if entry is not None:
            time = entry.time or time
            age = entry.max_age_s or age
        dating = Dating(
            time_field=time,
            scale=said.scale if said is not None else "tai",
            expires_field=said.expires if said is not None else None,
            max_age_s=age,
        )
        self._field(topic, name.field, path)
        for field in (dating.time_field, dating.expires_field):
            if field is not None:
                self._field(topic, field, path)
        return Source(topic=topic, field=name.field, dating=dating, role=self._roles.get(topic))

    def _field(self, topic: Topic, field: str, path: KeyPath) -> FieldSpec | None:
        """Return what the dictionary says of a field; note where it does not exist."""
        try:
            spec = self._dictionary.get(topic)
        except BusError as error:
            self._problem(path, str(error))
            return None
        for candidate in spec.fields:
            if candidate.name == field:
                return candidate
        known = ", ".join(candidate.name for candidate in spec.fields) or "none"
        self._problem(path, f"{topic} has no field {field}", f"it has {known}")
        return None

    def _rule(self, entry: KeywordEntry, path: KeyPath) -> KeywordRule:
        sources = tuple(self._source(name, (*path, "from"), entry) for name in entry.sources)
        source_unit, target_unit = self._units(entry.unit)
        for name in entry.sources:
            self._check_use(name, entry, source_unit, path)
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

    @staticmethod
    def _units(unit: str | UnitChange | None) -> tuple[str | None, str | None]:
        if isinstance(unit, UnitChange):
            return unit.source, unit.target
        return unit, unit

    def _reading(
        self, entry: KeywordEntry, source_unit: str | None, target_unit: str | None, path: KeyPath
    ) -> ReadingRule:
        scale, turn = 1.0, None
        if source_unit is not None and target_unit is not None and entry.sources:
            scale = self._number(lambda: units.factor(source_unit, target_unit), (*path, "unit"))
            if entry.interpolate == "angular":
                turn = self._number(lambda: units.period(source_unit), (*path, "unit"))
        gate = entry.valid_when
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
            gate=None
            if gate is None
            else Gate(
                gate.field,
                gate.min,
                gate.max,
                None if gate.one_of is None else frozenset(gate.one_of),
            ),
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
        members = self._enums.get(name)
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

    def _check_use(
        self, name: SourceName, entry: KeywordEntry, unit: str | None, path: KeyPath
    ) -> None:
        """Check type, count and unit of a field, and the fields read beside it."""
        others = [*entry.unset_when, *([entry.keys] if entry.keys else [])]
        if entry.valid_when is not None:
            others.append(entry.valid_when.field)
        for field in others:
            self._field(name.topic, field, path)
        spec = self._field(name.topic, name.field, path)
        if spec is None:
            return
        raw = "int" if entry.enum else "float" if entry.form else entry.type
        raw = "str" if entry.key else raw
        if spec.avro_type not in _SAL_TYPES[raw]:
            self._problem((*path, "type"), f"{name} is a {spec.sal_type}, not a {raw}")
        if (spec.count > 1) != (entry.item is not None) or (entry.item or 0) >= max(spec.count, 1):
            self._problem(
                (*path, "item"), f"{name} has {spec.count} element(s)", "set `item` accordingly"
            )
        self._check_unit(spec, entry, unit, path)

    def _check_unit(
        self, spec: FieldSpec, entry: KeywordEntry, unit: str | None, path: KeyPath
    ) -> None:
        if not spec.units or entry.form is not None:
            return
        try:
            fits = unit is not None and units.same(spec.units, unit)
        except ValueError:
            return  # the dictionary has units that are none; then nothing can be said
        if not fits and not units.is_plain(spec.units):
            self._problem(
                (*path, "unit"),
                f"the bus has it in {spec.units}, the definition says {unit or 'no unit'}",
                f"write `unit: {{from: {spec.units}, to: ...}}`",
            )

    def _sensors(self, sensors: Sensors) -> SensorPlan:
        path: KeyPath = ("sensors",)
        fields = [sensors.names_field, *([sensors.sizes.field] if sensors.sizes else [])]
        for field in fields:
            self._field(sensors.topic, field, path)
        if any(entry.compute for entry in sensors.keywords) and sensors.sizes is None:
            self._problem(path, "`detector_size` needs `sizes`")
        return SensorPlan(
            source=self._source(SourceName(sensors.topic, sensors.names_field), path),
            at=sensors.at,
            hdu=sensors.hdu,
            size_field=None if sensors.sizes is None else sensors.sizes.field,
            sizes=MappingProxyType({} if sensors.sizes is None else dict(sensors.sizes.of)),
            rules=tuple(
                self._sensor_rule(sensors.topic, entry, (*path, "keywords", index))
                for index, entry in enumerate(sensors.keywords)
            ),
        )

    def _sensor_rule(self, topic: Topic, entry: SensorEntry, path: KeyPath) -> SensorRule:
        if entry.field is not None:
            self._field(topic, entry.field, path)
        return SensorRule(
            keyword=entry.keyword,
            comment=_comment(entry.comment, entry.unit),
            required=entry.required,
            reading=ReadingRule(
                type=entry.type,
                range=entry.range or (None, None),
                unset=frozenset({""}) if entry.type == "str" else frozenset(),
            ),
            field=entry.field,
        )


def _gate(said: Validity) -> Gate:
    one_of = None if said.one_of is None else frozenset[object](said.one_of)
    return Gate(said.field, said.min, said.max, one_of)


def _comment(text: str, unit: str | None) -> str:
    return f"[{unit}] {text}" if unit else text


def keywords_of(definitions: Definitions) -> Iterator[str]:
    """Yield every keyword that a header of this instrument can have."""
    for rule in definitions.rules:
        yield rule.keyword
    if definitions.sensors is not None:
        for sensor_rule in definitions.sensors.rules:
            yield sensor_rule.keyword
