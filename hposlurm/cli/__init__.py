"""The command line: parses, calls one method of Study, prints. One module per group of verbs.

It may import every other room; no room imports it.
"""
