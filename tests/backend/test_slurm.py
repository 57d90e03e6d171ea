"""The Slurm backend on real daemons, held to the contract; and its scripts, which need no Slurm to be compared."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.backend import Group, WaveRequest, scripts
from hposlurm.backend import slurm as module
from hposlurm.backend.queries import ask
from hposlurm.backend.scripts import Part, planner_script
from hposlurm.backend.slurm import SlurmBackend
from hposlurm.errors import BackendError, RequestError
from hposlurm.records.layout import StudyLayout
from hposlurm.spec import parse
from hposlurm.trial import JobState
from tests.backend.contract import REPORT, BackendContract, QueueContract, records, study

GOLDEN = Path(__file__).parent / "golden"


@pytest.mark.slurm
@pytest.mark.usefixtures("slurm_cluster")
class TestSlurm(QueueContract, BackendContract):
    @pytest.fixture
    def backend(self):
        return SlurmBackend()

    @pytest.fixture
    def ended(self, wait_until):
        def wait(backend, arrays):
            ids = [f"{a.job_id}_{i}" for a in arrays for i in range(a.count)]
            wait_until(lambda: all(s.state.is_terminal for s in backend.states(ids).values()), 180)

        return wait

    @contextlib.contextmanager
    def running(self, backend, arrays):  # noqa: ARG002 - they run by themselves
        yield

    def test_one_element_is_an_array_as_well(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [REPORT])
        arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "one"))
        backend.release(arrays)
        ended(backend, arrays)
        assert list(backend.states([f"{arrays[0].job_id}_0"])) == [f"{arrays[0].job_id}_0"]
        assert layout.wave(0).element_log(arrays[0].job_id, 0).exists()

    def test_a_percent_sign_in_the_study_s_path_is_no_pattern(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [REPORT])
        (tmp_path / "50% off %x%u").mkdir()
        layout = StudyLayout(layout.root.rename(tmp_path / "50% off %x%u" / "study"))
        arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "percent"))
        backend.release(arrays)
        ended(backend, arrays)
        assert layout.wave(0).element_log(arrays[0].job_id, 0).exists()
        assert [path.name for path in tmp_path.iterdir()] == ["50% off %x%u"]

    def test_a_setup_line_that_fails_ends_the_element_with_its_words_in_the_log(self, tmp_path, backend, ended):
        layout, spec, _ = study(tmp_path, [REPORT])
        spec = spec.model_copy(update={"slurm": spec.slurm.model_copy(update={"setup": ("cd /nonexistent",)})})
        arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "setup"))
        backend.release(arrays)
        ended(backend, arrays)
        assert backend.states([f"{arrays[0].job_id}_0"])[f"{arrays[0].job_id}_0"].state is JobState.FAILED
        said = layout.wave(0).element_log(arrays[0].job_id, 0, "err").read_text()
        assert said.endswith("setup line failed (status 1): cd /nonexistent\n")
        assert layout.trial(0).attempts() == []

    def test_a_wave_above_max_array_size_becomes_chunks_that_start_at_0(self, tmp_path, backend, ended, monkeypatch):
        monkeypatch.setitem(backend.__dict__, "max_array_size", 2)
        layout, spec, _ = study(tmp_path, [REPORT] * 5)
        arrays = backend.submit(WaveRequest(layout, spec, 0, 5, "chunks"))
        assert [(a.offset, a.count) for a in arrays] == [(0, 2), (2, 1), (3, 2)]
        backend.release(arrays)
        ended(backend, arrays)
        assert [layout.trial(i).attempts() for i in range(5)] == [[0]] * 5

    def test_a_lost_answer_of_sbatch_does_not_double_the_wave(self, tmp_path, backend):
        layout, spec, _ = study(tmp_path, ["true"] * 2)
        request = WaveRequest(layout, spec, 0, 2, f"lost{os.getpid()}")
        first = backend.submit(request)
        assert SlurmBackend().submit(request) == first
        backend.cancel([a.job_id for a in first])

    def test_what_is_submitted_is_what_lies_in_the_study_directory(self, tmp_path, backend):
        layout, spec, _ = study(tmp_path, ["true"])
        request = WaveRequest(layout, spec, 0, 1, "same")
        arrays = backend.submit(request)
        shown = ask("scontrol", "write", "batch_script", arrays[0].job_id, "-")
        backend.cancel([a.job_id for a in arrays])
        text = layout.wave(0).script().read_text()
        assert shown.strip() == text.strip() == backend.scripts(request)[0].text.strip()

    def test_submitting_from_inside_a_job_leaks_nothing(self, tmp_path, backend, ended, monkeypatch):
        for name in (
            "SLURM_ARRAY_JOB_ID",
            "SLURM_ARRAY_TASK_ID",
            "SLURM_JOB_ID",
            "SLURM_MEM_PER_CPU",
            "SLURM_CPU_BIND",
        ):
            monkeypatch.setenv(name, "999")
        layout, spec, _ = study(tmp_path, [REPORT])
        arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "leak"))
        backend.release(arrays)
        ended(backend, arrays)
        assert records(layout, 0)[-1]["outcome"] == "complete"

    def test_a_refusal_quotes_sbatch_and_leaves_no_chunk_behind(self, tmp_path, backend, monkeypatch):
        monkeypatch.setitem(backend.__dict__, "max_array_size", 2)
        layout, spec, _ = study(tmp_path, ["true"] * 4)
        real = module.SlurmBackend._trial_script

        def broken(self, request, chunk, before=None):
            text = real(self, request, chunk, before)
            return text if chunk.number == 0 else text.replace("--time=", "--no-such-option=")

        monkeypatch.setattr(module.SlurmBackend, "_trial_script", broken)
        request = WaveRequest(layout, spec, 0, 4, f"refused{os.getpid()}")
        with pytest.raises(BackendError, match=r"sbatch refused: .*no-such-option"):
            backend.submit(request)
        assert backend._queue_of(request) == []

    def test_usage_is_what_sacct_says(self, tmp_path, backend, ended, wait_until):
        layout, spec, _ = study(tmp_path, [f"sleep 2; {REPORT}"], gpus_per_node=2, gpu_type="v100")
        arrays = backend.submit(WaveRequest(layout, spec, 0, 1, "usage"))
        backend.release(arrays)
        ended(backend, arrays)
        element = f"{arrays[0].job_id}_0"
        usage = wait_until(lambda: (backend.usage([arrays[0].job_id]) or {}).get(element), 60)
        assert [(u.state, u.gpus) for u in usage] == [(JobState.COMPLETED, 2)]
        assert 2 <= usage[0].elapsed_s <= 20

    @pytest.mark.parametrize(
        ("resources", "slurm", "message"),
        [
            ({"gpus_per_node": 5}, {}, "resources.gpus_per_node: 5 requested, but the largest node of .* has 4 GPUs"),
            ({"gpus_per_node": 1, "gpu_type": "a100"}, {}, "no GPUs of type 'a100'; it has v100"),
            ({"cpus_per_task": 999}, {}, "has 8 CPUs"),
            ({"mem_gb": 5000}, {}, "GiB of memory"),
            ({}, {"partition": "nope"}, "no partition 'nope' here; there are batch"),
        ],
    )
    def test_what_no_node_has_is_a_problem(self, tmp_path, backend, resources, slurm, message):
        _, spec, _ = study(tmp_path, ["true"], **resources)
        spec = spec.model_copy(update={"slurm": spec.slurm.model_copy(update=slurm)})
        problems = backend.problems(spec)
        assert len(problems) == 1
        with pytest.raises(RequestError, match=message):
            raise RequestError(str(problems[0]))

    def test_the_nodes_that_have_what_one_element_asks_for(self, tmp_path, backend):
        _, spec, _ = study(tmp_path, ["true"], gpus_per_node=4)
        nodes = backend.nodes(spec)
        assert nodes == tuple(sorted(set(nodes))) and len(nodes) >= 2
        larger = spec.resources.model_copy(update={"gpus_per_node": 5})
        assert backend.nodes(spec.model_copy(update={"resources": larger})) == ()


def golden_request(**changes):
    data = {
        "name": "bloom-squad",
        "objectives": [{"name": "eval_loss"}],
        "parameters": {"lr": {"type": "float", "min": 1e-5, "max": 1e-4}},
        "budget": {"n_trials": 4},
        "waves": {"max_concurrent": 3},
        "trial": {"command": "train {{ flags }}"},
        "resources": {"gpus_per_node": 2, "gpu_type": "v100", "cpus_per_task": 6, "mem_gb": 64, "time": "00:30:00"},
        "slurm": {
            "partition": "batch",
            "account": "k01",
            "setup": ["module load cuda/12.4.1"],
            "extra": {"reservation": "hpo", "exclusive": True, "comment": 'a "b" \\ c'},
        },
    }
    return WaveRequest(
        StudyLayout(Path("/scratch/my runs/bloom-squad")), parse({**data, **changes}, "t"), 3, 4, "TOKEN"
    )


@pytest.mark.parametrize("name", ["trial.sbatch", "planner.sbatch"])
def test_scripts_are_the_recorded_ones(name, monkeypatch):
    """After a wanted change: write the scripts shown here to tests/backend/golden/."""
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "MaxArraySize = 1001\nKillWait = 30 sec\n")
    monkeypatch.setattr(scripts.sys, "executable", "/venv/bin/python")
    monkeypatch.setattr(scripts, "__version__", "VERSION")
    texts = {s.name: s.text for s in backend.scripts(golden_request())}
    assert texts[name] == (GOLDEN / name).read_text(), texts[name]


@pytest.mark.parametrize(
    ("value", "line"),
    [
        (1, "--threads-per-core=1"),
        (0, "--threads-per-core=0"),
        ("1", "--threads-per-core=1"),
        (True, "--threads-per-core"),
    ],
)
def test_one_is_the_value_of_an_option_and_not_a_flag(monkeypatch, value, line):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "")
    text = backend.scripts(golden_request(slurm={"extra": {"threads-per-core": value}}))[0].text
    assert f"#SBATCH {line}\n" in text


def test_jobs_that_a_budget_of_gpu_hours_pays_for_are_not_requeued_behind_its_back(monkeypatch):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "")
    assert "#SBATCH --requeue\n" in backend.scripts(golden_request())[0].text
    text = backend.scripts(golden_request(budget={"gpu_hours": 8}))[0].text
    assert "#SBATCH --no-requeue\n" in text and "--requeue" not in text


def test_two_chunks_share_the_throttle_and_count_from_0(monkeypatch):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "max_array_size", 2)
    found = backend.scripts(golden_request())
    assert [s.name for s in found] == ["trial.sbatch", "trial.1.sbatch", "planner.sbatch"]
    assert "--array=0-1%1\n" in found[0].text and "$((0 + SLURM_ARRAY_TASK_ID))" in found[0].text
    assert "--array=0-1%2\n" in found[1].text and "$((2 + SLURM_ARRAY_TASK_ID))" in found[1].text
    assert "afterany:ARRAY_0:ARRAY_1,singleton" in found[2].text


def test_more_arrays_than_may_run_at_once_follow_each_other(monkeypatch):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "max_array_size", 2)
    request = dataclasses.replace(golden_request(waves={"max_concurrent": 2}), count=6, after="7")
    found = [s.text for s in backend.scripts(request)[:-1]]
    assert [re.findall(r"--(?:array|dependency)=(.*)", text) for text in found] == [
        ["0-1%2", "afterany:7"], ["0-1%2", "afterany:ARRAY_0"], ["0-1%2", "afterany:ARRAY_1"],
    ]  # fmt: skip


@given(count=st.integers(1, 60), most=st.integers(1, 9), limit=st.integers(1, 7), begun=st.integers(0, 3))
def test_no_more_than_max_concurrent_run_at_once_in_however_many_arrays(count, most, limit, begun):
    backend = SlurmBackend()
    backend.__dict__["max_array_size"] = limit
    request = dataclasses.replace(golden_request(waves={"max_concurrent": most, "mode": "barrier"}), count=count)
    parts = backend._parts(request, begun, min(begun, count - 1))
    at_once = 0
    for part in parts:  # those that do not follow another run beside it
        at_once = (0 if part.follows else at_once) + min(part.count, part.max_concurrent or part.count)
        assert at_once <= most
    assert begun == 0 or all(part.follows for part in parts) or most >= count


GROUPS = (Group(1, 30), Group(2, 16, 100), Group(1, 12, 100))


def test_each_group_becomes_an_array_with_its_time_limit_and_its_priority(monkeypatch):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "")
    request = dataclasses.replace(golden_request(waves={"mode": "barrier"}), groups=GROUPS)
    found = [s.text for s in backend.scripts(request)[:-1]]
    assert [re.findall(r"--(?:array|time|nice)=(.*)", text) for text in found] == [
        ["0-0", "30"], ["0-1", "16", "100"], ["0-0", "12", "100"],
    ]  # fmt: skip
    assert ["$((1 + SLURM_ARRAY_TASK_ID))" in text for text in found] == [False, True, False]
    part = dataclasses.replace(request, count=2)  # where there was no room for more
    assert [p.count for p in backend._parts(part)] == [1, 1]
    assert [(p.offset, p.count, p.time_min) for p in backend._parts(request, 1, 2)] == [(2, 1, 16), (3, 1, 12)]


def test_where_the_throttle_binds_all_groups_are_one_array(monkeypatch):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "")
    (text,) = (s.text for s in backend.scripts(dataclasses.replace(golden_request(), groups=GROUPS))[:-1])
    assert re.findall(r"--(?:array|time|nice)=(.*)", text) == ["0-3%3", "30"]


@pytest.mark.parametrize(("most", "throttles"), [(1, [1]), (2, [1, 1]), (3, [1, 1, 1]), (8, [4, 4]), (11, [6, 5])])
def test_waves_in_flight_share_the_throttle(monkeypatch, most, throttles):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "")
    waves = {"size": most, "max_concurrent": most, "mode": "overlap"}
    request = dataclasses.replace(golden_request(waves=waves), count=9)
    lanes = [dataclasses.replace(request, lane=lane) for lane in range(len(throttles))]
    assert [backend._parts(lane)[0].max_concurrent for lane in lanes] == throttles


OWN = """\
#!/bin/bash -l
# mine: {{ study }}
#SBATCH -J {{ job_name }}
#SBATCH --hold --array 0-{{ count - 1 }}%2
#SBATCH -o {{ log_out }}

module purge
srun {{ python | quote }} \\
  -P -m hposlurm.worker {{ study_dir | quote }} {{ wave }} "$(({{ offset }} + SLURM_ARRAY_TASK_ID))"
"""


def from_template(tmp_path, text):
    """The trial scripts (of two chunks) from a template of one's own."""
    own = tmp_path / "my.sbatch.j2"
    own.write_text(text)
    backend = SlurmBackend()
    backend.__dict__.update(_config="", max_array_size=2)
    return [s.text for s in backend.scripts(golden_request(slurm={"template": str(own)}))[:-1]]


def test_a_template_of_ones_own_owns_the_whole_script(tmp_path):
    first, second = from_template(tmp_path, OWN)
    assert first.startswith(
        "#!/bin/bash -l\n# mine: bloom-squad\n#SBATCH -J bloom-squad-w0003-TOKEN-0-2\n#SBATCH --hold"
    )
    assert "--requeue" not in first and "$((2 + SLURM_ARRAY_TASK_ID))" in second


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("-J {{ job_name }}", "-J mine", "#SBATCH --job-name={{ job_name }}"),
        ("#SBATCH -J {{ job_name }}\n", "", "#SBATCH --job-name={{ job_name }}"),
        ("#SBATCH -o", "module purge\n#SBATCH -o", "#SBATCH --output={{ log_out }}"),
        (" --array 0-{{ count - 1 }}%2", "", "#SBATCH --array=0-{{ count - 1 }}"),
        ("{{ count - 1 }}", "3", "#SBATCH --array=0-{{ count - 1 }}"),
        ("0-{{ count", "1-{{ count", "#SBATCH --array=0-{{ count - 1 }}"),
        ("--hold ", "", "#SBATCH --hold"),
        ("#SBATCH --hold", "# SBATCH --hold", "#SBATCH --array=0-{{ count - 1 }}\n  #SBATCH --hold"),
        ("#SBATCH -o {{ log_out }}\n", "", "#SBATCH --output={{ log_out }}"),
        ("{{ log_out }}", "%A_%a.log", "#SBATCH --output={{ log_out }}"),
        ("-o {{ log_out }}", "-o {{ log_out }} --error=x", "#SBATCH --error={{ log_err }}"),
        ("hposlurm.worker", "hposlurm.work", "hposlurm.worker {{ study_dir | quote }} {{ wave }}"),
        ("  -P -m hposlurm.worker", "\n# -m hposlurm.worker", "hposlurm.worker {{ study_dir | quote }} {{ wave }}"),
        ("{{ study_dir | quote }}", "{{ study_dir }}", "hposlurm.worker {{ study_dir | quote }}"),
        ("{{ wave }}", "0", "hposlurm.worker {{ study_dir | quote }} {{ wave }}"),
        ("{{ offset }} + ", "", "$(({{ offset }} + SLURM_ARRAY_TASK_ID))"),
    ],
)
def test_a_template_without_what_the_chain_of_waves_needs_is_refused(tmp_path, old, new, line):
    assert old in OWN
    with pytest.raises(RequestError) as caught:
        from_template(tmp_path, OWN.replace(old, new))
    first, lacking = str(caught.value).split("\n", 1)
    assert "my.sbatch.j2" in first and line in lacking
    assert len(lacking.splitlines()) == len(line.splitlines()), lacking


@pytest.mark.parametrize(("mem_gb", "option"), [(0.001, "2M"), (1 / 1024, "1M"), (0.1, "103M"), (64, "65536M")])
def test_memory_is_rounded_up_and_never_to_0_which_is_the_whole_node(mem_gb, option):
    request = golden_request(resources={"mem_gb": mem_gb}, slurm={"planner": {"mem_gb": mem_gb}})
    texts = [scripts.trial_script(request, Part(0, 0, 4, None), 30), planner_script(request, ["1"])]
    assert [re.findall("--mem=(.*)", text) for text in texts] == [[option]] * 2


def test_a_percent_sign_in_the_study_s_path_is_no_pattern():
    request = dataclasses.replace(golden_request(), layout=StudyLayout(Path("/scratch/50%x off/x")))
    trial = scripts.trial_script(request, Part(0, 0, 4, None), 30)
    assert '--output="/scratch/50%%x off/x/waves/0003/logs/%A_%a_0_log.out"\n' in trial
    assert '--error="/scratch/50%%x off/x/waves/0003/logs/%A_%a_0_log.err"\n' in trial
    assert "HPOSLURM_LOG='/scratch/50%x off/x/waves/0003/logs'/" in trial
    assert '--output="/scratch/50%%x off/x/waves/0003/logs/planner-%j.log"\n' in planner_script(request, ["1"])


@pytest.mark.parametrize("name", ["a\\b", "50%j", "%A", "x%a", "%t"])
def test_what_slurm_or_submitit_would_replace_in_the_study_s_path_is_refused(name):
    request = dataclasses.replace(golden_request(), layout=StudyLayout(Path("/scratch", name, "x")))
    for make in (
        lambda: scripts.trial_script(request, Part(0, 0, 4, None), 30),
        lambda: planner_script(request, ["1"]),
    ):
        with pytest.raises(RequestError, match=r"cannot be written below /scratch/.*/x/waves/0003/logs.*HPOSLURM_RUNS"):
            make()


def test_bad_nodes_are_excluded_besides_those_that_the_study_names(monkeypatch):
    backend = SlurmBackend()
    monkeypatch.setitem(backend.__dict__, "_config", "")

    def lines(request):
        texts = (s.text for s in backend.scripts(request))
        return [[line for line in text.splitlines() if "--exclude" in line] for text in texts]

    bad = dataclasses.replace(golden_request(), exclude=("n2", "n7"))
    assert lines(golden_request()) == [[], []]
    assert lines(bad) == [["#SBATCH --exclude=n2,n7"]] * 2
    own = {**bad.spec.model_dump(by_alias=True)["slurm"], "exclude": "n[8-9]"}
    both = dataclasses.replace(golden_request(slurm=own), exclude=("n2",))
    assert lines(both) == [["#SBATCH --exclude=n[8-9],n2"], ["#SBATCH --exclude=n2"]]
    # a partition of its own may have no other node
    elsewhere = dataclasses.replace(golden_request(slurm={"planner": {"partition": "small"}}), exclude=("n2",))
    assert lines(elsewhere) == [["#SBATCH --exclude=n2"], []]
