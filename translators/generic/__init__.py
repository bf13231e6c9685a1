"""Translators without Python: an instrument is a `translator.yaml` of rules."""

from translators.generic.drafting import draft

__all__ = ["draft"]
