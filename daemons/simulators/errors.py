"""The exception tree of the simulators.

::

    SimulatorError              (ArrieroError)
    ├── HeaderDocumentError     the header service answered something that is no header
    ├── ManifestError           the manifest cannot be read
    └── NightMismatchError      the manifest belongs to another night (exit 78)

A header that does not come is no exception: the camera writes undefined values.
"""

from __future__ import annotations

from daemons.runtime.errors import ArrieroError


class SimulatorError(ArrieroError):
    """Root of what the simulators raise."""

    code = "simulator.error"


class HeaderDocumentError(SimulatorError):
    """The header service answered something that is no header."""

    code = "simulator.header_document"


class ManifestError(SimulatorError):
    """The manifest cannot be read."""

    code = "simulator.manifest"


class NightMismatchError(SimulatorError):
    """The manifest belongs to another night, so going on from it makes no sense."""

    code = "simulator.night_mismatch"
    exit_code = 78
