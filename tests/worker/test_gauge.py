from pathlib import Path

import pytest

from hposlurm.worker.gauge import Gauge, Sample
from tests.worker.kernel import MB, Kernel


@pytest.fixture
def kernel(tmp_path: Path) -> Kernel:
    return Kernel.make(tmp_path / "kernel")


def look(kernel: Kernel) -> Sample:
    sample = Gauge(kernel.proc, kernel.cgroup).look()
    assert sample is not None
    return sample


def test_without_a_limit_the_host_counts(kernel: Kernel) -> None:
    kernel.v2()
    kernel.host(available=100 * MB, swap=50 * MB)
    sample = look(kernel)
    assert (sample.limit, sample.is_own, sample.place) == (pytest.approx(1000 * MB, abs=1024), False, "the host")
    assert sample.share == pytest.approx(0.9, abs=1e-5)
    assert sample.swap == pytest.approx(50 * MB, abs=2048)


def test_the_job_s_limit_counts_and_its_peak_is_its_own(kernel: Kernel) -> None:
    kernel.v2(job_7=(90 * MB, 100 * MB), task_0=(80 * MB, None))
    assert look(kernel) == Sample(90 * MB, 100 * MB, 0, True, "its cgroup job_7")


def test_of_several_limits_the_one_with_the_least_room_counts(kernel: Kernel) -> None:
    kernel.v2(job_7=(190 * MB, 200 * MB), step_0=(60 * MB, 100 * MB))
    assert look(kernel).place == "its cgroup job_7"
    kernel.v2(job_7=(100 * MB, 200 * MB), step_0=(99 * MB, 100 * MB))
    assert look(kernel).place == "its cgroup step_0"


def test_a_file_cache_is_no_use_of_memory(kernel: Kernel) -> None:
    kernel.v2()
    kernel.fill(kernel.cgroup / kernel.path.strip("/"), 99 * MB, 100 * MB, cache=60 * MB, swap=3 * MB)
    assert (look(kernel).used, look(kernel).swap) == (39 * MB, 3 * MB)


def test_version_1_counts_alike(kernel: Kernel) -> None:
    kernel.v1(90 * MB, 100 * MB, swap=5 * MB)
    assert look(kernel) == Sample(70 * MB, 100 * MB, 5 * MB, True, "its cgroup task_0")


def test_version_1_without_a_limit_is_the_host(kernel: Kernel) -> None:
    kernel.v1(90 * MB, 9223372036854771712)
    assert look(kernel).place == "the host"


def test_a_limit_above_the_host_s_memory_is_none(kernel: Kernel) -> None:
    kernel.v2(job_7=(1, 2000 * MB))
    assert look(kernel).place == "the host"


@pytest.mark.parametrize("path", ["/docker/0123", "/../../user.slice"])
def test_in_a_container_the_container_s_own_limit_counts(tmp_path: Path, path: str) -> None:
    kernel = Kernel.make(tmp_path / "kernel", path)
    (kernel.proc / "self" / "cgroup").write_text(f"0::{path}\n")
    kernel.fill(kernel.cgroup, 50 * MB, 60 * MB)
    sample = look(kernel)
    assert (sample.used, sample.limit, sample.is_own) == (50 * MB, 60 * MB, False)


@pytest.mark.parametrize("text", ["", "garbage\n", "0::/gone\n", "1:memory:/x\n", "\x00::\xff\n"])
def test_what_cannot_be_understood_leaves_the_host(kernel: Kernel, text: str) -> None:
    (kernel.proc / "self" / "cgroup").write_text(text)
    assert look(kernel).place == "the host"


def test_where_nothing_can_be_read_nothing_is_known(tmp_path: Path) -> None:
    assert Gauge(tmp_path, tmp_path).look() is None


def test_a_level_that_vanishes_while_watched_is_left_out(kernel: Kernel) -> None:
    kernel.v2(job_7=(90 * MB, 100 * MB))
    gauge = Gauge(kernel.proc, kernel.cgroup)
    (kernel.cgroup / "system.slice/slurmstepd.scope/job_7/memory.current").unlink()
    sample = gauge.look()
    assert sample is not None and sample.place == "the host"


def test_this_machine_can_be_looked_at() -> None:
    sample = Gauge().look()
    assert sample is not None
    assert sample.used > 0 and sample.limit > 100 * MB and sample.swap >= 0
