"""The command line: parses, calls one function, prints. One module per family of verbs; nothing imports it.

May import everything; nothing imports it.
"""
