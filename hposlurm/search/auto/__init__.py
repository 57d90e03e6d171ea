"""The default search, `algorithm: auto`: a model of all rungs proposes, promotion decides how far trials train."""

from hposlurm.search.auto.recipe import next_requests, trusted_rungs_of

__all__ = ["next_requests", "trusted_rungs_of"]
