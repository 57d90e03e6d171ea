"""Jinja2 environments: sandboxed, and a mistake in a template is one sentence."""

from __future__ import annotations

import pytest

from hposlurm.errors import RequestError
from hposlurm.render.environment import filled, for_commands, for_files, shipped


@pytest.mark.parametrize("environment", [for_commands(), for_files()], ids=["commands", "files"])
@pytest.mark.parametrize(
    "text",
    [
        "{{ cycler.__init__.__globals__.os.system('id') }}",
        "{{ ().__class__.__base__.__subclasses__() }}",
        "{{ '{0.__class__}'.format(x) }}",
        "{{ x.append(1) }}",
        "{% for i in range(10**9) %}{% endfor %}",
    ],
)
def test_a_template_reaches_nothing_of_python_and_changes_no_value(environment, text):
    with pytest.raises(Exception, match=r"unsafe|Range too big"):
        environment.from_string(text).render(x=[])


def test_files_have_the_filter_quote_and_keep_their_lines():
    text = "a {{ x | quote }}\n{% if x %}\nb\n{% endif %}\n"
    assert filled(text, "my.j2", {"x": "it's"}, what="a page") == "a 'it'\"'\"'s'\nb\n"


def test_an_unknown_name_says_what_is_made_and_which_names_there_are():
    with pytest.raises(RequestError, match=r"^my\.j2, line 2: 'y' is undefined; a page's template may use: a, x$"):
        filled("\n{{ y }}", "my.j2", {"x": 1, "a": 1}, what="a page")


def test_the_templates_ship_with_the_package():
    assert shipped("trial.sbatch.j2").startswith("#!/bin/bash")
