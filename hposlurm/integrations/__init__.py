"""Adapters between training libraries and `hposlurm.client`. Each module needs the library in its name.

May import the client and records. Each module may also import the training library in its name.
"""
