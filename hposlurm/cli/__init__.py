"""The command line: parses, calls one method of Study, prints. One module per family of verbs.

It may import every other room; nothing imports it.
"""
