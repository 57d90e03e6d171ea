"""Command lines: every value becomes exactly one word of the shell."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest
import yaml
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
    assert shlex.split(line) == ["run", "--x=-9.0e-05", "--y=-a b"]


def test_flags_are_all_active_parameters():
    assert (
        command("run {{ flags }}", {"lr": 1e-05, "opt": "a b", "on": True}, {})
        == "run --lr 1.0e-05 --opt 'a b' --on true"
    )


def test_a_filtered_value_is_quoted_after_the_filter():
    assert command("{{ x | upper }}", {"x": "a;b"}, {}) == "'A;B'"
    assert argv(command("{{ bs * 4 }} {{ a ~ b }}", {"bs": 2, "a": "$", "b": "HOME"}, {})) == ["8", "$HOME"]


def test_resume_from_is_left_to_the_shell():
    template = "run{% if resume_from %} --resume {{ resume_from }}{% endif %}"
    assert command(template, {}, {"resume_from": ""}) == "run"
    assert command(template, {}, {"resume_from": "/x"}) == 'run --resume "$HPOSLURM_RESUME_FROM"'


def test_values_use_the_words_of_yaml():
    assert [word(v) for v in (True, False, None, 1e-05, 2, "x")] == ["true", "false", "null", "1.0e-05", "2", "x"]


# Grammars of readers that are not here: Java's Double.valueOf, and Hydra's FLOAT (OverrideLexer.g4)
JAVA = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?[fFdD]?")
HYDRA = re.compile(r"[+-]?((0|[1-9]\d*)?\.\d+|(0|[1-9]\d*)\.|((0|[1-9]\d*)(\.\d*)?|\.\d+)[eE][+-]?\d+)")
TINY_AND_HUGE = [1e-05, -9e-05, 5e-324, 1e22, 1.5e-07, 1e16, 0.1, 1.0, -0.0, 1.7976931348623157e308]


@given(st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(TINY_AND_HUGE))
def test_every_reader_takes_a_float_for_exactly_that_number(value: float) -> None:
    text = word(value)
    for read in (float, yaml.safe_load, json.loads):
        found = read(text)
        assert isinstance(found, float) and found.hex() == value.hex()
    assert JAVA.fullmatch(text) and HYDRA.fullmatch(text)


def test_bash_prints_the_same_number():
    words = [word(value) for value in TINY_AND_HUGE]
    done = subprocess.run(
        ["bash", "-c", 'printf "%.17g\\n" "$@"', "-", *words], capture_output=True, text=True, check=True
    )
    assert list(map(float, done.stdout.split())) == TINY_AND_HUGE and done.stderr == ""


def test_floats_are_written_alike_in_texts_and_in_json():
    params = {"lr": 1e-05, "text": 'a "1e-05" \\', "list": 2.5e-07}
    line = command("{{ 'lr=' ~ lr }} {{ '%s' % lr }} {{ params | json }} {{ lr * 0.1 }}", params, {})
    joined, formatted, text, product = shlex.split(line)
    assert (joined, formatted, product) == ("lr=1.0e-05", "1.0e-05", word(1e-05 * 0.1))
    assert json.loads(text) == params == yaml.safe_load(text)


def test_a_template_reaches_nothing_of_python():
    with pytest.raises(RequestError, match=r"trial.command: access to attribute '__init__' .* unsafe in \{\{ cycler"):
        command("{{ cycler.__init__.__globals__.os.system('id') }}", {}, {})
