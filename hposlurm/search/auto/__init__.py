"""The default search, `algorithm: auto`: a model over all rungs proposes, promotion decides how far each trial goes."""

from hposlurm.search.auto.recipe import next_requests, trusted_rungs_of

__all__ = ["next_requests", "trusted_rungs_of"]
