"""Checks of what headers say, the catalogue of findings, and the policy that weighs them."""
