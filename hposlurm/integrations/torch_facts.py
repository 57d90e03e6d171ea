"""`python -m hposlurm.integrations.torch_facts` prints, as JSON, what this Python's torch can do on this machine.

Runs in its own process, because importing a torch that does not fit the driver may crash the process.
"""

from __future__ import annotations

import json
from typing import Any


def torch_facts() -> dict[str, Any]:
    """Returns the version, CUDA, the first GPU and whether a kernel runs on it; {"error": …} without a usable torch."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    facts: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "card": None}
    if torch.cuda.is_available():
        facts["card"] = torch.cuda.get_device_name(0)
        facts["capability"] = list(torch.cuda.get_device_capability(0))
        facts["arch_list"] = torch.cuda.get_arch_list()
        facts["kernel_error"] = _kernel_error(torch)
    return facts


def _kernel_error(torch: Any) -> str:
    try:
        fine = float((torch.ones(8, device="cuda") + 1).sum()) == 16.0
    except RuntimeError as error:
        return str(error).splitlines()[0]
    return "" if fine else "an addition on the GPU gives a wrong result"


if __name__ == "__main__":
    print(json.dumps(torch_facts()))
