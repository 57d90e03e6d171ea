"""What the probe job's records mean: findings on the job, the compute node, its torch and its TMPDIR. Pure."""

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
#: Names of what only a probe job finds out, in the order of the report.
NAMES = ("probe_job", "job_sbatch", "node", "torch", "tmpdir")


def findings(request: ProbeRequest, outcome: ProbeOutcome) -> list[Finding]:
    """One finding for each of NAMES."""
    parts = outcome.parts or {}
    found = [probe_job(outcome)]
    if "sbatch" in parts:
        found.append(job_sbatch(parts["sbatch"]))
    if "node" in parts:
        found += [node(parts["node"], request.token), tmpdir(parts["node"])]
    if "torch" in parts:
        found.append(torch(parts["torch"], parts.get("node", {}), request.gpus))
    known = {finding.name: finding for finding in found}
    return [known.get(name) or unknown(name, "not found out: see probe job") for name in NAMES]


def probe_job(outcome: ProbeOutcome) -> Finding:
    """Whether the job was taken, started and ended as it should."""
    name, state = "probe_job", outcome.last
    if outcome.refusal:
        return fail(name, outcome.refusal, "name what is missing: --partition P, --account A")
    if not outcome.has_started:
        reason = f" ({state.detail})" if state.detail not in ("", "None") else ""
        found = f"job {outcome.job_id} did not start in {outcome.waited_s:.0f} s{reason} and was cancelled"
        return unknown(name, found, "wait longer (--wait 600), or try a --partition with free nodes")
    found = f"job {outcome.job_id} started after {outcome.waited_s:.1f} s"
    if outcome.parts and "torch" in outcome.parts:
        return ok(name, found)
    if outcome.parts:
        return warn(name, f"{found}, but was over before it had seen everything", "a slow file system? Try it again")
    if state.state is JobState.COMPLETED:
        advice = "do the compute nodes see the study root? Name a directory on a shared file system: --root"
        return fail(name, f"{found} and ended, but nothing of it shows here", advice)
    said = f": {outcome.log_tail}" if outcome.log_tail else ""
    advice = "do the compute nodes see this Python and the study root (a shared file system)?"
    return fail(name, f"{found} and ended {state.state}{said}", advice)


def job_sbatch(part: dict[str, Any]) -> Finding:
    """Whether a job may submit jobs, which the planner does after each wave."""
    if error := part.get("error"):
        if part.get("is_limit"):
            return unknown("job_sbatch", str(error), "your limit on jobs is reached: try again when fewer are queued")
        return warn("job_sbatch", str(error), BY_HAND)
    return ok("job_sbatch", f"a job may call sbatch (job {part.get('job_id')}, held and cancelled)")


def node(part: dict[str, Any], token: str) -> Finding:
    """Whether the compute node runs the same hposlurm and sees the study root."""
    name = part.get("name") or part.get("host")
    found = f"{name}: Python {part.get('python')}, hposlurm {part.get('version')}, sees the study root"
    if part.get("version") != __version__:
        return fail(
            "node", found, f"here it is hposlurm {__version__}: one installation for both, on a shared file system"
        )
    if part.get("token") != token:
        return fail("node", f"{name} reads an old or other file in the study root", "name another directory: --root")
    return ok("node", found)


def tmpdir(part: dict[str, Any]) -> Finding:
    """Room for what each job builds and caches on its node."""
    free, kind = int(part.get("tmpdir_free") or 0), part.get("tmpdir_kind")
    found = f"{part.get('tmpdir')} ({kind}), {size(free)} free"
    if free < _SMALL_TMPDIR:
        return warn("tmpdir", found, "little for caches: export TMPDIR=<node-local disk> in slurm.setup")
    if str(kind).startswith("nfs"):
        return warn("tmpdir", found, "not local to the node: export TMPDIR=<node-local disk> in slurm.setup")
    return ok("tmpdir", found)


def torch(part: dict[str, Any], where: dict[str, Any], gpus: int) -> Finding:
    """Whether this Python's torch can use the card that the job was given. Pure."""
    name = "torch"
    if error := part.get("error"):
        if part.get("is_slow"):
            return unknown(name, str(error), "a cold or slow file system: try it again")
        return warn(name, str(error), "fine if your trials use another Python; else install torch here")
    found = f"{part.get('version')}"
    if not gpus:
        return ok(name, f"{found}; no GPU was asked for")
    if not part.get("card"):
        return _no_card(found, part, where)
    capability = (int(part["capability"][0]), int(part["capability"][1]))
    card = f"{found} on {part['card']} (sm_{capability[0]}{capability[1]})"
    arches = [str(arch) for arch in part.get("arch_list", [])]
    if not covers(arches, capability):
        advice = "this torch was not built for the card: for a V100 (sm_70) take torch 2.14 or older of the cu126 index"
        return fail(name, f"{card}; built for {', '.join(arches)}", advice)
    if part.get("kernel_error"):
        return fail(name, f"{card}: {part['kernel_error']}", "driver and torch do not fit: ask for a newer driver")
    # not torch.cuda.is_bf16_supported(): it says yes where bf16 is only emulated, and slow
    precision = "bf16" if capability >= (8, 0) else "no bf16 (emulated below sm_80): train in fp16"
    return ok(name, f"{card}; {precision}")


def _no_card(found: str, part: dict[str, Any], where: dict[str, Any]) -> Finding:
    built = "" if part.get("cuda") else ", built without CUDA"
    if where.get("has_driver"):
        what = f"{found}{built}, sees no card, though the node has an NVIDIA driver"
        return fail("torch", what, "install a torch for CUDA; then: does the job get a card (CUDA_VISIBLE_DEVICES)?")
    ids = where.get("gpu_ids") or "none"
    what = f"{found}{built}; Slurm gave GPU {ids}, but the node has no NVIDIA driver: no card"
    return warn("torch", what, "trials train on the CPU there: fine for a rehearsal, else ask for the driver")


def covers(arches: list[str], capability: tuple[int, int]) -> bool:
    """Whether code for `arches` runs on a card: same major and no newer minor, or PTX (compute_XY) of no newer kind."""
    major, minor = capability
    if not any(arch.startswith(("sm_", "compute_")) for arch in arches):
        return True  # another make of cards (gfx…): whether a kernel runs tells
    for arch in arches:
        found = re.fullmatch(r"(sm|compute)_(\d+)(\d)([af]?)", arch)
        if not found:
            continue
        kind, built = found.group(1), (int(found.group(2)), int(found.group(3)))
        if found.group(4) == "a":  # for exactly this card
            fits = built == capability
        elif kind == "compute" and not found.group(4):
            fits = built <= capability
        else:
            fits = built[0] == major and built[1] <= minor
        if fits:
            return True
    return False
