"""Sphinx configuration of arriero's documentation."""

from importlib.metadata import version as distribution_version

project = "arriero"
author = "the arriero developers"
copyright = "2026, the arriero developers"
release = distribution_version("arriero")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
exclude_patterns = ["_build", "changes"]
autodoc_typehints = "description"
html_theme = "furo"
html_title = "arriero"
