"""A valid study file, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hposlurm.errors import SpecError
from hposlurm.spec import parse
from hposlurm.spec.document import parse_text

VALID = """
name: bloom-squad
tags: {project: workshop, year: 2024}
objectives:
  - {name: eval_loss, direction: minimize}
  - {name: f1, direction: maximize}
parameters:
  lr: {type: float, min: 5e-6, max: 2.0e-4, log: true, default: 1e-5}
  bs: {type: int, min: 1, max: 8}
  wd: {choices: [0.0, 1e-2]}
  optimizer: {type: categorical, choices: [adamw, sgd], default: adamw}
conditionals:
  - if: optimizer == "sgd"
    then: {momentum: {type: float, min: 0.8, max: 0.99}}
constraints: ["bs * 2 <= gpu_memory_gb"]
search: {algorithm: tpe, seed: 42, startup_trials: 5}
budget: {n_trials: 12}
waves: {size: 4, max_concurrent: 4, mode: barrier}
trial:
  command: >-
    torchrun --nproc-per-node={{ gpus }} train.py --lr {{ lr }} {{ flags }}
    {% if momentum is defined %}--momentum {{ momentum }}{% endif %} --ds {{ ds_config }}
  timeout: 30m
  retries: 2
  metric_pattern: 'loss=(?P<eval_loss>\\S+)'
  deepspeed: {zero_stage: 2}
resources: {gpus_per_node: 2, gpu_type: v100, gpu_memory_gb: 32, cpus_per_task: 6, mem_gb: 64, time: "00:30:00"}
slurm: {partition: batch, account: 4711, setup: ["module load cuda/12.4.1"], extra: {reservation: hpo, exclusive: null}}
publish: [sqlite]
"""


def data(text: str = VALID) -> dict[str, Any]:
    value, problems = parse_text(text)
    assert not problems
    return dict(value)


def changed(**values: Any) -> dict[str, Any]:
    """The valid study with some values replaced: `search__seed=7`; `...` takes a key out."""
    study = data()
    for path, value in values.items():
        *parents, last = path.split("__")
        target = study
        for key in parents:
            target = target.setdefault(key, {})
        if value is ...:
            target.pop(last, None)
        else:
            target[last] = value
    return study


def problems_of(study: Any) -> list[str]:
    with pytest.raises(SpecError) as caught:
        parse(study, "study.yaml")
    return [str(problem) for problem in caught.value.problems]


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path
