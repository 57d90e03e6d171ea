"""Command lines: every value becomes exactly one word of the shell."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hposlurm.errors import RequestError
from hposlurm.render.command import command_line as command
from hposlurm.trial import param_text as word

HOSTILE = [
    '"; rm -rf ~"',
    "$(touch /tmp/owned)",
    "`id`",
    "a b  c",
    "'",
    '"',
    "\\",
    "*",
    "~",
    "{{ lr }}",
    "a;b",
    "#",
    "é\u202e",
    "",
]


def argv(line: str) -> list[str]:
    """What a program receives as its arguments when bash runs `line`."""
    shown = f"{sys.executable} -c 'import json, sys; print(json.dumps(sys.argv[1:]))' "
    done = subprocess.run(["bash", "-c", shown + line], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_value_arrives_as_that_string(value):
    assert argv(command("--x {{ x }} end", {"x": value}, {})) == ["--x", value, "end"]


def test_any_values_arrive_as_they_are():
    printable = st.text(st.characters(exclude_categories=("Cc", "Cs")), max_size=20)

    @settings(max_examples=25)
    @given(st.lists(printable, min_size=1, max_size=30))
    def check(values):
        params = {f"p{i}": value for i, value in enumerate(values)}
        line = command(" ".join(f"{{{{ {name} }}}}" for name in params), params, {})
        assert argv(line) == values

    check()


@pytest.mark.parametrize("template", ["--x '{{ x }}'", '--x "{{ x }}"', '--x "a{{ x }}b"', 'echo "it\'s {{ x }}"'])
def test_a_placeholder_inside_quotes_is_refused(template):
    with pytest.raises(RequestError, match=r"inside . quotes.*leave out the quotes around it"):
        command(template, {"x": "$(id)"}, {})


@pytest.mark.parametrize(
    "template", ["echo 'it' {{ x }}", 'echo "a" {{ x }} "b"', r"echo \" {{ x }}", "echo 'a'\"b\" {{ x }}"]
)
def test_quotes_elsewhere_are_fine(template):
    assert command(template, {"x": "$(id)"}, {}).count("'$(id)'") == 1


def test_an_undefined_name_is_an_error_and_not_empty():
    with pytest.raises(RequestError, match=r"'lrr' is undefined"):
        command("--lr {{ lrr }}", {"lr": 0.1}, {})


def test_an_inactive_parameter_can_be_asked_for():
    template = "run{% if momentum is defined %} --momentum {{ momentum }}{% endif %}"
    assert command(template, {}, {}) == "run"
    assert command(template, {"momentum": 0.9}, {}) == "run --momentum 0.9"


def test_a_flag_with_a_negative_value_is_one_word_which_argparse_needs():
    line = command("run {{ flags }}", {"x": -9e-05, "y": "-a b"}, {})
    assert shlex.split(line) == ["run", "--x=-9e-05", "--y=-a b"]


def test_flags_are_all_active_parameters():
    assert (
        command("run {{ flags }}", {"lr": 1e-05, "opt": "a b", "on": True}, {})
        == "run --lr 1e-05 --opt 'a b' --on true"
    )


def test_a_filtered_value_is_quoted_after_the_filter():
    assert command("{{ x | upper }}", {"x": "a;b"}, {}) == "'A;B'"
    assert argv(command("{{ bs * 4 }} {{ a ~ b }}", {"bs": 2, "a": "$", "b": "HOME"}, {})) == ["8", "$HOME"]


def test_resume_from_is_left_to_the_shell():
    template = "run{% if resume_from %} --resume {{ resume_from }}{% endif %}"
    assert command(template, {}, {"resume_from": ""}) == "run"
    assert command(template, {}, {"resume_from": "/x"}) == 'run --resume "$HPOSLURM_RESUME_FROM"'


def test_values_use_the_words_of_yaml():
    assert [word(v) for v in (True, False, None, 1e-05, 2, "x")] == ["true", "false", "null", "1e-05", "2", "x"]


def test_a_template_reaches_nothing_of_python():
    with pytest.raises(RequestError, match=r"trial.command: access to attribute '__init__' .* unsafe in \{\{ cycler"):
        command("{{ cycler.__init__.__globals__.os.system('id') }}", {}, {})
