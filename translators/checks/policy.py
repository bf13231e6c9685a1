"""What is done about findings, and how strict the checks are: the policy of an instrument.

Without any file the severity of a finding decides: an error sets the file aside,
a warning warns. The instrument's `checks.yaml` says more, and a site has the
last word: by a file that is named where the policy is asked for, or by
`<instrument>.yaml` in a folder of `$METADATA_CHECKS_PATH`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from translators.checks.catalogue import kind_of
from translators.checks.policy_file import Action, FilterSlots, ObservingDay, PolicyFile, Site
from translators.checks.yaml_lines import read_yaml, validated
from translators.errors import InstrumentDataError
from translators.findings import Finding, Severity
from translators.instruments_folders import folders, instrument_folder

PATH_VARIABLE = "METADATA_CHECKS_PATH"
"""Folders with a site's own policies, `<instrument>.yaml`, separated as in `$PATH`."""

_FILE = "checks.yaml"
_BY_SEVERITY = MappingProxyType(
    {
        Severity.ERROR: Action.QUARANTINE,
        Severity.WARNING: Action.WARN,
        Severity.INFO: Action.NOTE,
    }
)
_SEVERITIES = MappingProxyType(
    {
        Action.QUARANTINE: Severity.ERROR,
        Action.HOLD: Severity.WARNING,
        Action.WARN: Severity.WARNING,
        Action.NOTE: Severity.INFO,
    }
)
_RANK = {action: rank for rank, action in enumerate(Action)}
ValueT = TypeVar("ValueT")


@dataclass(frozen=True, slots=True)
class EffectiveLimits:
    """How far values may be apart; the defaults are those of a telescope like any other."""

    null_cards: int = 5
    pointing_arcmin: float = 1.0
    target_deg: float = 2.0
    airmass: float = 0.02
    hour_angle_h: float = 0.02
    site_m: float = 1000.0
    mjd_s: float = 0.1
    early_end_s: float = 0.5
    late_end_s: float = 600.0


@dataclass(frozen=True, slots=True)
class CheckPolicy:
    """The policy of an instrument; without arguments the default one."""

    limits: EffectiveLimits = EffectiveLimits()
    registration: tuple[tuple[str, ...], ...] = ()
    optional: frozenset[str] = frozenset()
    exempt: frozenset[str] = frozenset()
    allowed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    per_detector: frozenset[str] = frozenset()
    calibrations: frozenset[str] = frozenset({"BIAS", "DARK", "FLAT"})
    site: Site | None = None
    observing_day: ObservingDay | None = None
    filter_card: str | None = None
    filter_slots: FilterSlots | None = None
    like: str | None = None
    """Whose keyword definitions count where the instrument has none."""
    layers: tuple[PolicyFile, ...] = ()
    """The files, the strongest first."""

    def action(self, finding: Finding) -> Action:
        """Return what is done about a finding."""
        kind = kind_of(finding.code)
        if kind is not None and kind.final:
            return Action.QUARANTINE
        for layer in self.layers:
            if (action := layer.action(finding.code)) is not None:
                return action
        return _BY_SEVERITY[finding.severity]

    def weighed(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return findings with the severity that the policy gives them.

        An error sets a file aside; a finding that holds the exposure back is a
        warning about the file.
        """
        return tuple(self._weighed(finding) for finding in findings)

    def _weighed(self, finding: Finding) -> Finding:
        severity = _SEVERITIES[self.action(finding)]
        return finding if severity is finding.severity else replace(finding, severity=severity)

    def worst(self, findings: Iterable[Finding]) -> Action | None:
        """Return the gravest action that findings ask for; None where there are none."""
        return max(map(self.action, findings), key=_RANK.__getitem__, default=None)

    def holds(self, findings: Iterable[Finding]) -> tuple[Finding, ...]:
        """Return the findings that hold the exposure back."""
        return tuple(finding for finding in findings if self.action(finding) is Action.HOLD)


DEFAULT = CheckPolicy()
"""What counts where no file says otherwise."""


def policy_for(instrument_name: str | None, *, override: Path | None = None) -> CheckPolicy:
    """Return the policy of an instrument.

    Parameters
    ----------
    instrument_name
        Folder below `config/instruments`; None where no instrument is known.
    override
        A site's own file, over everything else.

    Raises
    ------
    InstrumentDataError
        A file is wrong; the message has file and line.

    Notes
    -----
    Files are read once; `forget_policies` after they changed.
    """
    own = os.environ.get(PATH_VARIABLE, "")
    return _policy(instrument_name, override, own, folders())


def forget_policies() -> None:
    """Forget what was read, so that changed files count."""
    _policy.cache_clear()


@lru_cache(maxsize=64)
def _policy(
    instrument_name: str | None,
    override: Path | None,
    own: str,
    known: tuple[Path, ...],  # noqa: ARG001 - part of the key: instruments may be added
) -> CheckPolicy:
    layers = [] if override is None else [_read(override)]
    if instrument_name is not None:
        layers += _site_layer(instrument_name, own)
        layers += _instrument_layers(instrument_name)
    return _merged(tuple(layers))


def _site_layer(instrument_name: str, own: str) -> list[PolicyFile]:
    for folder in filter(None, own.split(os.pathsep)):
        path = Path(folder) / f"{instrument_name}.yaml"
        if path.is_file():
            return [_read(path)]
    return []


def _instrument_layers(name: str) -> list[PolicyFile]:
    layers: list[PolicyFile] = []
    seen: list[str] = []
    following: str | None = name
    while following is not None:
        if following in seen:
            raise InstrumentDataError(
                f"the {_FILE} of {name}: `like` goes round, {' to '.join([*seen, following])}"
            )
        seen.append(following)
        folder = instrument_folder(following)
        if folder is None or not (folder / _FILE).is_file():
            if layers:
                raise InstrumentDataError(
                    f"the {_FILE} of {name}: it is like {following}, which has none"
                )
            break
        layers.append(_read(folder / _FILE))
        following = layers[-1].like
    return layers


def _read(path: Path) -> PolicyFile:
    return validated(read_yaml(path), PolicyFile)


def _merged(layers: tuple[PolicyFile, ...]) -> CheckPolicy:
    limits: dict[str, Any] = {}
    allowed: dict[str, tuple[str, ...]] = {}
    for layer in reversed(layers):
        limits |= layer.limits.model_dump(exclude_none=True)
        allowed |= layer.allowed or {}
    return CheckPolicy(
        limits=replace(DEFAULT.limits, **limits),
        registration=_first((layer.registration for layer in layers), DEFAULT.registration),
        optional=_names((layer.optional for layer in layers), DEFAULT.optional),
        exempt=_names((layer.exempt for layer in layers), DEFAULT.exempt),
        allowed=MappingProxyType(
            {card: tuple(text.upper() for text in texts) for card, texts in allowed.items()}
        ),
        per_detector=_names((layer.per_detector for layer in layers), DEFAULT.per_detector),
        calibrations=_names((layer.calibrations for layer in layers), DEFAULT.calibrations),
        site=_first((layer.site for layer in layers), None),
        observing_day=_first((layer.observing_day for layer in layers), None),
        filter_card=_first((layer.filter_card for layer in layers), None),
        filter_slots=_first((layer.filter_slots for layer in layers), None),
        like=_first((layer.like for layer in layers), None),
        layers=layers,
    )


def _first(values: Iterable[ValueT | None], default: ValueT) -> ValueT:
    return next((value for value in values if value is not None), default)


def _names(values: Iterable[tuple[str, ...] | None], default: frozenset[str]) -> frozenset[str]:
    found = next((value for value in values if value is not None), None)
    return default if found is None else frozenset(found)
