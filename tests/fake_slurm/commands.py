"""A file-backed imitation of the Slurm commands that hposlurm calls, under their names. $FAKE_SLURM is its directory.

Jobs are JSON files there; nothing runs by itself, but see node.py. `limit` in it holds how many elements and jobs may
be in the queue, `lost` how many of the next answers of sbatch get lost after the job was created. If `accounting` is
there, sacct answers, and says that its database does not if that holds 0; if `hidden` is, the partition is hidden; if
`forgetful` is, squeue leaves out all elements. sbatch prints `banner` before the job id.

Each call is a process, and tests make tens of thousands: this is a module because Python keeps it compiled, and it does
without pathlib, whose import would take a third of the time.
"""

# ruff: noqa: PTH104, PTH110, PTH119, PTH208

import fcntl
import json
import os
import re
import sys

DONE = ("COMPLETED", "CANCELLED", "FAILED")


def fail(message):
    print(message, file=sys.stderr)
    sys.exit(1)


def at(name):
    return f"{os.environ['FAKE_SLURM']}/{name}"


def is_there(name):
    return os.path.exists(at(name))


def read(path):
    with open(path) as file:
        return file.read()


def write(name, text):
    with open(at(name), "w") as file:
        file.write(text)


def jobs():
    names = sorted(
        name for name in os.listdir(os.environ["FAKE_SLURM"]) if name.startswith("job-") and name.endswith(".json")
    )
    return [json.loads(read(at(name))) for name in names]


def save(job):
    name = f"job-{job['id']}"
    write(f"{name}.new", json.dumps(job))
    os.rename(at(f"{name}.new"), at(f"{name}.json"))


def number(name):
    return int(read(at(name))) if is_there(name) else None


def sbatch(arguments):
    text = read(arguments[-1])
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", text, re.MULTILINE))
    array = options.get("array")
    count = int(array.partition("%")[0].partition("-")[2]) + 1 if array else 1
    limit = number("limit")
    active = sum(state not in DONE for job in jobs() for state in job["states"])
    if limit is not None and active + count > limit:
        fail("sbatch: error: AssocMaxSubmitJobLimit\n"
             "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy "
             "(job submit limit, user's size and/or time limits)")  # fmt: skip
    job = {
        "id": str(1000 + len(jobs())),
        "name": options["job-name"],
        "comment": options.get("comment", "(null)"),
        "after": re.findall(r"\d+", options.get("dependency", "").partition(",")[0]),
        "array": bool(array),
        "held": "hold" in options,
        "released": 0,
        "reason": "",
        "states": ["PENDING"] * count,
        "script": text,
        "at_once": int((array or "").partition("%")[2] or 0),
        "gpus": int(options.get("gpus-per-node", "0").rpartition(":")[2]),
    }
    save(job)
    lost = number("lost")
    if lost:
        write("lost", str(lost - 1))
        fail("sbatch: error: Batch job submission failed: Socket timed out on send/recv operation")
    print(f"{read(at('banner'))}{job['id']}" if is_there("banner") else job["id"])


def reason(job):
    return job["reason"] or ("JobHeldUser" if job["held"] else "Dependency" if job["after"] else "None")


def is_filtered(prefix, state):
    """As squeue(1) and scancel(1): the environment's filters leave out jobs, and the exit status stays 0."""
    if os.environ.get("SLURM_CLUSTERS", "fake") != "fake":
        fail("error: no cluster of that name can be reached now")
    wanted = {"PARTITION": "batch", "USERS": "me", "USER": "me", "ACCOUNT": "mine", "STATES": state, "STATE": state}
    return any(os.environ.get(f"{prefix}_{name}", value) != value for name, value in wanted.items())


def squeue(arguments):
    form = arguments[arguments.index("-o") + 1]
    wanted = arguments[arguments.index("-j") + 1].split(",") if "-j" in arguments else None
    names = next((a.partition("=")[2].split(",") for a in arguments if a.startswith("--name=")), None)
    is_all = "-t" in arguments and arguments[arguments.index("-t") + 1] == "all"
    if is_there("hidden") and "-a" not in arguments:
        return
    known = jobs()
    if "-w" in arguments:
        nodes = arguments[arguments.index("-w") + 1].split(",")
        known = [job for job in known if job.get("node") in nodes and "RUNNING" in job["states"]]
    if wanted is not None and not any(job["id"] in wanted for job in known):
        fail("slurm_load_jobs error: Invalid job id specified")
    for job in known:
        if (wanted is not None and job["id"] not in wanted) or (names is not None and job["name"] not in names):
            continue
        rows = [(i, state) for i, state in enumerate(job["states"]) if is_all or state not in DONE]
        rows = [] if is_there("forgetful") else [row for row in rows if not is_filtered("SQUEUE", row[1])]
        for index, state in rows if "-r" in arguments else rows[:1]:
            job_id = f"{job['id']}_{index}" if job["array"] else job["id"]
            words = {"%i": job_id, "%F": job["id"], "%j": job["name"], "%k": job["comment"], "%T": state,
                     "%u": job.get("user", "me"), "%P": "urgent", "%S": job.get("start"), "%N": job.get("node"),
                     "%r": reason(job) if state == "PENDING" else "None"}  # fmt: skip
            print(re.sub("%[a-zA-Z]", lambda found, words=words: words[found.group()], form))


def scontrol(arguments):
    if arguments[:2] == ["show", "config"]:
        print("MaxArraySize            = 1001\nKillWait                = 30 sec")
    elif arguments[0] == "release":
        for job in jobs():
            if job["id"] in arguments[1].split(","):
                save({**job, "released": job["released"] + job["held"], "held": False, "reason": ""})
    else:
        fail(f"invalid entity: {arguments}")


def scancel(arguments):
    for word in arguments:
        array, _, index = word.partition("_")
        first, _, last = index.strip("[]").partition("-")
        meant = range(int(first), int(last or first) + 1) if index else None
        for job in jobs():
            if job["id"] == array:
                changed = [
                    "CANCELLED"
                    if state not in DONE and (meant is None or i in meant) and not is_filtered("SCANCEL", state)
                    else state
                    for i, state in enumerate(job["states"])
                ]
                save({**job, "states": changed})


def sacct(arguments):
    if not is_there("accounting"):
        fail("Slurm accounting storage is disabled")
    if number("accounting") == 0:
        fail("sacct: error: Problem talking to the database: Connection refused")
    wanted = arguments[arguments.index("-j") + 1].split(",")
    for job in jobs():
        if job["id"] in wanted and "SACCT_FEDERATION" not in os.environ:
            for index, state in enumerate(job["states"]):
                print(f"{job['id']}_{index}|{state}|0|cpu=1|n1")


def srun(arguments):
    if "FAKE_SLURM_RUNS" not in os.environ:
        fail("nothing runs here")
    command = [word for i, word in enumerate(arguments) if not all(w.startswith("--") for w in arguments[: i + 1])]
    os.execvp(command[0], command)


def main(argv=sys.argv):
    with open(at("lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        globals()[os.path.basename(argv[0])](argv[1:])
