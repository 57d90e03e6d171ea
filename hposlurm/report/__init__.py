"""Reports: shows people a study's history. Everything here only reads records.

May import backend, decisions, search, spec and records, and writes no records.
"""
