"""The search: which parameters the next trials have, as a pure function of the history."""

from hposlurm.search.observation import Observation, Suggestion
from hposlurm.search.seeds import derive_seed
from hposlurm.search.suggestions import suggest

__all__ = ["Observation", "Suggestion", "derive_seed", "suggest"]
