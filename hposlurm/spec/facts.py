"""The commands of one trial, as the planner writes them into a plan and as a study file is tried out with them."""

from __future__ import annotations

from hposlurm.command import command_line, mentions
from hposlurm.layout import StudyLayout
from hposlurm.spec.model import StudySpec
from hposlurm.trial import Params, ParamValue


def commands(
    layout: StudyLayout, spec: StudySpec, number: int, params: Params, seed: int, to_step: int | None = None
) -> tuple[str, str | None]:
    """The command of a start from scratch and that with a checkpoint, None if the study's does not tell them apart.

    Raises RequestError where the study's command cannot be rendered with these parameters.
    """
    template, known = spec.trial.command, facts(layout, spec, number, seed, to_step)
    begin = command_line(template, params, known)
    if not mentions(template, "resume_from"):
        return begin, None
    return begin, command_line(template, params, {**known, "resume_from": "a checkpoint"})


def facts(
    layout: StudyLayout, spec: StudySpec, number: int, seed: int, to_step: int | None = None
) -> dict[str, ParamValue]:
    """What a command may mention besides the parameters; those that there are not are empty: `resume_from`, …"""
    trial = layout.trial(number)
    found: dict[str, ParamValue] = {
        **spec.resources.facts,
        "trial": number,
        "trial_dir": str(trial.root),
        "study_dir": str(layout.root),
        "checkpoint_dir": str(trial.checkpoints),
        "resume_from": "",
        "max_step": "" if to_step is None else to_step,
        "max_resource": "" if spec.search.max_resource is None else spec.search.max_resource,
        "seed": seed,
    }
    if spec.trial.deepspeed is not None:
        found["ds_config"] = str(layout.ds_config)
    return found
