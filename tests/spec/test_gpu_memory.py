"""The section gpu_memory: the model that it reads, what its values may be, and what it rules out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hposlurm.spec import StudySpec, dump, load, parse
from hposlurm.spec.draws import draw
from hposlurm.spec.memory_limit import MemoryLimit, memory_model
from tests.gpu_memory.test_shape import BLOOM_560M
from tests.spec.data import problems_of

BASE: dict[str, Any] = {
    "name": "memory",
    "objectives": [{"name": "eval_loss"}],
    "parameters": {
        "bs": {"type": "categorical", "choices": [1, 2, 4, 64]},
        "max_length": {"type": "categorical", "choices": [128, 512]},
    },
    "search": {"algorithm": "random"},
    "budget": {"n_trials": 4},
    "trial": {"command": "train --bs {{ bs }} --len {{ max_length }}"},
    "resources": {"gpus_per_node": 1, "gpu_memory_gb": 32},
    "gpu_memory": {"config": BLOOM_560M},
}


def study(memory: dict[str, Any] | None = None, **changes: Any) -> StudySpec:
    return parse({**BASE, "gpu_memory": {**BASE["gpu_memory"], **(memory or {})}, **changes}, "x")


def test_parameters_of_usual_names_are_found_and_what_does_not_fit_is_infeasible():
    space = study().space
    (limit,) = (each for each in space.constraints if isinstance(each, MemoryLimit))
    assert limit.names == {"bs", "max_length"}
    assert space.is_feasible({"bs": 1, "max_length": 128})
    assert not space.is_feasible({"bs": 64, "max_length": 512})
    assert space.cardinality(100) == 6 and len([*space.grid_points()]) == 6
    assert limit.model.setting({"bs": 4, "max_length": 512}).precision == "mixed"


def test_deepspeed_and_the_resources_say_what_the_section_does_not():
    spec = study(
        trial={**BASE["trial"], "deepspeed": {"zero_stage": 3, "offload": "cpu"}},
        resources={"gpus_per_node": 4, "gpu_type": "a100-80"},
    )
    model = memory_model(spec)
    assert model is not None and model.card_gb == 80
    setting = model.setting({"bs": 1, "max_length": 128})
    assert (setting.zero_stage, setting.offload, setting.world_size, setting.precision) == (3, "optimizer", 4, "fp16")


def test_values_may_be_expressions_words_and_conditional_parameters():
    parameters = {**BASE["parameters"], "tuning": {"choices": ["full", "lora"]}}
    spec = study(
        {"batch_size": "bs * gpus", "method": "tuning", "max_length": 256, "card": "v100-32", "reserved_gb": 2},
        parameters=parameters,
        conditionals=[{"if": 'tuning == "lora"', "then": {"lora_r": {"type": "int", "min": 2, "max": 64}}}],
        trial={"command": "train {{ flags }}"},
        resources={"gpus_per_node": 2},
    )
    (limit,) = (each for each in spec.space.constraints if isinstance(each, MemoryLimit))
    assert limit.names == {"bs", "tuning", "gpus"} and limit.model.card_gb == 30
    values = {"bs": 3, "gpus": 2}
    assert limit.model.setting({**values, "tuning": "lora", "lora_r": 32}).lora_rank == 32
    assert limit.model.setting({**values, "tuning": "full"}).batch_size == 6
    full, lora = (limit.model.needed_gb({**values, "tuning": how, "lora_r": 4}) for how in ("full", "lora"))
    assert lora < full


def test_the_models_config_is_read_once_and_frozen(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text(json.dumps({**BLOOM_560M, "architectures": ["X"], "n_layer": 2}))
    (tmp_path / "s.yaml").write_text(json.dumps({**BASE, "gpu_memory": {"model": "model"}}))
    spec = load(tmp_path / "s.yaml")
    assert spec.gpu_memory is not None and spec.gpu_memory.config == {**BLOOM_560M, "n_layer": 2}
    (tmp_path / "frozen.yaml").write_text(dump(spec))
    (tmp_path / "model/config.json").unlink()
    assert load(tmp_path / "frozen.yaml", frozen=True).gpu_memory == spec.gpu_memory


@pytest.mark.parametrize(
    ("memory", "problem"),
    [
        ({"config": {}, "model": "nowhere/none"}, "gpu_memory.model: nowhere/none has no config.json, and is not in"),
        ({"config": {}}, "gpu_memory: needs model (a directory with config.json), or config"),
        ({"config": {"model_type": "mamba"}}, "gpu_memory: config: model_type 'mamba' is not known"),
        ({"card": "v900"}, "gpu_memory: card 'v900' is not known: v100, "),
        ({"batch_size": "batch"}, "gpu_memory.batch_size: batch in 'batch' is neither a parameter nor a fact"),
        ({"batch_size": "bs +"}, "gpu_memory.batch_size: 'bs +': not an expression"),
        ({"batch_size": "bs / 3"}, "gpu_memory.batch_size: must be a whole number, not 21.333"),
        ({"method": "qlora"}, "allowed: full, lora, or the name of a parameter"),
        ({"zero_stage": 4}, "gpu_memory.zero_stage: must be from 0 to 3, not 4"),
        ({"method": "lora", "lora_targets": ["q_proj"]}, "gpu_memory.lora_targets: no layer of bloom is called q_proj"),
        ({"max_length": 8192, "batch_size": 64}, "gpu_memory: no configuration fits 32 GB: every configuration needs"),
        ({"offload": "disk"}, "gpu_memory.offload"),
    ],
)
def test_what_means_nothing_is_named(memory, problem):
    data = {**BASE, "gpu_memory": {**BASE["gpu_memory"], **memory}}
    assert any(problem in str(found) for found in problems_of(data)), problems_of(data)


def test_a_parameter_that_only_has_a_usual_name_may_mean_something_else():
    parameters = {**BASE["parameters"], "optimizer": {"choices": ["lion", "sgd"]}, "r": {"choices": [0.5, 16]}}
    found = memory_model(study(parameters=parameters, trial={"command": "train {{ flags }}"}))
    assert found is not None
    read = [
        found.setting({"bs": 1, "max_length": 128, "optimizer": o, "r": r}) for o, r in (("lion", 0.5), ("sgd", 16))
    ]
    assert [(s.optimizer, s.lora_rank) for s in read] == [("adamw", 8), ("sgd", 16)]


def test_a_parameter_without_a_usual_name_must_be_named():
    data = {**BASE, "parameters": {"x": BASE["parameters"]["bs"]}, "trial": {"command": "train {{ x }}"}}
    assert any("gpu_memory.batch_size: is missing, and no parameter has a usual" in str(p) for p in problems_of(data))


def test_default_values_that_do_not_fit_are_named():
    parameters = {name: {**known, "default": known["choices"][-1]} for name, known in BASE["parameters"].items()}
    (found,) = problems_of({**BASE, "parameters": parameters})
    assert "the default values, which form the first trial, do not fit 32 GB: bs=64 max_length=512 needs" in str(found)


def test_a_file_that_is_no_config_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("[1")
    found = problems_of({**BASE, "gpu_memory": {"model": str(tmp_path)}})
    assert [str(p) for p in found if "cannot be read" in str(p)]


def test_drawn_configurations_are_the_same_every_time():
    assert draw(study().space) == draw(study().space)


def test_without_a_known_card_nothing_is_ruled_out():
    spec = study(resources={"gpus_per_node": 1})
    assert spec.space.constraints == ()
