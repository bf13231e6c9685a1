"""Telemetry to FITS headers: one true header for every exposure."""
