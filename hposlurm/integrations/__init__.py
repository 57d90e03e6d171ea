"""Bridges from training libraries to `hposlurm.client`; each module needs the library that it is named after.

May import the client and records, and the one training library that a module is named after.
"""
