"""A training loop in small: it saves, leaves and goes on, and shows every step that was lost or done twice."""

from __future__ import annotations

# One number per step that depends on all steps before it: whoever loses or repeats one ends elsewhere. It saves when it
# is asked to, and every `often` steps; `trace` has every step that was really done.
LOOP = """
import json, os, sys, time
from hposlurm import client

steps, often, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
state, begin = 1.0, 0
if client.resume_from():
    saved = json.loads(client.resume_from().read_text())
    state, begin = saved["state"], saved["step"]
trace = open(os.path.join(os.environ["HPOSLURM_TRIAL_DIR"], "trace"), "a")
for step in range(begin + 1, steps + 1):
    time.sleep(seconds)
    state = (state * 1.37 + step) % 11
    print(os.environ["HPOSLURM_ATTEMPT"], step, file=trace, flush=True)
    asked = client.should_stop()
    if asked or step % often == 0:
        path = client.checkpoint_dir() / f"step-{step}.json"
        path.write_text(json.dumps({"state": state, "step": step}))
        client.report_checkpoint(step, path)
    if asked:
        sys.exit(0)
client.report(step=steps, eval_loss=state)
"""


def expected(steps: int) -> float:
    state = 1.0
    for step in range(1, steps + 1):
        state = (state * 1.37 + step) % 11
    return state
