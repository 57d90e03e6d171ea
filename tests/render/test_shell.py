"""Values into a shell command: where they stay one word, and where they are refused."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hposlurm.errors import RequestError
from hposlurm.render.command import command_line as command

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


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("cat <<EOF\nx: {{ x }}\nEOF", "after a here-document.*printf"),
        ("cat <<-'E' | tee a\n{{ x }}\nE", "after a here-document"),
        ("cat <<EOF\na\nEOF\ntrain {{ x }}", "after a here-document"),
        (r"echo \{{ x }}", "after a backslash.*leave out the backslash"),
        (r"echo a\\\{{ x }}", "after a backslash"),
        ("echo ${{ x }}", r"after a \$"),
        ("echo $'{{ x }}'", r"inside \$' quotes"),
        (r"echo $'it\'s' {{ x }}", r"inside \$' quotes or after that"),
        ('echo $"{{ x }}"', 'inside " quotes'),
        ("echo `id {{ x }}`", r"inside backticks.*give it to a variable"),
        ("echo ${y:-{{ x }}}", r"inside \$\{"),
        ("echo $(( {{ x }} * 2 ))", r"inside \(\("),
        ("(( n = {{ x }} ))", r"inside \(\("),
        ("echo $[ {{ x }} ]", r"\$\["),
        ("[[ {{ x }} -eq 1 ]]", r"inside \[\["),
        ("n[{{ x }}]=1", "inside a subscript"),
        ("n=([{{ x }}]=1)", r"inside \(…\) that touches"),
        ('echo "$(id {{ x }})"', 'inside " quotes'),
        ('echo "$(case a in a) echo "{{ x }}";; esac)"', 'inside " quotes or after that'),
        ("show >& {{ x }}", "after >&.*expands twice"),
        ("show >& \\\n  a{{ x }}", "after >&"),
        ("train # {{ x }}", "in a comment"),
        ("for i in {1..{{ x }}}; do echo $i; done", "seq"),
        ('echo "{{ flags }}"', 'inside " quotes'),
        ("echo $(show {{ x }})", r"inside \$\(…\).*give it to a variable"),
        ("echo $(cat <<<a) {{ x }}", r"inside \$\(…\) or after that, and quotes or nesting"),
        ("n=(a {{ x }})", r"inside \(…\) that touches"),
        ("show a*{{ x }}", "in one word with"),
        ("show {{ x }}{a,b}", "in one word with"),
        ("n[0 {{ x }} ]=1", "inside a subscript"),
        ('show {{ x }}$(echo "a")', r"right before '\$'.*put a space"),
        ("shopt -s expand_aliases; alias a='#'\na {{ x }}", "after shopt"),
        ("[[ a =~ b ]] && show {{ x }}", "after =~"),
        ("[[ a # ]]\n && show {{ x }}", r"inside \[\["),
        ("{% macro m(a) %}--a {{ a }}{% endmacro %}train {{ m(x) }}", "a macro"),
        ("{% filter truncate(3, true, '', 0) %}{{ x }} and more{% endfilter %}", "a filter splits"),
    ],
)
def test_where_a_value_would_not_stay_one_word_it_is_refused(template, message):
    with pytest.raises(RequestError, match=f"trial.command: .*{message}"):
        command(template, {"x": "$(id)"}, {})


@pytest.mark.parametrize(
    "template",
    [
        "# don't forget\nshow {{ x }}",
        "[ -n $$ ] || kill -9 $$; show {{ x }}",
        "show {{ x }} # don't forget",
        "show a#b {{ x }} ''#'' {{ x }}",
        'v={{ x }}; echo "$(show "$v")"',
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
        "show ${n[1]} {{ x }}",
        "show --out={{ x }}.txt $HOME/{{ x }},{{ x }} ~/'a b'{{ x }}\"$HOME\" > {{ x }}.log",
        "ls *.txt {a,b} [a-c]? 2>/dev/null; show {{ x }}",
        "(cd / && show {{ x }}) && { show {{ x }}; }",
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

    @settings(max_examples=200, suppress_health_check=list(HealthCheck))
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


# Words in which a placeholder stands, others, and what may stand between words; `show` begins a command
WORDS = ["{{ x }}", "--x={{ x }}", "x={{ x }}", "{{ x }}/out.txt", '"$HOME"/{{ x }}', "a'b c'{{ x }}", "\\ {{ x }}"]
WORDS += ["{{ x }},{{ x }}", "$HOME{{ x }}", "~/{{ x }}", "${HOME%/*}{{ x }}", "{{ x }}$(echo a)"]
OTHERS = ["a", "'it is'", '"$HOME"', '"a $(echo b)"', "$(echo a b)", "$((1 + 2))", "`echo a`", "*", "{a,b}", "a#b"]
OTHERS += ["--flag", "\\*", "$#", "!", "[ a ]", "]", "=", "2"]
ENDS = [" ", " ", "\t", " \\\n  ", "; show ", " && show ", " | cat; show ", " # it's\nshow ", " 2>&1; show "]
ENDS += [" >/dev/null\nshow ", " <<< a ; show ", "; (show a); show ", "; [[ a == b ]]; show "]
VALUES = st.one_of(
    st.sampled_from([*ATTACKS, "a b", "*", "~", "-n", "{a,b}", "$HOME", "a\nb", "[[", "!", "\\", "\\\n", "a=b", ""]),
    st.text(st.characters(exclude_categories=["Cc", "Cs"]), max_size=8),
)
# What `show` gets: a NUL after every word
WRITES_WORDS = 'show() { [ $# -eq 0 ] || printf "%s\\0" "$@" >&9; }\nexec 9>words\n'


def words_of_show(line: str, directory: Path) -> list[str]:
    """Every word that `show` gets when bash runs `line`, in order."""
    subprocess.run(
        ["bash", "-c", WRITES_WORDS + line], cwd=directory, stdin=subprocess.DEVNULL, capture_output=True, timeout=20
    )
    assert [path.name for path in directory.iterdir()] == ["words"], line
    return (directory / "words").read_bytes().decode().split("\0")[:-1]


def test_every_accepted_placeholder_is_in_exactly_one_word_with_exactly_its_value(tmp_path):
    part = st.tuples(st.sampled_from([*WORDS, *OTHERS]), st.sampled_from(ENDS))
    arrived = 0

    @settings(max_examples=100, suppress_health_check=list(HealthCheck))
    @given(st.lists(part, max_size=6), st.sampled_from(WORDS), VALUES)
    def check(parts, last, value):
        nonlocal arrived
        template = "show " + "".join(map("".join, parts)) + last
        line, plain = (command(template, {"x": x}, {}) for x in (value, NONCE))
        with tempfile.TemporaryDirectory(dir=tmp_path) as one, tempfile.TemporaryDirectory(dir=tmp_path) as other:
            got, expected = words_of_show(line, Path(one)), words_of_show(plain, Path(other))
        assert got == [word.replace(NONCE, value) for word in expected], line
        assert "".join(expected).count(NONCE) == template.count("{{ x }}"), plain
        arrived += template.count("{{ x }}")

    check()
    assert arrived > 100
