"""Sphinx configuration."""

project = "storescp"
author = "the storescp authors"
extensions = ["sphinx.ext.autodoc"]
html_theme = "alabaster"
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
exclude_patterns = ["_build"]
