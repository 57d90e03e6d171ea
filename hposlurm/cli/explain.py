"""The verb that tells why: explain. It only reads."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from hposlurm.cli.common import find_study
from hposlurm.report.style import OutputFormat


def register(app: typer.Typer) -> None:
    app.command()(explain)


def explain(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study's directory, or its name under runs/.")],
    trial: Annotated[
        int | None, typer.Argument(metavar="[TRIAL]", min=0, help="A trial; without one: the study's search.")
    ] = None,
    style: Annotated[
        OutputFormat, typer.Option("--format", help="For a person or for a program.")
    ] = OutputFormat.TABLE,
) -> None:
    """Tell why a trial was proposed, sent on, stopped or copied; without one, what the study's rungs are worth."""
    from hposlurm.report.explain import Study, explain_study, explain_trial
    from hposlurm.report.explain_text import study_text, trial_text

    records = Study(find_study(study).root)
    if trial is None:
        about = explain_study(records)
        print(
            json.dumps(about.to_json(), indent=2, ensure_ascii=False)
            if style is OutputFormat.JSON
            else study_text(about)
        )
        return
    found = explain_trial(records, trial)
    print(
        json.dumps(found.to_json(), indent=2, ensure_ascii=False) if style is OutputFormat.JSON else trial_text(found)
    )
