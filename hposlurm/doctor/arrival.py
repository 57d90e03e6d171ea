"""Derives findings from the probe job's records: the job, the compute node, its torch and its TMPDIR. Pure."""

from __future__ import annotations

import re
from typing import Any

from hposlurm import __version__
from hposlurm.doctor.cluster import BY_HAND
from hposlurm.doctor.finding import Finding, fail, ok, unknown, warn
from hposlurm.doctor.job import ProbeOutcome, ProbeRequest
from hposlurm.doctor.mounts import size
from hposlurm.trial import JobState

_SMALL_TMPDIR = 5 * 1024**3
#: The findings that need a probe job, in the order of the report.
NAMES = ("probe_job", "job_sbatch", "node", "torch", "tmpdir")


def findings(request: ProbeRequest, outcome: ProbeOutcome) -> list[Finding]:
    """Returns one finding for each of NAMES."""
    parts = outcome.parts or {}
    found = [probe_job(outcome)]
    if "sbatch" in parts:
        found.append(job_sbatch(parts["sbatch"]))
    if "node" in parts:
        found += [node(parts["node"], request.token), tmpdir(parts["node"])]
    if "torch" in parts:
        found.append(torch(parts["torch"], parts.get("node", {}), request.gpus))
    known = {finding.name: finding for finding in found}
    return [known.get(name) or unknown(name, "not known: see probe job") for name in NAMES]


def probe_job(outcome: ProbeOutcome) -> Finding:
    """Checks that the job was accepted, started and ended normally."""
    name, state = "probe_job", outcome.last
    if outcome.refusal:
        return fail(name, outcome.refusal, "name a partition or an account: --partition P, --account A")
    if not outcome.has_started:
        reason = f" ({state.detail})" if state.detail not in ("", "None") else ""
        found = f"job {outcome.job_id} did not start in {outcome.waited_s:.0f} s{reason} and was cancelled"
        return unknown(name, found, "wait longer (--wait 600), or try a --partition with free nodes")
    found = f"job {outcome.job_id} started after {outcome.waited_s:.1f} s"
    if outcome.parts and "torch" in outcome.parts:
        return ok(name, found)
    if outcome.parts:
        return warn(name, f"{found}, but ended before its checks were done", "is the file system slow? Try again")
    if state.state is JobState.COMPLETED:
        advice = "do the compute nodes see the study root? Name a directory on a shared file system: --root"
        return fail(name, f"{found} and ended, but its records are not visible here", advice)
    last = f": {outcome.log_tail}" if outcome.log_tail else ""
    advice = "do the compute nodes see this Python and the study root (a shared file system)?"
    return fail(name, f"{found} and ended {state.state}{last}", advice)


def job_sbatch(part: dict[str, Any]) -> Finding:
    """Checks that a job may submit jobs, as the planner does after each wave."""
    if error := part.get("error"):
        if part.get("is_limit"):
            return unknown("job_sbatch", str(error), "your limit on jobs is reached: try again when fewer are queued")
        return warn("job_sbatch", str(error), BY_HAND)
    return ok("job_sbatch", f"a job may call sbatch (job {part.get('job_id')}, submitted on hold and cancelled)")


def node(part: dict[str, Any], token: str) -> Finding:
    """Checks that the compute node runs the same hposlurm and sees the study root."""
    name = part.get("name") or part.get("host")
    found = f"{name}: Python {part.get('python')}, hposlurm {part.get('version')}, sees the study root"
    if part.get("version") != __version__:
        return fail(
            "node", found, f"here it is hposlurm {__version__}: use one installation for both, on a shared file system"
        )
    if part.get("token") != token:
        return fail("node", f"{name} reads an outdated file in the study root", "name another directory: --root")
    return ok("node", found)


def tmpdir(part: dict[str, Any]) -> Finding:
    """Checks the space for what each job builds and caches on its node."""
    free, kind = int(part.get("tmpdir_free") or 0), part.get("tmpdir_kind")
    found = f"{part.get('tmpdir')} ({kind}), {size(free)} free"
    if free < _SMALL_TMPDIR:
        return warn("tmpdir", found, "little space for caches: export TMPDIR=<node-local disk> in slurm.setup")
    if str(kind).startswith("nfs"):
        return warn("tmpdir", found, "not local to the node: export TMPDIR=<node-local disk> in slurm.setup")
    return ok("tmpdir", found)


def torch(part: dict[str, Any], where: dict[str, Any], gpus: int) -> Finding:
    """Checks that this Python's torch can use the GPU that the job was given."""
    name = "torch"
    if error := part.get("error"):
        if part.get("is_slow"):
            return unknown(name, str(error), "the file system is slow, or its caches were empty: try again")
        return warn(name, str(error), "fine if your trials use another Python; otherwise install torch here")
    found = f"{part.get('version')}"
    if not gpus:
        return ok(name, f"{found}; no GPU was requested")
    if not part.get("card"):
        return _no_card(found, part, where)
    capability = (int(part["capability"][0]), int(part["capability"][1]))
    card = f"{found} on {part['card']} (sm_{capability[0]}{capability[1]})"
    arches = [str(arch) for arch in part.get("arch_list", [])]
    if not covers(arches, capability):
        advice = "this torch was not built for the GPU: for a V100 (sm_70) use torch 2.14 or older from the cu126 index"
        return fail(name, f"{card}; built for {', '.join(arches)}", advice)
    if part.get("kernel_error"):
        return fail(name, f"{card}: {part['kernel_error']}", "driver and torch do not match: ask for a newer driver")
    # not torch.cuda.is_bf16_supported(): it is also true if bf16 is only emulated, which is slow
    precision = "bf16" if capability >= (8, 0) else "no bf16 (emulated below sm_80): train in fp16"
    return ok(name, f"{card}; {precision}")


def _no_card(found: str, part: dict[str, Any], where: dict[str, Any]) -> Finding:
    built = "" if part.get("cuda") else ", built without CUDA"
    if where.get("has_driver"):
        what = f"{found}{built}, sees no GPU, although the node has an NVIDIA driver"
        return fail("torch", what, "install a torch for CUDA, and check CUDA_VISIBLE_DEVICES in a job")
    ids = where.get("gpu_ids") or "none"
    what = f"{found}{built}; Slurm gave GPU {ids}, but the node has no NVIDIA driver"
    return warn("torch", what, "trials train on the CPU there: fine for a test, otherwise ask for the driver")


def covers(arches: list[str], capability: tuple[int, int]) -> bool:
    """True if code for `arches` runs on a GPU of this compute capability.

    Binary code (sm_XY) runs on the same major and the same or a newer minor version, PTX (compute_XY) on any newer one.
    """
    major, minor = capability
    if not any(arch.startswith(("sm_", "compute_")) for arch in arches):
        return True  # GPUs of another vendor (gfx…): the kernel test decides
    for arch in arches:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
        if not found:
            continue
        kind, built = found.group(1), (int(found.group(2)), int(found.group(3)))
        if found.group(4) == "a":  # only for exactly this capability
            fits = built == capability
        elif kind == "compute" and not found.group(4):
            fits = built <= capability
        else:
            fits = built[0] == major and built[1] <= minor
        if fits:
            return True
    return False
