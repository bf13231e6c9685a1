"""The settings as they are now: some of them change without a restart."""

from __future__ import annotations

from dataclasses import dataclass

from daemons.forwarder.settings import ForwarderSettings
from daemons.runtime.settings import diff


@dataclass(slots=True)
class LiveSettings:
    """Holds the settings in force."""

    settings: ForwarderSettings

    def take_over(self, new: ForwarderSettings) -> tuple[str, ...]:
        """Take over what may change now; return the names of what needs a restart."""
        change = diff(self.settings, new)
        names = {key.split(".")[0] for key in change.reloadable}
        self.settings = self.settings.model_copy(
            update={name: getattr(new, name) for name in names}
        )
        return change.restart
