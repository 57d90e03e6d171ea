"""Puts values into a shell command: each becomes an unbroken part of exactly one word, or the command is refused.

The text up to the last placeholder must be a plain sequence of words, operators and comments, in which bash and sh find
the same ends of words as the expressions here. A placeholder is a whole word, or it stands in a word between plain
characters, quotes and variables: `{{ x }}`, `--x={{ x }}`, `"$HOME"/{{ x }}.txt`. Anything may follow the last such
word.
"""

from __future__ import annotations

import re
from typing import NoReturn

# Marks around a value to be quoted, and around text that is shell code already; no value can contain them.
VALUE, SHELL, END = "\x01", "\x03", "\x02"
_MARKS = re.compile(f"[{VALUE}{SHELL}{END}]")
_PLACEHOLDER = re.compile(f"[{VALUE}{SHELL}]([^{VALUE}{SHELL}{END}]*){END}")

# A word that means itself to the shell in any place; with a comma or = it might be an assignment or braces
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]+")
_KEYWORDS = frozenset(
    {"case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then"}
    | {"time", "until", "while"}
)

# The forms of text before a placeholder. \x01-\x03 are the marks: only a placeholder has them inside.
_COMMAND = r"(?![^)`]*\bcase\b)[\w ./:,=@%+~|$-]*"  # nothing in it hides its end, as the ")" of a case would
_VARIABLE = r"""\$(?:[\w#?!@*$-]|\{[\w#!@*?-][^\s{}()'"`\\\x01-\x03]*\})"""
_EXPANSION = rf"{_VARIABLE}|\$\(\([\w +*/%-]*\)\)|\$\({_COMMAND}\)"
_QUOTES = rf"""'[^'\x01-\x03]*'|"(?:[^"\\$`\x01-\x03]|\\[^\x01-\x03]|{_EXPANSION})*\""""
_PIECE = rf"""[^\s"'$`\\();&|<>*?[\]{{}}\x01-\x03]|\\[^\n\x01-\x03]|{_QUOTES}|{_EXPANSION}|{_PLACEHOLDER.pattern}"""
_PLAIN_WORD = re.compile(rf"(?:{_PIECE})+")
_OTHER_PIECE = rf"`{_COMMAND}`|[*?{{}}\]]|\[[\w.,!^@*-]+\]"  # a wildcard, for example, may give several words or none
_WORD = re.compile(rf"(?!#)(?:\[\[?(?=[ \t\n])|(?:{_PIECE}|{_OTHER_PIECE})+)")
_JOINED_LINES = r"\\\n(?=[ \t\n])|(?<=[ \t\n])\\\n"
_PARENTHESIS = r"(?<![^ \t\n;&|(])\((?!\()|\)(?!#)"  # neither ((, =( nor <(
_OPERATOR = rf"<<<|[<>]&(?:\d+|-)(?![^ \t\n;&|)])|<(?![<&])|>(?!&)|[;&|]|{_PARENTHESIS}"
_BETWEEN = re.compile(rf"(?:[ \t\n]|{_JOINED_LINES}|{_OPERATOR}|#[^\n\x01-\x03]*(?![^\n]))*")
_WHOLE_WORD = re.compile(rf"(?:[\w.-]+=)?{_PLACEHOLDER.pattern}(?=[ \t\n;&|)]|\Z)")

# The places where a placeholder is refused: how the place begins, how it ends, its name, and what to do instead
_AS_VARIABLE = 'give it to a variable, v={{ … }}, and write "$v" here'
_AS_SCRIPT = "put that into a separate script"
_LEAVE_OUT = "hposlurm quotes every value itself, so leave out the quotes around it"
_INNER_SHELL = """; for a shell inside the command write bash -c '… "$@"' _ {{ flags }}"""
_IN_SINGLE = f"{_LEAVE_OUT}{_INNER_SHELL}"
_IN_DOUBLE = f'{_LEAVE_OUT}, or write "$HPOSLURM_PARAM_<name>" in them{_INNER_SHELL}'
_INSIDE = (
    ("'", "'", "' quotes", _IN_SINGLE),
    ('"', '"', '" quotes', _IN_DOUBLE),
    ("$'", "'", "$' quotes", "leave out the quotes; without backslashes '…' is the same"),
    ('$"', '"', '" quotes', _IN_DOUBLE),
    ("`", "`", "backticks", _AS_VARIABLE),
    ("$((", "))", "((…))", "calculate in the placeholder: {{ … * 2 }}"),
    ("((", "))", "((…))", "calculate in the placeholder: {{ … * 2 }}"),
    ("$(", ")", "$(…)", _AS_VARIABLE),
    ("(", ")", "(…) that touches the text before it", _AS_SCRIPT),
    ("${", "}", "${…}", _AS_VARIABLE),
    ("$[", "]", "$[…]", "write $((…)) instead of $[…]"),
    ("[", "]", "a subscript or wildcard […]", _AS_SCRIPT),
)
_HERE_DOCUMENT = "after a here-document (<<), which would read its value as shell code"
_AT = (
    ("#", "in a comment", "take it out of the comment"),
    ("<<", _HERE_DOCUMENT, 'write the file with printf "%s\\n" …, or pass the value as an argument of the program'),
    ("$", "after a $", "leave out the $: {{ … }} is the value itself"),
    ("\\\n", "after a \\ at the end of a line, which splits a word", "put a space before the backslash"),
    ("\\", "after a backslash", "hposlurm quotes every value itself, so leave out the backslash"),
    (">&", "after >&, which bash expands twice", "write > FILE 2>&1"),
)


class QuotingError(ValueError):
    """Raised with the reason why a value cannot stand in the place of its placeholder."""


class ShellCode(str):
    """Text that is shell code already and must not be quoted again."""


def quoted(text: str) -> str:
    """Returns `text` as one word of the shell, in quotes only if a whole word needs them."""
    return text if _PLAIN.fullmatch(text) and text not in _KEYWORDS else _in_quotes(text)


def _in_quotes(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def marked(text: str, *, is_shell: bool = False) -> str:
    """Returns `text` between the marks of a value, or of shell code; raises QuotingError if it contains a mark."""
    if _MARKS.search(text):
        raise QuotingError(
            "a value has control characters, or comes from a macro or a {% set %} block that contains placeholders"
        )
    return f"{SHELL if is_shell else VALUE}{text}{END}"


def with_values(text: str) -> str:
    """Returns `text` with every marked value in quotes; raises QuotingError where a value would not stay one word."""
    last = max(text.rfind(VALUE), text.rfind(SHELL))
    parts: list[str] = []
    at, in_condition = 0, False
    while at <= last:
        start = _after_operators(text, at)
        found = _WORD.match(text, start) if start > at or at == 0 else None
        if found is None:
            _refuse_at(text, start)
        word = found[0]
        if word in ("alias", "shopt") or (in_condition and word == "=~"):
            _refuse(text, start, f"after {word}, which changes how a command is read", _AS_SCRIPT)
        if in_condition and (set("#()") & set(text[at:start]) or _MARKS.search(word)):
            _refuse(text, start, "inside [[ … ]] or after that", "write [ … ], or {% if … %}")
        in_condition = word == "[[" or (in_condition and word != "]]")
        parts += [text[at:start], _substituted(text, start, word)]
        at = found.end()
    if parts and at < len(text) and _after_operators(text, at) == at:
        _refuse_at(text, at)
    return "".join(parts) + text[at:]


def _after_operators(text: str, at: int) -> int:
    found = _BETWEEN.match(text, at)
    return found.end() if found else at


def _substituted(text: str, start: int, word: str) -> str:
    if _MARKS.search(word) and not _PLAIN_WORD.fullmatch(word):
        _refuse(text, start, "in one word with * ? [ ] { or }", "put these in quotes; instead of {1..…} write $(seq …)")
    write = quoted if _WHOLE_WORD.match(text, start) else _in_quotes
    return _PLACEHOLDER.sub(lambda found: found[1] if found[0][0] == SHELL else write(found[1]), word)


def _refuse_at(text: str, at: int) -> NoReturn:
    """Raises QuotingError for the text that begins at `at`, which must not stand before a placeholder or touch one."""
    before, *more = _MARKS.split(text[at:], maxsplit=1)
    if not before:
        raise QuotingError("a filter splits a placeholder's value")
    if not more:
        _refuse(text, at, f"right before {before[0]!r}", "put a space between them")
    for opening, closing, name, instead in _INSIDE:
        if before.startswith(opening):
            is_inside = closing not in before[len(opening) :]
            after = "" if is_inside else " or after that, and quotes or nesting hide where it ends"
            _refuse(text, at, f"inside {name}{after}", instead)
    for opening, where, instead in _AT:
        if before.startswith(opening):
            _refuse(text, at, where, instead)
    _refuse(text, at, f"after {before[0]!r}", _AS_SCRIPT)


def _refuse(text: str, at: int, where: str, instead: str) -> NoReturn:
    values = [found[1] for found in _PLACEHOLDER.finditer(text) if found.end() > at or found.end() > text.rfind(END)]
    shown = f" (here it is {values[0]!r})" if values else ""
    raise QuotingError(f"a placeholder stands {where}{shown}; {instead}")
