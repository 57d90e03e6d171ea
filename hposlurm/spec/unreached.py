"""Finds what a study's trials would run without: parameters, stages and objectives that never reach the training.

A study with one of them is valid: its script may read what its command does not pass. So these are notes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from hposlurm.render.command import names_in
from hposlurm.space.names import variable
from hposlurm.spec.algorithms import without_stages
from hposlurm.spec.model import pattern_metrics
from hposlurm.spec.problems import nearest
from hposlurm.spec.scripts import Scripts, look_into, missing_scripts, reads_parameter

if TYPE_CHECKING:
    from hposlurm.spec.model import StudySpec

# Macros of W&B's sweeps, and what they are here
_MACROS = {
    "args": "{{ flags }}",
    "args_json": "{{ params | json }}",
    "args_no_boolean_flags": "{{ flags }}",
    "args_no_hyphens": "{{ overrides }}",
    "args_json_file": '"$HPOSLURM_PARAMS_FILE"',
    "program": "the name of the script",
    "interpreter": "python",
}
_MOST_BESIDE = 500  # names in a directory that are looked at for one like a script's
_WHOLE = frozenset({"flags", "overrides", "params"})
#: Each of these in a script shows that it knows where a stage ends.
_STAGE_ENDS = ("max_step", "HPOSLURM_MAX_STEP", "should_stop", "HposlurmCallback")
_REPORTS = ("hposlurm", "HPOSLURM_METRICS_FILE")


def unreached(spec: StudySpec) -> tuple[str, ...]:
    """Returns one sentence for each thing that the command does not pass on, and what to write instead."""
    scripts = look_into(spec.trial.script, Path(spec.trial.workdir or "."))
    macros = dict(_macros(spec))
    return (
        *(f"{text} in trial.command is not replaced; did you mean {instead}?" for text, instead in macros.items()),
        *_missing_notes(spec),
        *_parameter_notes(spec, scripts, macros),
        *_stage_notes(spec, scripts),
        *_objective_notes(spec, scripts),
    )


def placeholder(name: str) -> str:
    """Returns the placeholder of a parameter."""
    return f"{{{{ {variable(name)} }}}}"


def _macros(spec: StudySpec) -> Iterator[tuple[str, str]]:
    """Yields text that other tools replace in a command, with the placeholder that it should be."""
    command = re.sub(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", " ", spec.trial.script, flags=re.DOTALL)
    shell = "\n".join((*spec.slurm.setup, command))
    for name in (*_MACROS, *spec.parameter_names):
        word = re.escape(name)
        if re.search(rf"(?<![\w-]){word}=|\b(?:for|read)\s+{word}\b", shell):
            continue  # a variable of the shell
        forms = [rf"\$\{{{word}\}}"]
        if name not in _MACROS:
            forms += [rf"(?<![\w{{$%]){{{word}\}}(?!\}})", rf"%\({word}\)[sdfgr]", rf"\${word}(?!\w)"]
        if found := re.search("|".join(forms), command):
            yield found[0], _MACROS.get(name, placeholder(name))


def _missing_notes(spec: StudySpec) -> Iterator[str]:
    """Yields a note for each script that the command starts and that does not exist."""
    directory = Path(spec.trial.workdir or ".").absolute()
    setup = " ".join(spec.slurm.setup)
    if re.search(r"\bcd\b", setup):
        return
    for name, path in missing_scripts(spec.trial.script, directory):
        beside = [each.name for each in islice(path.parent.iterdir(), _MOST_BESIDE)] if path.parent.is_dir() else []
        near = nearest(path.name, beside)
        hint = f"; did you mean {Path(name).with_name(near)}?" if near else ""
        yield f"{name} in trial.command does not exist in {directory}{hint}"


def _parameter_notes(spec: StudySpec, scripts: Scripts, macros: dict[str, str]) -> Iterator[str]:
    command = spec.trial.script
    used = names_in(command)
    instead = {*macros.values()}
    if used & _WHOLE or instead & {*_MACROS.values()} - {"python", _MACROS["program"]}:
        return
    arrives = {
        name
        for name in spec.parameter_names
        if variable(name) in used
        or placeholder(name) in instead
        or reads_parameter(command, name)
        or scripts.read_parameter(name)
    }
    space = spec.space
    # a parameter may only decide whether others exist
    deciding = {n for p in space.parameters if p.condition and p.name in arrives for n in p.condition.names}
    missing = [name for name in spec.parameter_names if name not in arrives | deciding]
    if not missing:
        return
    is_one = len(missing) == 1
    named = ", ".join(missing[:5]) + (", …" if len(missing) > 5 else "")
    neither = f", and {scripts.names[0]} reads neither" if scripts.names else ""
    yield (
        f"{named} {'is' if is_one else 'are'} not in trial.command (write {placeholder(missing[0])} or "
        f"{{{{ flags }}}}); {'it arrives' if is_one else 'they arrive'} only as "
        f"HPOSLURM_PARAM_{variable(missing[0]) if is_one else '<name>'} and in client.params(){neither}"
    )


def _stage_notes(spec: StudySpec, scripts: Scripts) -> Iterator[str]:
    """Yields a note if the search pauses trials at rungs and nothing that the command runs is known to stop there."""
    search = spec.search
    pauses = search.in_generations or (search.has_rungs and not search.pruner_traits.in_one_go)
    knows = "max_step" in names_in(spec.trial.script) or "HPOSLURM_MAX_STEP" in spec.trial.script
    if not pauses or knows or scripts.mention(*_STAGE_ENDS):
        return
    neither = f", and {scripts.names[0]} does not ask for it" if scripts.names else ""
    yield (
        f"trial.command does not mention max_step{neither}: {search.name} trains a trial up to that step, pauses it "
        "and may continue it later. The script has to ask client.max_step() (or take {{ max_step }}); one that trains "
        f"on to its end saves nothing{_without_stages(spec)}"
    )


def _without_stages(spec: StudySpec) -> str:
    instead = without_stages(spec.search.sampler_traits, spec.search.pruner_traits)
    if not instead:
        return ""
    return f"; with 0 edits of the script take search: {{{instead}, max_resource: {spec.search.max_resource}}}"


def _source_notes(spec: StudySpec) -> Iterator[str]:
    """Yields a note for each objective that no entry of `trial.metrics` has, if all entries name their metrics."""
    if not all(each.map for each in spec.trial.metrics):
        return
    reported = tuple(dict.fromkeys(name for objective in spec.objectives for name in objective.reported))
    pattern = spec.trial.metric_pattern
    groups = pattern_metrics(pattern, reported) if pattern else set()
    named = {name for each in spec.trial.metrics for name in each.map} | groups
    for metric in reported:
        if metric not in (*named, *spec.parameter_names):
            yield (
                f"no entry of trial.metrics has {metric} in its map (they have {', '.join(sorted(named))}); "
                "trials that do not report it in another way FAIL"
            )


def _objective_notes(spec: StudySpec, scripts: Scripts) -> Iterator[str]:
    """Yields a note for each objective that nothing is known to report."""
    pattern = spec.trial.metric_pattern
    if scripts.mention(*_REPORTS) or "HPOSLURM_METRICS_FILE" in spec.trial.script:
        return
    if spec.trial.metrics:
        yield from _source_notes(spec)
        return
    if pattern is None:
        if scripts.names:
            yield (
                f"{scripts.names[0]} does not mention hposlurm, and there is no trial.metric_pattern: nothing may "
                f"report {spec.objectives[0].value_metric}"
            )
        return
    reported = tuple(dict.fromkeys(name for objective in spec.objectives for name in objective.reported))
    groups = sorted(pattern_metrics(pattern, reported))
    for metric in reported:
        if metric not in (*groups, *spec.parameter_names):
            yield (
                f"no group of trial.metric_pattern is called {variable(metric)} (it has "
                f"{', '.join(groups) or 'only step'}); trials that do not report {metric} in another way FAIL"
            )
