"""Templates of unknown origin: nothing of Python, no endless rendering, no unbounded memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from hposlurm.errors import RequestError
from hposlurm.render.command import command_line
from hposlurm.render.environment import filled, for_commands, for_files
from hposlurm.render.sandbox import MOST_CHARACTERS
from tests.spec.data import changed, problems_of

REACHING = [
    "{{ cycler.__init__.__globals__.os.system('touch OWNED') }}",
    "{{ joiner['__init__']['__globals__'] }}",
    "{{ cycler | attr('__init__') }}",
    "{{ (cycler | attr('__in' ~ 'it__')) }}",
    "{{ [cycler] | map(attribute='__init__') | list }}",
    "{{ [cycler] | map('attr', '__init__') | first }}",
    "{{ [cycler] | selectattr('__init__') | list }}",
    "{{ [cycler] | groupby('__init__') }}",
    "{{ [cycler] | sum(attribute='__init__') }}",
    "{{ '{0.__class__}'.format(lr) }}",
    "{{ ('{0.__class__}' | attr('format'))(lr) }}",
    "{% set f = ['{0.__class__}'] | map('attr', 'format') | first %}{{ f(lr) }}",
    "{{ '{x.__class__}'.format_map({'x': lr}) }}",
    "{% set f = '{0.__class__.__mro__}'.format %}{{ f(lr) }}",
    "{{ ().__class__.__base__.__subclasses__() }}",
    "{{ self.__init__.__globals__ }}",
    "{{ self._TemplateReference__context }}",
    "{% macro m() %}{% endmacro %}{{ m.__globals__ }}",
    "{% for x in [1] %}{{ loop.__class__ }}{% endfor %}",
    "{{ namespace().__init__ }}",
    "{{ dict.mro() }}",
    "{{ (1, 2).append(3) }}",
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os }}",
    "{% extends '/etc/passwd' %}",
]
ENDLESS = [
    "{% for i in range(10**9) %}{% endfor %}",
    "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
    "{% for i in range(999) %}{% for j in range(999) %}" + "x" * 999 + "{% endfor %}{% endfor %}",
    "{{ 'x' * 10**9 }}",
    "{{ 10**9 * 'x' }}",
    "{{ [1] * 10**9 }}",
    "{{ ('x' * 9999) * 9999 }}",
    "{{ 10 ** (10 ** 10) }}",
    "{{ (9 ** (9 ** 9)) % 7 }}",
    "{{ '%999999999d' % 1 }}",
    "{{ '%*d' % (999999999, 1) }}",
    "{{ '%.999999999f' | format(1.5) }}",
    "{{ '{:>999999999}'.format(1) }}",
    "{{ '{:>{}}'.format(1, 999999999) }}",
    "{{ 'x' | center(10**9) }}",
    "{{ 'x'.ljust(10**9) }}",
    "{{ 'x'.encode().zfill(10**9) }}",
    "{{ '\t'.expandtabs(10**9) }}",
    "{{ (1).to_bytes(10**9, 'big') }}",
    "{{ 'a\nb' | indent(10**9) }}",
    "{{ [1] | batch(10**9, 0) | list }}",
    "{{ [1] | slice(10**9) | list }}",
    "{{ [1] | tojson(10**9) }}",
    "{{ 'x' * 30000 | replace('x', 'y' * 30000) }}",
    "{{ ('x' * 30000).replace('x', 'y' * 30000) }}",
    "{{ ('y' * 30000).join('x' * 30000) }}",
    "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x ~ n.x %}{% endfor %}",
    "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set n.x = n.x + n.x %}{% endfor %}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n.x }}",
    "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = [n.x, n.x] %}{% endfor %}{{ n }}",
    "{% set n = namespace(x='x') %}{% for i in range(60) %}{% set y %}{{ n.x }}{{ n.x }}{% endset %}"
    "{% set n.x = y %}{% endfor %}",
    "{% macro f(n) %}{{ f(n) }}{{ f(n) }}{% endmacro %}{{ f(1) }}",
    "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
    "{% for x in [[1]] recursive %}{{ loop([[1]]) }}{{ loop([[1]]) }}{% endfor %}",
    "{% set a = range(9999) | list %}{% for i in range(9999) %}{% if -1 in a %}{% endif %}{% endfor %}",
    "{% set a = 'x' * 30000 %}{% for i in range(9999) %}{% set b = a[1:] %}{% endfor %}",
    "{% set a = range(9999) | list %}{% for i in range(9999) %}{% if a is eq a %}{% endif %}{% endfor %}",
    "{{ lipsum(n=10**6) }}",
    "x" * (MOST_CHARACTERS + 1),
]


@pytest.mark.parametrize("text", REACHING)
def test_a_template_reaches_nothing_of_python(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for render in (
        lambda: command_line(f"echo {{{{ lr }}}} {text}", {"lr": 0.1}, {}),
        lambda: filled(text, "my.j2", {"lr": 0.1}, what="a batch script"),
    ):
        try:
            made = render()
        except RequestError:
            continue
        assert "Undefined" in made or made in ("[]", "echo 0.1 '[]'")  # of a list of what was not reached
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("text", ENDLESS, ids=range(len(ENDLESS)))
def test_a_template_has_a_limited_number_of_steps(text: str) -> None:
    for environment in (for_commands(), for_files()):
        with pytest.raises(Exception, match=r"at most|more than|too|undefined|recursion") as caught:
            environment.from_string(text).render(lr=0.1)
        assert not isinstance(caught.value, MemoryError)


def test_a_limit_is_a_problem_of_the_study_file() -> None:
    (problem,) = problems_of(changed(trial__command="train {{ lr }} {% for i in range(99999) %}{% endfor %}"))
    assert problem.startswith("trial.command: it takes more than 20000 steps; a turn of a loop, a call, or 16 ")
    (problem,) = problems_of(changed(trial__command="x" * 100_001))
    assert problem == "trial.command: has 100001 characters; at most 100000 are allowed"


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ '%.3e' | format(lr) }} {{ '%03d' % 7 }} {{ '{:.2e}'.format(lr) }}", "1.000e-01 007 1.00e-01"),
        ("{{ bs * 100000 }} {{ 2 ** 40 }} {{ bs ** 0.5 }} {{ -bs // 3 }}", "6400000 1099511627776 8.0 -22"),
        (
            "{% for i in range(300) %}{{ i }}{% if not loop.last %},{% endif %}{% endfor %}",
            ",".join(map(str, range(300))),
        ),
        ("{{ ['a', 'b'] | join('-') }} {{ 'a_b'.replace('_', '.') }} {{ 'x' * 5 }}", "a-b a.b xxxxx"),
        ("{% set n = namespace(x=0) %}{% for i in [1, 2] %}{% set n.x = n.x + i %}{% endfor %}{{ n.x }}", "3"),
        ("{{ [bs, 2] | map('string') | list | tojson }} {{ 1 if lr < 1 <= bs else 0 }}", '["64", "2"] 1'),
        ("{% macro f(a) %}<{{ a }}>{% endmacro %}{{ f(1) }}{{ 'abc'[1:] }}{{ 'a' ~ 1 }}", "<1>bca1"),
        ("{% set x %}ab{% endset %}{{ x }}{% filter upper %}cd{% endfilter %}", "abCD"),
    ],
)
def test_what_people_write_is_computed(text: str, made: str) -> None:
    assert for_commands().from_string(text).render(lr=0.1, bs=64) == made


def test_a_rendering_does_not_pay_for_the_one_before() -> None:
    template = for_commands().from_string("{% for i in range(900) %}{% endfor %}")
    for _ in range(50):
        template.render()


def test_all_of_it_takes_little_memory() -> None:
    code = (  # not ru_maxrss, which begins with what the process had that started this one
        "from tests.render.test_sandbox import ENDLESS, REACHING; from hposlurm.render.environment import for_files\n"
        "for text in ENDLESS + REACHING:\n"
        "    try: for_files().from_string(text).render(lr=0.1)\n"
        "    except Exception: pass\n"
        "import pathlib, re\n"
        "print(re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert int(done.stdout) < 400 * 1024
