"""The guard's decisions, and a real worker whose job's cgroup fills up."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.worker.gauge import Sample
from hposlurm.worker.memory import LOOK_S, Advice, Guard, advise
from tests.worker.kernel import MB, Kernel
from tests.worker.study import Study, report, until

LIMIT = 100_000 * MB
RISING, STABLE, SPIKE = "sustained_high_memory_rising", "sustained_high_memory_stable", "swap_spike"


def looks(*percents: float, swaps: dict[int, int] | None = None) -> list[Sample]:
    return [Sample(round(p * LIMIT / 100), LIMIT, (swaps or {}).get(i, 0)) for i, p in enumerate(percents)]


@pytest.mark.parametrize(
    ("percents", "advice", "reason"),
    [
        ((), Advice.NOTHING, ""),
        ((50,), Advice.NOTHING, ""),
        ((50, 94.9), Advice.NOTHING, ""),
        ((99, 99, 99, 99, 99, 94), Advice.NOTHING, ""),
        ((50, 95), Advice.WARN, ""),
        ((50, 99.9), Advice.WARN, ""),  # a jump is no pace: it may be a buffer that is given back
        ((96, 96, 96, 96, 96), Advice.WARN, ""),
        ((96, 96, 96, 96, 96, 96), Advice.STOP, f"{STABLE}:96.0%"),
        ((96, 96, 90, 96, 96, 96), Advice.WARN, ""),
        ((98, 98, 98, 97, 97, 96), Advice.WARN, ""),
        ((99, 98.9, 98.8, 98.7, 98.6, 98.5), Advice.WARN, ""),
        ((96, 96.1, 96.2, 96.3, 96.4), Advice.WARN, ""),
        ((96, 96.1, 96.2, 96.3, 96.4, 96.5), Advice.STOP, f"{RISING}:96.5%"),
        ((96, 97.5), Advice.STOP, f"{RISING}:97.5%"),  # at this pace the kernel kills within the grace
        ((96, 96.01, 96.02, 96.03, 96.04, 96.05), Advice.STOP, f"{STABLE}:96.0%"),
        ((100, 100, 100, 100, 100, 100), Advice.STOP, f"{STABLE}:100.0%"),
    ],
)
def test_what_the_looks_call_for(percents: tuple[float, ...], advice: Advice, reason: str) -> None:
    assert advise(looks(*percents), 0.95, 5) == (advice, reason)


def test_a_swap_that_fills_needs_no_further_look() -> None:
    assert advise(looks(96, 96, swaps={1: 999 * MB}), 0.95, 5) == (Advice.WARN, "")
    assert advise(looks(96, 96, swaps={1: 1000 * MB}), 0.95, 5) == (Advice.STOP, f"{SPIKE}:1000MB")
    assert advise(looks(90, 90, swaps={1: 5000 * MB}), 0.95, 5) == (Advice.NOTHING, "")
    old = dict.fromkeys(range(3), 5000 * MB)  # what lies there since long is nobody's spike
    assert advise(looks(96, 96, 96, swaps=old), 0.95, 5) == (Advice.WARN, "")


def test_a_limit_that_changes_is_no_trend() -> None:
    before = [Sample(99 * MB, 100 * MB, 0)] * 5
    assert advise([*before, Sample(190 * MB, 200 * MB, 0)], 0.95, 5) == (Advice.WARN, "")


def test_without_grace_the_first_look_decides() -> None:
    assert advise(looks(50, 96), 0.95, 0) == (Advice.STOP, f"{STABLE}:96.0%")


SHARES = st.lists(st.floats(0, 100), min_size=1, max_size=30)


@given(SHARES, st.floats(0.01, 1), st.integers(0, 10), st.lists(st.integers(0, LIMIT), max_size=30))
def test_whatever_it_sees_it_is_calm_below_and_gives_a_reason_above(
    percents: list[float], warning: float, grace: int, swaps: list[int]
) -> None:
    seen = looks(*percents, swaps=dict(enumerate(swaps)))
    advice, reason = advise(seen, warning, grace)
    assert (advice is Advice.NOTHING) == (seen[-1].share < warning)
    assert (advice is Advice.STOP) == bool(reason)
    assert not reason or reason.split(":")[0] in (RISING, STABLE, SPIKE)


@given(SHARES)
def test_memory_that_falls_is_never_asked_to_stop(percents: list[float]) -> None:
    falling = sorted({round(p, 1) for p in percents}, reverse=True)
    assert advise(looks(*falling), 0.5, 3)[0] is not Advice.STOP or len(falling) == 1


@given(st.floats(95, 100), st.integers(0, 10))
def test_memory_that_stays_high_is_always_asked_in_the_end(percent: float, grace: int) -> None:
    seen = looks(*[percent] * (grace + 1))
    assert advise(seen, 0.95, grace)[0] is Advice.STOP
    assert grace == 0 or advise(seen[1:], 0.95, grace)[0] is Advice.WARN


def test_the_guard_looks_once_a_second_and_says_each_thing_once() -> None:
    seen = iter(looks(50, 96, 96, 96, 97))
    taken = []

    def look() -> Sample | None:
        taken.append(next(seen, None))
        return taken[-1]

    guard = Guard(look, warning=0.95, grace=2)
    news = [guard.tick(i * LOOK_S / 4) for i in range(40)]
    assert len(taken) == 10
    assert [n for n in news if n is not Advice.NOTHING] == [Advice.WARN, Advice.STOP]
    assert guard.asked == f"{STABLE}:96.0%"
    assert guard.peak is None  # what the host uses is not the job's


def test_the_guard_keeps_the_peak_of_a_cgroup_that_is_the_job_s_own() -> None:
    seen = iter([Sample(5, 100, 0, True), Sample(7, 100, 0, True), Sample(6, 100, 0, True), Sample(50, 100, 0)])
    guard = Guard(lambda: next(seen, None), warning=0.95, grace=2)
    for i in range(6):
        guard.tick(i * LOOK_S)
    assert guard.peak == 7


# ---- the real worker, told that its cgroup is another

WORKER = """
import sys
from pathlib import Path
from hposlurm.worker import gauge
from hposlurm.worker.__main__ import main
gauge.PROC, gauge.CGROUP = Path(sys.argv[1], "proc"), Path(sys.argv[1], "cgroup")
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    kernel = Kernel.make(tmp_path / "kernel")
    kernel.v2(job_7=(500 * MB, 900 * MB))
    return kernel


def start(study: Study, kernel: Kernel) -> subprocess.Popen[str]:
    words = [sys.executable, "-P", "-c", WORKER, str(kernel.root), str(study.root), "0", "0"]
    process = subprocess.Popen(words, env=study.environ(), stderr=subprocess.PIPE, text=True)
    study.processes.append(process)
    return process


def fill(kernel: Kernel, used: int) -> None:
    kernel.fill(kernel.cgroup / "system.slice/slurmstepd.scope/job_7", used, 900 * MB)


SAVES_AND_LEAVES = (
    f"{report(1, eval_loss=1)}; echo '{{\"listening\": true}}' >> $HPOSLURM_METRICS_FILE; echo up > up; "
    'until [ -e "$HPOSLURM_REQUEST_FILE" ]; do sleep 0.05; done; cat "$HPOSLURM_REQUEST_FILE" > asked; '
    "echo '{\"stopping\": true}' >> $HPOSLURM_METRICS_FILE"
)


def test_a_job_that_fills_its_memory_is_asked_to_save_and_stop(study: Study, kernel: Kernel) -> None:
    study.plan(SAVES_AND_LEAVES, memory_grace_steps=1)
    process = start(study, kernel)
    study.file("up")
    fill(kernel, 880 * MB)
    _, error = process.communicate(timeout=30)
    assert process.returncode == 1
    assert study.file("asked") == f"{STABLE}:97.8%"
    assert study.end() == ("fail", f"{STABLE}:97.8% (memory guard: asked to save and stop)")
    assert "memory runs short, 97.8% of the 0.8 GiB of its cgroup job_7 are used" in error
    memories = [r for r in study.records() if r["kind"] == "memory"]
    assert {m["peak_host_gb"] for m in memories[1:]} == {round(880 * MB / 2**30, 3)}
    assert len(memories) == 3  # at the warning, at the request, at the end


def test_one_that_the_kernel_kills_all_the_same_says_why(study: Study, kernel: Kernel) -> None:
    study.plan(f"{report(1, eval_loss=1)}; echo up > up; until [ -e stop ]; do sleep 0.05; done; kill -9 $$",
               memory_grace_steps=0)  # fmt: skip
    process = start(study, kernel)
    study.file("up")
    fill(kernel, 899 * MB)
    until(study.trial().request.exists)
    (study.root / "stop").touch()
    process.communicate(timeout=30)
    outcome, reason = study.end()
    assert (outcome, reason.split(" ")[0]) == ("fail", f"{STABLE}:99.9%")
    assert "killed by signal 9 (SIGKILL)" in reason


def test_one_that_never_asks_is_left_to_finish(study: Study, kernel: Kernel) -> None:
    command = f"echo up > up; until [ -e stop ]; do sleep 0.05; done; {report(1, eval_loss=1)}"
    study.plan(command, memory_grace_steps=0)
    process = start(study, kernel)
    study.file("up")
    fill(kernel, 899 * MB)
    until(study.trial().request.exists)
    (study.root / "stop").touch()
    process.communicate(timeout=30)
    assert study.end() == ("complete", "")


def test_memory_that_is_given_back_is_warned_about_alone(study: Study, kernel: Kernel) -> None:
    command = f"echo up > up; until [ -e stop ]; do sleep 0.05; done; {report(1, eval_loss=1)}"
    study.plan(command, memory_grace_steps=60)
    process = start(study, kernel)
    study.file("up")
    fill(kernel, 880 * MB)
    until(lambda: any(r["kind"] == "memory" for r in study.records()))
    fill(kernel, 400 * MB)
    (study.root / "stop").touch()
    _, error = process.communicate(timeout=30)
    assert study.end() == ("complete", "")
    assert "memory runs short" in error and "asked to save" not in error
    assert not study.trial().request.exists()


def test_a_guard_that_is_off_does_not_look(study: Study, kernel: Kernel) -> None:
    fill(kernel, 899 * MB)
    study.plan(f"sleep 1.5; {report(1, eval_loss=1)}", memory_warning=None, memory_grace_steps=0)
    process = start(study, kernel)
    _, error = process.communicate(timeout=30)
    assert study.end() == ("complete", "")
    assert error.count("\n") == 1
    assert json.loads(study.layout.wave(0).plan.read_bytes())["memory_warning"] is None
