"""Reports: what people see of a history. Everything here only reads.

May import backend, decisions, search, spec and records, and writes nothing.
"""
