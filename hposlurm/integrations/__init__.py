"""Bridges from training libraries to `hposlurm.client`; each module needs the library that it is named after."""
