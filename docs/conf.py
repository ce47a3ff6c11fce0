"""Sphinx configuration."""

import sys
from pathlib import Path

from storescp.uids import VERSION

sys.path.append(str(Path(__file__).parent))  # where option_table is

project = "storescp"
author = "the storescp authors"
version = release = VERSION
extensions = ["option_table", "sphinx.ext.autodoc"]
html_theme = "alabaster"
man_pages = [("storescp", "storescp", "receive DICOM instances and store them as files", "", 1)]
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
exclude_patterns = ["_build"]
