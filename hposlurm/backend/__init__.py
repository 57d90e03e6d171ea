"""Where waves run: one seam, `Backend`, and its sides `slurm` and `local`."""

from hposlurm.backend.base import ArrayJob, Backend, ElementState, Script, Usage, WaveRequest, choose

__all__ = ["ArrayJob", "Backend", "ElementState", "Script", "Usage", "WaveRequest", "choose"]
