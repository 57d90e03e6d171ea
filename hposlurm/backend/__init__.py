"""Where waves run: one seam, `Backend`, and its sides `slurm` and `local`."""

from hposlurm.backend.base import NEVER_SATISFIED, ArrayJob, Backend, ElementState, Script, Usage, WaveRequest, choose

__all__ = ["NEVER_SATISFIED", "ArrayJob", "Backend", "ElementState", "Script", "Usage", "WaveRequest", "choose"]
