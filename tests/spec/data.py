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

# Together with the one above these have every key that a study file can have.
OTHERS = (
    """
name: bloom-rungs
backend: local
objectives:
  - {name: eval_loss, weight: 2.0, report: last}
  - {name: latency_ms, weight: 0.5}
metrics: [eval/tokens_per_s]
parameters:
  lr: {type: float, min: 1.0e-5, max: 1.0e-3, step: 1.0e-5, default: 1.0e-4}
  layers: {type: int, min: 1, max: 64, log: true, step: 1, default: 4}
  optimizer: {choices: [adamw, sgd, null], default: sgd, flag: "+optimizer.name="}
conditionals:
  - if: optimizer == "sgd"
    then: {momentum: {type: float, min: 0.0, max: 0.99}}
    conditionals:
      - {if: momentum > 0.5, then: {nesterov: {choices: [true, false]}}}
constraints: ["layers <= 32 or optimizer == 'sgd'", "eval_loss < 10", "peak_gpu_gb <= 30"]
forbidden: ["optimizer == 'sgd' and lr > 5e-4", {optimizer: adamw, layers: 2}]
search:
  sampler: tpe
  pruner: hyperband
  seed: 7
  startup_trials: 4
  min_resource: 1
  max_resource: 27
  reduction_factor: 3
  brackets: 2
  compare_by: weighted
  enqueue: [{lr: 2.0e-4, layers: 8, optimizer: adamw}]
  warm_start: [../older, {study: ../other, best: 20}, {csv: table.csv, best: 5, columns: {eval_loss: value}}]
budget: {wall_time: "6:00:00", patience: 20, target: 0.1, max_failures: 0.2}
waves: {size: 4}
trial:
  command: "train --lr {{ lr }} {{ flags }} {% if resume_from %}--resume {{ resume_from }}{% endif %}"
  memory_guard: on
  memory_warning_pct: 0.9
  memory_grace_steps: 3
  stop_signal: USR1
  evaluate: "lm_eval --model {{ checkpoint_dir }} {{ lr }}"
  metrics:
    - {file: "{{ trial_dir }}/lr-{{ lr }}/*.jsonl", step: current_steps, offset: 1, map: {eval_loss: data.loss}}
    - {file: out/metrics, format: csv}
  stop_grace: 90s
  keep_checkpoints: 2
  checkpoint_gb: 1.5
  workdir: /tmp
  seed: 3
  deepspeed: {zero_stage: 3, offload: cpu}
resources: {nodes: 1, gpus_per_node: 1}
gpu_memory:
  model: models/tiny
  config: {model_type: gpt2, n_embd: 64, n_layer: 2, n_head: 2, vocab_size: 100}
  card: v100-32
  batch_size: layers
  max_length: 128
  method: lora
  lora_rank: 8
  lora_targets: [all-linear]
  precision: fp16
  optimizer: adamw
  zero_stage: 2
  offload: none
  gradient_checkpointing: true
  dropout: false
  accumulates: true
  reserved_gb: 1.5
simulation: {function: "curves.py:train", gpus: 8, seed: 1, queue: 30s, start: 5s, planner: 10s, crashes: 0.1,
  node_failures: 0.1, preemptions: 0.1}
publish: [csv]
""",
    """
name: bloom-pbt
share: group
objectives: [{name: eval_loss, efficiency: {metric: n_parameters, budget: 1.0e9, weight: 0.1}}]
parameters:
  lr: {type: float, min: 1.0e-5, max: 1.0e-3, log: true, mutable: true}
  wd: {choices: [0.0, 0.1], mutable: true}
search:
  algorithm: pbt
  population_size: 4
  max_resource: 9
  perturbation_interval: 3
  quantile: 0.25
  resample_probability: 0.5
  perturb_factors: [0.8, 1.25]
budget: {gpu_hours: 8, confirm_gpu_hours: 4, terminator: 0.01}
trial: {command: "train --lr {{ lr }}"}
resources: {gpus_per_node: 1, time: 30}
slurm:
  qos: long
  constraint: nvlink
  exclude: "n[1-2]"
  driver: chain
  template: null
  planner: {partition: small, time: 5, mem_gb: 1, cpus_per_task: 2}
""",
    *(
        f"""
name: bloom-stops
objectives: [{{name: score, sum: {{eval_loss: {{weight: 1.0, scale: 2.0}}}}}}]
parameters: {{lr: {{type: float, min: 1.0e-5, max: 1.0e-3}}}}
search: {{algorithm: {rule}}}
budget: {{n_trials: 9}}
trial: {{command: "train --lr {{{{ lr }}}}"}}
"""
        for rule in (
            "percentile, percentile: 30, warmup_steps: 1, warmup_trials: 3, patience: 2",
            "threshold, lower: 0, upper: 9.5",
            "wilcoxon, p_value: 0.05",
        )
    ),
)


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
