"""Sphinx configuration."""

import sys
from pathlib import Path

import twisted.internet.interfaces
from zope.interface.interface import InterfaceClass

import storescp.interfaces
from storescp.uids import VERSION

sys.path.append(str(Path(__file__).parent))  # where the directives are

# Sphinx prints a type by its qualified name, and an interface has none.
for module in (storescp.interfaces, twisted.internet.interfaces):
    for name, value in vars(module).items():
        if isinstance(value, InterfaceClass):
            value.__qualname__ = name

project = "storescp"
author = copyright = "the storescp authors"
version = release = VERSION
extensions = ["conformance_statement", "option_table", "state_table", "sphinx.ext.autodoc"]
html_theme = "alabaster"
html_sidebars = {"**": ["about.html", "searchfield.html", "navigation.html", "localtoc.html"]}
html_theme_options = {"page_width": "1200px", "body_max_width": "none", "description": "A DICOM Storage SCP on Twisted"}
html_static_path = ["_static"]
html_css_files = ["style.css"]
man_pages = [("storescp", "storescp", "receive DICOM instances and store them as files", "", 1)]
toc_object_entries = False
maximum_signature_line_length = 100
autodoc_member_order = "bysource"
autodoc_inherit_docstrings = False
exclude_patterns = ["_build"]
