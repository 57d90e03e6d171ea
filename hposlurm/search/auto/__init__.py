"""The default search, `algorithm: auto`: a model over all rungs proposes, promotion decides how far each trial goes."""

from hposlurm.search.auto.premise import Premise, rank_correlation
from hposlurm.search.auto.recipe import next_requests, premise_of

__all__ = ["Premise", "next_requests", "premise_of", "rank_correlation"]
