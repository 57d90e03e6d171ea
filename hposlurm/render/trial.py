"""The commands of one trial. The planner writes them into a plan; the check of a study file tries them out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from hposlurm.records.layout import StudyLayout
from hposlurm.render.command import command_line, mentions, text_with
from hposlurm.trial import Params, ParamValue


@dataclass(frozen=True, slots=True)
class CommandTemplate:
    """A study's `trial.command`, with the values for it that are the same in all trials."""

    #: The Jinja2 text.
    text: str
    #: The resources of a trial by name: gpus, cpus_per_task, …
    resources: Mapping[str, ParamValue]
    #: search.max_resource; None where it is not set.
    max_resource: int | None = None
    #: True if the study has a DeepSpeed configuration (trial.deepspeed).
    has_ds_config: bool = False
    #: The flags of the parameters that have one of their own.
    flags: Mapping[str, str] = field(default_factory=dict)
    #: What `seed` is in all trials; None: each trial's own seed.
    seed: int | None = None
    #: The texts of the files of `trial.metrics`.
    metric_files: tuple[str, ...] = ()


def metric_files(
    layout: StudyLayout, template: CommandTemplate, number: int, params: Params, seed: int, to_step: int | None = None
) -> tuple[str, ...]:
    """Returns the trial's files of `trial.metrics`, with the same placeholders as in a command, unquoted.

    Raises RequestError for one that cannot be rendered.
    """
    known = _facts(layout, template, number, seed, to_step)
    return tuple(text_with(text, params, known, "trial.metrics") for text in template.metric_files)


def commands(
    layout: StudyLayout, template: CommandTemplate, number: int, params: Params, seed: int, to_step: int | None = None
) -> tuple[str, str | None]:
    """Returns the command for a start from scratch and the command for a start from a checkpoint.

    The second is None if the study's command does not distinguish them. Raises RequestError if the study's command
    cannot be rendered with these parameters.
    """
    known = _facts(layout, template, number, seed, to_step)
    begin = command_line(template.text, params, known, template.flags)
    if not mentions(template.text, "resume_from"):
        return begin, None
    return begin, command_line(template.text, params, {**known, "resume_from": "a checkpoint"}, template.flags)


def _facts(
    layout: StudyLayout, template: CommandTemplate, number: int, seed: int, to_step: int | None
) -> dict[str, ParamValue]:
    """Returns the values that a command may use besides the parameters; a missing value is an empty string."""
    trial = layout.trial(number)
    found: dict[str, ParamValue] = {
        **template.resources,
        "trial": number,
        "trial_dir": str(trial.root),
        "study_dir": str(layout.root),
        "checkpoint_dir": str(trial.checkpoints),
        "resume_from": "",
        "max_step": "" if to_step is None else to_step,
        "max_resource": "" if template.max_resource is None else template.max_resource,
        "seed": seed if template.seed is None else template.seed,
        "trial_seed": seed,
    }
    if template.has_ds_config:
        found["ds_config"] = str(layout.ds_config)
    return found
