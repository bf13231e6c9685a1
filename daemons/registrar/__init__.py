"""Facility: a stored image becomes a dataset of the Butler."""
