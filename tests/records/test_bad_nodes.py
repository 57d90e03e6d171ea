"""A node on which trials fail that complete elsewhere is found; a bad command, or bad luck, is not blamed on nodes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.planner.settle import END_STATES
from hposlurm.records.bad_nodes import NODE_FAULTS, BadNode, bad_nodes, exclusion
from hposlurm.records.old_causes import cause_of
from hposlurm.trial import Attempt, JobState, Outcome, Trial, TrialState
from hposlurm.worker.verdict import Ending, judge

EXIT = "command exited with status 1"


def attempt(host: str, outcome: Outcome = Outcome.FAIL, reason: str = EXIT) -> Attempt:
    return Attempt(0, 0, 0, "1_0", host, 2, 1.0, outcome=outcome, reason=reason, cause=cause_of(outcome, reason))


def trial(number: int, *attempts: Attempt) -> Trial:
    done = any(a.outcome is Outcome.COMPLETE for a in attempts)
    state = TrialState.COMPLETE if done else TrialState.FAIL
    return Trial(number, {}, "", 0, 0, state, attempts=attempts)


def study(**endings: str) -> list[Trial]:
    """Trials by node: "+" completed there, "-" failed there."""
    flat = [(node, sign) for node, signs in endings.items() for sign in signs]
    return [
        trial(n, attempt(node, Outcome.COMPLETE, "") if sign == "+" else attempt(node))
        for n, (node, sign) in enumerate(flat)
    ]


@pytest.mark.parametrize(
    ("endings", "bad"),
    [
        ({"n1": "--", "n2": "++"}, ["n1"]),
        ({"n1": "-", "n2": "+++++++"}, []),
        ({"n1": "--"}, []),  # nowhere else was anything tried
        ({"n1": "--", "n2": "--", "n3": "--"}, []),  # the command is bad
        ({"n1": "--", "n2": "-+", "n3": "+-"}, []),
        ({"n1": "-" * 6, "n2": "-" * 6, "n3": "++", "n4": "++"}, ["n1", "n2"]),  # they eat the whole queue
        ({"n1": "+" * 8 + "--", "n2": "+" * 9 + "-", "n3": "+" * 9 + "-"}, []),  # it happens everywhere now and then
        ({"n1": "+" * 50 + "---", "n2": "+" * 80}, ["n1"]),  # it broke after a good while
        ({"n1": "-+-", "n2": "+" * 12}, ["n1"]),
        ({"n1": "-" * 2000, "n2": "+" * 2000}, ["n1"]),
    ],
)
def test_a_bad_node_stands_out(endings: dict[str, str], bad: list[str]) -> None:
    assert [found.node for found in bad_nodes(study(**endings))] == bad


def test_it_takes_two_different_trials() -> None:
    good = [trial(n, attempt("n2", Outcome.COMPLETE, "")) for n in range(5)]
    assert bad_nodes([*good, trial(5, attempt("n1"), attempt("n1"))]) == ()
    assert bad_nodes([*good, trial(5, attempt("n1")), trial(6, attempt("n1"))]) == (BadNode("n1", (5, 6), 0),)


def test_a_trial_that_fails_on_every_node_has_only_itself_to_blame() -> None:
    good = [trial(n, attempt("n2", Outcome.COMPLETE, "")) for n in range(5)]
    wanderers = [trial(5 + n, attempt("n1"), attempt("n3")) for n in range(4)]
    assert bad_nodes([*good, *wanderers]) == ()
    rescued = [trial(9 + n, attempt("n1"), attempt("n3"), attempt("n2", Outcome.COMPLETE, "")) for n in range(2)]
    assert [b.node for b in bad_nodes([*good, *rescued])] == ["n1", "n3"]


@pytest.mark.parametrize(
    ("outcome", "reason", "blamed"),
    [
        (Outcome.FAIL, EXIT, True),
        (Outcome.FAIL, "command was killed by signal 9 (SIGKILL)", True),
        (Outcome.FAIL, "the job ended FAILED before its worker started: no such file", True),
        (Outcome.INTERRUPTED, "lost: no result record", True),
        (Outcome.FAIL, "eval_loss at step 3 is nan", False),
        (Outcome.FAIL, "trial.timeout of 5 s exceeded", False),
        (Outcome.FAIL, "time limit: the job used up resources.time, without a checkpoint to go on from", False),
        (Outcome.FAIL, "swap_spike:90MB (memory guard: asked to save and stop)", False),
        (Outcome.INFEASIBLE, "out of GPU memory: torch.OutOfMemoryError", False),
        (Outcome.INTERRUPTED, "its node failed", False),  # Slurm takes it out itself
        (Outcome.DROPPED, "cancelled", False),
    ],
)
def test_what_a_node_may_be_blamed_for(outcome: Outcome, reason: str, blamed: bool) -> None:
    good = [trial(n, attempt("n2", Outcome.COMPLETE, "")) for n in range(9)]
    failing = [trial(10 + n, attempt("n1", outcome, reason)) for n in range(3)]
    assert bool(bad_nodes([*good, *failing])) is blamed


def test_a_failed_command_and_a_job_without_a_record_may_be_the_nodes_fault() -> None:
    lost = [JobState.COMPLETED, JobState.FAILED, JobState.UNKNOWN]
    failed = [judge(Ending(code), [], {})[1] for code in (1, -9, 137, None)]
    kinds = [*(cause.kind for cause in failed if cause), *(END_STATES[state].cause for state in lost)]
    assert len(kinds) == 7 and {*kinds} <= {*NODE_FAULTS}


def test_never_more_than_half_of_the_nodes_are_left_out() -> None:
    bad = [BadNode(f"n{i}", (1, 2), 0) for i in range(3)]
    assert exclusion(bad, [f"n{i}" for i in range(6)]) == (("n0", "n1", "n2"), "")
    names, note = exclusion(bad, [f"n{i}" for i in range(5)])
    assert names == ()
    assert note == "trials fail on n0, n1, n2, more than half of the 5 usable nodes: none of them is excluded"


def test_a_name_that_the_cluster_does_not_know_is_no_node_to_keep_away_from() -> None:
    assert exclusion([BadNode("laptop", (1, 2), 0)], ["n1", "n2"]) == ((), "")
    assert exclusion([BadNode("n1", (1, 2), 0)], []) == ((), "")


@given(st.dictionaries(st.sampled_from(["n1", "n2", "n3", "n4"]), st.text("+-", max_size=12), max_size=4))
def test_never_are_all_nodes_bad(endings: dict[str, str]) -> None:
    seen = {node for node, signs in endings.items() if signs}
    assert {b.node for b in bad_nodes(study(**endings))} < seen or not seen


def test_why() -> None:
    assert BadNode("n1", (3, 8), 0).why == "trials 3, 8 failed there, none completed"
    assert BadNode("n1", (1, 2, 3, 4, 5, 6), 1).why == "trials 1, 2, 3, 4, 5, … failed there, 1 completed"
