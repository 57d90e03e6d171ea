"""The command line: parses, calls one method of Study, prints. One module per group of verbs.

It may import every other room; no room imports it.

The modules with verbs do without `from __future__ import annotations`: Typer evaluates each annotation that is text, at
every start.
"""
