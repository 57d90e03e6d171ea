import signal

from hposlurm.records.cause_text import sentence
from hposlurm.worker.patience import DEAF_GRACE_S, ECHO_S, GRACE_S, TIMEOUT_GRACE_S, Patience


def test_nobody_is_killed_unasked() -> None:
    patience = Patience(started_at=100)
    patience.tick(1e9)
    assert not patience.is_asked
    assert not patience.is_over(1e9)


def test_sigterm_gives_the_grace() -> None:
    patience = Patience(started_at=0)
    patience.signalled(signal.SIGTERM, 10)
    assert sentence(patience.asked) == "SIGTERM (cancelled or preempted)"
    assert not patience.is_over(10 + GRACE_S - 0.1)
    assert patience.is_over(10 + GRACE_S)


def test_a_pruned_trial_has_time_to_save_and_less_once_it_is_preempted() -> None:
    patience = Patience(started_at=0, timeout_s=20)
    patience.prune("rung 1", 10)
    patience.tick(20)
    assert (sentence(patience.pruned), patience.timed_out) == ("rung 1", False)
    assert not patience.is_over(10 + DEAF_GRACE_S)
    assert patience.is_over(10 + DEAF_GRACE_S, is_listening=False)
    patience.signalled(signal.SIGTERM, 12)
    assert patience.asked is None
    assert patience.is_over(12 + GRACE_S)


def test_the_grace_that_a_command_chooses_holds_wherever_it_is_asked() -> None:
    preempted, pruned, late = (Patience(0, 20, 5, 90) for _ in range(3))
    preempted.signalled(signal.SIGTERM, 10)
    pruned.prune("rung 1", 10)
    late.tick(20)
    assert [p.deadline for p in (preempted, pruned, late)] == [100, 100, 110]


def test_whoever_leaves_already_is_not_pruned() -> None:
    patience = Patience(started_at=0)
    patience.signalled(signal.SIGUSR2, 10)
    patience.prune("rung 1", 11)
    assert (sentence(patience.asked), patience.pruned, patience.deadline) == ("SIGUSR2 (time limit ahead)", None, None)


def test_the_time_limit_s_warning_sets_no_deadline_but_the_limit_itself_does() -> None:
    patience = Patience(started_at=0)
    patience.signalled(signal.SIGUSR2, 10)
    patience.signalled(signal.SIGUSR2, 11)
    assert not patience.is_over(1e9)
    patience.signalled(signal.SIGTERM, 200)
    assert not patience.is_over(200)
    assert patience.is_over(200 + GRACE_S)
    assert sentence(patience.asked) == "SIGUSR2 (time limit ahead)"
    assert patience.asked_at == 10


def test_a_second_order_to_leave_ends_the_patience() -> None:
    patience = Patience(started_at=0, grace_s=1000)
    patience.signalled(signal.SIGINT, 10)
    assert not patience.is_over(11)
    patience.signalled(signal.SIGTERM, 11)
    assert patience.is_over(11)
    assert sentence(patience.asked) == "SIGINT"


def test_slurm_s_sigterm_may_come_twice_at_once() -> None:
    patience = Patience(started_at=0)
    patience.signalled(signal.SIGTERM, 10)
    patience.signalled(signal.SIGTERM, 10 + ECHO_S - 0.1)
    assert not patience.is_over(10 + GRACE_S - 0.1)
    assert patience.is_over(10 + GRACE_S)


def test_the_timeout_is_followed_by_a_grace_no_longer_than_itself() -> None:
    for timeout_s, grace_s in ((5, 5), (3600, TIMEOUT_GRACE_S)):
        patience = Patience(started_at=100, timeout_s=timeout_s)
        patience.tick(100 + timeout_s - 0.1)
        assert not patience.is_asked
        patience.tick(100 + timeout_s)
        assert patience.timed_out
        assert not patience.is_over(100 + timeout_s + grace_s - 0.1)
        patience.tick(100 + timeout_s + grace_s - 0.1)
        assert patience.is_over(100 + timeout_s + grace_s)


def test_a_timeout_while_leaving_on_request_is_no_timeout_but_a_deadline() -> None:
    patience = Patience(started_at=0, timeout_s=100)
    patience.signalled(signal.SIGUSR2, 90)
    patience.tick(101)
    assert not patience.timed_out
    assert patience.is_over(101 + TIMEOUT_GRACE_S)


def test_a_signal_during_a_timeout_can_only_shorten_it() -> None:
    patience = Patience(started_at=0, timeout_s=100)
    patience.tick(100)
    patience.signalled(signal.SIGTERM, 101)
    assert patience.timed_out
    assert patience.asked is None
    assert patience.is_over(101 + GRACE_S)
    patience.signalled(signal.SIGTERM, 101 + ECHO_S)
    assert patience.is_over(101 + ECHO_S)


def test_a_command_that_never_looks_for_a_request_gets_a_short_grace() -> None:
    patience = Patience(started_at=0)
    assert not patience.is_over(50, is_listening=False)
    patience.signalled(signal.SIGTERM, now=100)
    assert not patience.is_over(100 + DEAF_GRACE_S - 0.1, is_listening=False)
    assert patience.is_over(100 + DEAF_GRACE_S, is_listening=False)
    assert not patience.is_over(100 + DEAF_GRACE_S, is_listening=True)


def test_the_time_limit_s_warning_leaves_even_such_a_command_its_time() -> None:
    patience = Patience(started_at=0)
    patience.signalled(signal.SIGUSR2, now=100)
    assert not patience.is_over(1000, is_listening=False)
