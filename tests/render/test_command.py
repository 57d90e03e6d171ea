"""Command lines: every value becomes exactly one word of the shell."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
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


# No blanks or wildcards in them: `echo $(show {{ x }})` splits what show prints, which is what the template asks for.
NONCE = "zqx7v"
ATTACKS = [
    "$(touch${IFS}owned)",
    "`touch${IFS}owned`",
    ";touch${IFS}owned;",
    "';touch${IFS}owned;'",
    '";touch${IFS}owned;"',
    ")&touch${IFS}owned&(",
    "a[$(touch${IFS}owned)]",
    "}$(touch${IFS}owned)#",
    "b]=$(touch${IFS}owned)",
    "PATH=a,b",
    "esac",
    "2",
    "if",
    "'",
    '"',
    "#",
    "ME",
]
# Whatever was found out is in the output: that there is an error counts, its words (which have the value) do not
BASH = "show() { printf '[%s]' \"$@\"; }\n"


def bash(line, cwd):
    """What bash prints for `line`; "" where it fails."""
    done = subprocess.run(
        ["bash", "-c", BASH + line], capture_output=True, cwd=cwd, stdin=subprocess.DEVNULL, timeout=20
    )
    return done.stdout.decode(errors="replace")


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

    @settings(max_examples=25, deadline=None)
    @given(st.lists(printable, min_size=1, max_size=30))
    def check(values):
        params = {f"p{i}": value for i, value in enumerate(values)}
        line = command(" ".join(f"{{{{ {name} }}}}" for name in params), params, {})
        assert argv(line) == values

    check()


@pytest.mark.parametrize("template", ["--x '{{ x }}'", '--x "{{ x }}"', '--x "a{{ x }}b"', 'echo "it\'s {{ x }}"'])
def test_a_placeholder_inside_quotes_is_refused(template):
    with pytest.raises(RequestError, match=r"inside . quotes.*leave the quotes around it out"):
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


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("cat <<EOF\nx: {{ x }}\nEOF", "behind a here-document.*printf"),
        ("cat <<-'E' | tee a\n{{ x }}\nE", "behind a here-document"),
        ("cat <<EOF\na\nEOF\ntrain {{ x }}", "behind a here-document"),
        (r"echo \{{ x }}", "behind a backslash.*leave the backslash out"),
        (r"echo a\\\{{ x }}", "behind a backslash"),
        ("echo ${{ x }}", r"behind a \$"),
        ("echo $'{{ x }}'", r"inside \$' quotes"),
        (r"echo $'it\'s' {{ x }}", r"inside \$' quotes or behind it"),
        ('echo $"{{ x }}"', 'inside " quotes'),
        ("echo `id {{ x }}`", r"inside backticks.*write \$\("),
        ("echo ${y:-{{ x }}}", r"inside \$\{"),
        ("echo $(( {{ x }} * 2 ))", r"inside \(\("),
        ("(( n = {{ x }} ))", r"inside \(\("),
        ("echo $[ {{ x }} ]", r"\$\["),
        ("[[ {{ x }} -eq 1 ]]", r"inside \[\["),
        ("n[{{ x }}]=1", "inside a subscript"),
        ("n=([{{ x }}]=1)", "inside a subscript"),
        ('echo "$(id {{ x }})"', 'inside " quotes'),
        ('echo "$(case a in a) echo "{{ x }}";; esac)"', "behind a `case`"),
        ("show >& {{ x }}", "behind >&.*expands twice"),
        ("show >& \\\n  a{{ x }}", "behind >&"),
        ("train # {{ x }}", "in a comment"),
        ("for i in {1..{{ x }}}; do echo $i; done", "seq"),
        ('echo "{{ flags }}"', 'inside " quotes'),
        ("{% macro m(a) %}--a {{ a }}{% endmacro %}train {{ m(x) }}", "a macro"),
        ("{% filter truncate(3, true, '', 0) %}{{ x }} and more{% endfilter %}", "a filter cuts"),
    ],
)
def test_where_a_value_would_not_stay_one_word_it_is_refused(template, message):
    with pytest.raises(RequestError, match=f"trial.command: .*{message}"):
        command(template, {"x": "$(id)"}, {})


@pytest.mark.parametrize(
    "template",
    [
        "# don't forget\nshow {{ x }}",
        "show {{ x }} # don't forget",
        "show a#b {{ x }} ''#'' {{ x }}",
        "echo $(show {{ x }})",
        '[[ -n $HOME && "$HOME" == /* ]] && show {{ x }}',
        'N="$(nproc)" show {{ x }}; (show {{ x }}) | cat',
        'show "${HOME:-/tmp}" ${HOME%/*} $((1 + 2)) `echo a` {{ x }}',
        r"show \\{{ x }} \"{{ x }}\"",
        "show \\\n  {{ x }} \\\n  {{ x }}",
        "cat <<< {{ x }}",
        "case {{ x }} in a) show b;; *) show {{ x }};; esac",
        "x={{ x }} y=1; show $y",
        "show {{ x }}>out; cat out",
        "show $HOME{{ x }}",
        "{{ x }} || show {{ x }} 2>&1",
        "show {{ x }}\ncat <<EOF\nit's\nEOF",
        "if true; then show {{ x }}; fi",
        "n=(a {{ x }}); show ${n[1]} {{ x }}",
    ],
)
def test_what_bash_reads_as_one_word_is_allowed(template, tmp_path):
    for value in ATTACKS:
        line = command(template, {"x": value}, {})
        assert bash(line, tmp_path) == bash(command(template, {"x": NONCE}, {}), tmp_path).replace(NONCE, value)
        assert not (tmp_path / "owned").exists()


FRAGMENTS = [
    "show ", "show", "echo ", "cat ", " ", "\n", "\t", "a", "x=", "--y=", "$", "$$", "$HOME", "'", "\"", "`", "\\",
    "\\\n", " \\\n", "\\'", "\\\"", "$(", ")", "(", "((", "))", "$((", "1+", "${", "${y:-", "}", "$[", "[", "]", "n[",
    "n=(", "[[ ", " ]]", " == ", " =~ ", "{1..", "{a,", "# ", "#", "#don't", "<<E\n", "\nE\n", "<<<", "<<-'E'\n", "<",
    ">", "2>&1", "&& ", "|", ";", ";;", "case ", " in a) ", " in ", "esac", "if true; then ", "; fi", "for i in ",
    "; do ", "; done", "$'", "$\"", "shopt -s extglob\n", "@(", "!", "~", "*", "time ", "{ ", "; }",
]  # fmt: skip


def test_any_value_in_any_command_stays_that_string_or_is_refused(tmp_path):
    """Pieces of shell grammar in any order around placeholders, run by the bash that is here."""
    piece = st.sampled_from(FRAGMENTS)
    tried = []

    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(
        st.lists(piece, max_size=6), st.lists(piece, max_size=5), st.lists(piece, max_size=4), st.booleans(), st.data()
    )
    def check(before, between, behind, twice, data):
        value = data.draw(st.sampled_from(ATTACKS))
        holes = "\x04".join(
            ["".join(before), "".join(between), "".join(behind)] if twice else ["".join(before), "".join(behind)]
        )
        template = "{% raw %}" + holes.replace("\x04", "{% endraw %}{{ x }}{% raw %}") + "{% endraw %}"
        try:
            line, plain = (command(template, {"x": x}, {}) for x in (value, NONCE))
        except RequestError:
            return
        with tempfile.TemporaryDirectory(dir=tmp_path) as one, tempfile.TemporaryDirectory(dir=tmp_path) as other:
            got, expected = bash(line, Path(one)), bash(plain, Path(other))
            assert not Path(one, "owned").exists(), line
        tried.append(line)
        if NONCE in expected and "$$" not in line:
            assert got == expected.replace(NONCE, value), (line, plain)

    check()
    assert len(tried) > 30
