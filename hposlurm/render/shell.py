"""Values into a shell command: each becomes exactly one word, or the command is refused.

A scanner follows bash's grammar up to the last placeholder. It is meant to refuse too much rather than too little: what
it does not follow to the letter (here-documents, quotes inside backticks or `${…}`) may stand behind the placeholders,
not before them. sh reads the same text the same way, wherever it can read it at all.
"""

from __future__ import annotations

import re
from typing import NoReturn

# Around a value that is to be quoted, and around text that is shell code already; no value can contain these.
VALUE, SHELL, END = "\x01", "\x03", "\x02"
_PLACEHOLDER = re.compile(f"[{VALUE}{SHELL}]([^{VALUE}{SHELL}{END}]*){END}")
_MARKS = re.compile(f"[{VALUE}{SHELL}{END}]")

# A word that the shell takes as it is, wherever it stands; with a comma or = it might be an assignment or braces
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+-]+")
_KEYWORDS = frozenset(
    {"case", "coproc", "do", "done", "elif", "else", "esac", "fi", "for", "function", "if", "in", "select", "then"}
    | {"time", "until", "while"}
)
_BEFORE_PLAIN = re.compile(r"(?:[\w.-]+=)?")  # what may stand before a value in its word: nothing, or --name=
_AFTER_PLAIN = frozenset(" \t\n;&|)")
_RANGE = re.compile(r".*\{[^}]*\.\.", re.DOTALL)
_NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)

_RUN = re.compile(r"[\w./:,%+=@~?*{}!^-]+")  # what means nothing here, taken at once
_QUOTED_RUN = re.compile(f'[^"\\\\$`{VALUE}{SHELL}]+')
_DUPLICATING = ">&"  # stands in a word for what it is the target of
_METACHARACTERS = frozenset(" \t\n;&|()<>")
_SINGLE = re.compile(r"'[^']*'")
_ANSI = re.compile(r"\$'[^'\\]*'")
_BACKTICKS = re.compile(r"`[^`'\"\\]*`")
_BRACES = re.compile(r"""\$\{[\w#!@*?$-](?:[^{}()'"`\\]|\$\{[^{}()'"`\\]*\})*\}""")
_ARITHMETIC = re.compile(r"""\$?\(\((?:[^()'"`\\;\n]|\([^()'"`\\;\n]*\))*\)\)""")
_SUBSCRIPT = re.compile(r"""\[[^]\s'"`\\$()]*\]""")


class QuotingError(ValueError):
    """Why a value cannot be put where its placeholder stands."""


def quoted(text: str) -> str:
    """`text` as one word of the shell, in quotes only where it needs them as a word of its own."""
    return text if _PLAIN.fullmatch(text) and text not in _KEYWORDS else _in_quotes(text)


def _in_quotes(text: str) -> str:
    return "'" + text.replace("'", "'\"'\"'") + "'"


def marked(text: str, *, is_shell: bool = False) -> str:
    """`text` between the marks of a value, or of shell code; raises QuotingError if it has such marks itself."""
    if _MARKS.search(text):
        raise QuotingError(
            "a value has control characters, or is made by a macro or a {% set %} block with placeholders of its own"
        )
    return f"{SHELL if is_shell else VALUE}{text}{END}"


def with_values(text: str) -> str:
    """`text` with every marked value as one quoted word; raises QuotingError where that cannot be had."""
    result = _Scanner(text).run()
    if _MARKS.search(result):
        raise QuotingError("a filter cuts a placeholder's value apart")
    return result


class _Scanner:
    """`frames` are the open double quotes, parentheses and `[[`, each with the word in which it began."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._last = max(text.rfind(VALUE), text.rfind(SHELL))
        self._at = 0
        self._word = ""
        self._frames: list[tuple[str, str]] = []
        self._parts: list[str] = []

    def run(self) -> str:
        while self._at <= self._last:
            self._step(self._text[self._at])
        return "".join(self._parts) + self._text[self._at :]

    def _step(self, character: str) -> None:
        if character in (VALUE, SHELL):
            self._placeholder()
        elif character == "\\":
            self._escape()
        elif character in "$`":
            self._expansion()
        elif self._top == '"':
            if character == '"':
                self._close('"')
            run = _QUOTED_RUN.match(self._text, self._at)
            self._take(len(run[0]) if run else 1)
        else:
            self._code(character)

    @property
    def _top(self) -> str:
        return self._frames[-1][0] if self._frames else ""

    def _code(self, character: str) -> None:
        if character == "'":
            self._construct(
                _SINGLE, "inside ' quotes", "hposlurm quotes every value itself, so leave the quotes around it out"
            )
        elif character == '"':
            self._open('"')
            self._take(1)
        elif character == "#" and not self._word:
            self._comment()
        elif character in " \t" and self._word == _DUPLICATING:
            self._take(1)
        elif character in _METACHARACTERS:
            self._end_word()
            self._metacharacter(character)
        elif character == "[" and (_NAME.fullmatch(self._word) or (not self._word and self._top == "=(")):
            self._construct(_SUBSCRIPT, "inside a subscript", "the shell would calculate with it")
        else:
            run = _RUN.match(self._text, self._at)
            self._take(len(run[0]) if run else 1, run[0] if run else character)

    def _take(self, length: int, as_word: str = "") -> None:
        self._parts.append(self._text[self._at : self._at + length])
        self._at += length
        self._word += as_word

    def _open(self, kind: str) -> None:
        self._frames.append((kind, self._word))
        self._word = ""

    def _close(self, mark: str) -> None:
        self._word = self._frames.pop()[1] + mark

    def _refuse(self, where: str, instead: str) -> NoReturn:
        found = _PLACEHOLDER.search(self._text, self._at)
        shown = f" (here it is {found[1]!r})" if found else ""
        raise QuotingError(f"a placeholder stands {where}{shown}; {instead}")

    def _construct(self, form: re.Pattern[str], where: str, instead: str) -> None:
        """Takes what `form` describes as a whole; it may have no placeholder in it."""
        found = form.match(self._text, self._at)
        if found is None or _MARKS.search(found[0]):
            is_inside = found is not None or form is _SINGLE
            where = where if is_inside else f"{where} or behind it, and quotes or nesting in it hide where it ends"
            self._refuse(where, instead)
        self._take(len(found[0]), found[0])

    def _comment(self) -> None:
        if self._top == "[[":
            self._refuse("behind a # in [[ … ]]", "put the condition into a script of its own")
        end = self._text.find("\n", self._at)
        comment = self._text[self._at : end if end >= 0 else None]
        if _MARKS.search(comment):
            self._refuse("in a comment", "take it out of the comment")
        self._take(len(comment))

    def _escape(self) -> None:
        following = self._text[self._at + 1]
        if following in (VALUE, SHELL):
            self._refuse("behind a backslash", "hposlurm quotes every value itself, so leave the backslash out")
        if following == "\n":
            around = self._text[self._at - 1 : self._at], self._text[self._at + 2 : self._at + 3]
            if all(side and not side.isspace() for side in around):
                self._refuse(
                    "behind a \\ at the end of a line that cuts a word in two", "put a space before the backslash"
                )
            self._take(2)
        else:
            self._take(2, "\\" + following)

    def _expansion(self) -> None:
        ahead = self._text[self._at : self._at + 3]
        in_quotes = self._top == '"'
        if ahead[0] == "`":
            self._construct(_BACKTICKS, "inside backticks", "write $(…) instead of `…`")
        elif ahead == "$((":
            self._arithmetic()
        elif ahead[1] == "(":
            self._open("$(")
            self._take(2)
        elif ahead[1] == "{":
            self._construct(_BRACES, "inside ${…}", "take it out of the braces")
        elif ahead[1] == "[":
            self._refuse("inside or behind $[…]", "write $((…)) instead of $[…]")
        elif ahead[1] == "'" and not in_quotes:
            self._construct(_ANSI, "inside $' quotes", "leave the quotes out; without backslashes '…' is the same")
        elif ahead[1] in (VALUE, SHELL):
            self._refuse("behind a $", "leave the $ out: {{ … }} is the value itself")
        elif ahead[1] == "$":
            if ahead[2:] in ("(", "{", "[", "'", '"', "`", "$", VALUE, SHELL):
                self._refuse(f"behind {ahead[:2]}", "put a space behind $$")
            self._take(2, "$$")
        else:
            self._take(1, "$")

    def _arithmetic(self) -> None:
        where, instead = "inside ((…))", "calculate in the placeholder: {{ … * 2 }}"
        found = _ARITHMETIC.match(self._text, self._at)
        if found is None or "$(" in found[0][1:] or (found[0][0] == "(" and re.search("<<|#", found[0])):
            self._refuse(f"{where} or behind it, and what is in it hides where it ends", instead)
        self._construct(_ARITHMETIC, where, instead)

    def _end_word(self) -> None:
        word = self._word
        if word in ("shopt", "alias"):
            self._refuse(f"behind {word}", f"which changes how a command is read; put {word} into a script of its own")
        if word == "case" and any(kind in ('"', "$(") for kind, _ in self._frames):
            self._refuse("behind a `case` inside $(…)", "put that into a script of its own")
        if self._top == "[[" and word in ("=~", "]]"):
            if word == "=~":
                self._refuse("behind a =~", "put the condition into a script of its own")
            self._frames.pop()
        elif word == "[[":
            self._open("[[")
        self._word = ""

    def _metacharacter(self, character: str) -> None:
        text, at, was = self._text, self._at, self._text[self._at - 1 : self._at]
        if character in "()" and self._top == "[[":
            self._refuse("behind a parenthesis in [[ … ]]", "put the condition into a script of its own")
        if text.startswith("((", at):
            self._arithmetic()
            self._word = ""
        elif character == "(":
            self._open("=(" if was == "=" else "(")
            self._take(1)
        elif character == ")":
            if text.startswith("#", at + 1):
                self._refuse("behind a # that touches a )", "put a space before the #")
            if self._frames:
                kind = self._top
                self._close("$()")
                self._word = self._word if kind == "$(" else ""
            self._take(1)
        elif text.startswith("<<", at) and not text.startswith("<<<", at):
            self._refuse(
                "behind a here-document (<<), in which its value would be read as shell code",
                'write the file with printf "%s\\n" …, or pass the value as an argument of the program',
            )
        elif text.startswith((">&", "<&"), at):
            self._take(2, _DUPLICATING)
        else:
            self._take(3 if text.startswith("<<<", at) else 1)

    def _placeholder(self) -> None:
        kinds = [kind for kind, _ in self._frames]
        if '"' in kinds:
            self._refuse('inside " quotes', "hposlurm quotes every value itself, so leave the quotes around it out")
        if "[[" in kinds:
            self._refuse("inside [[ … ]]", "write [ … ], or {% if … %}")
        if self._word.startswith(_DUPLICATING):
            self._refuse("behind >&, which bash expands twice", "write > FILE 2>&1")
        if _RANGE.fullmatch(self._word):
            self._refuse("inside {…..…}", "write $(seq …)")
        found = _PLACEHOLDER.match(self._text, self._at)
        if found is None:
            raise QuotingError("a filter cuts a placeholder's value apart")
        after = self._text[found.end() : found.end() + 1]
        is_alone = _BEFORE_PLAIN.fullmatch(self._word) and (not after or after in _AFTER_PLAIN)
        if found[0][0] == SHELL:
            self._parts.append(found[1])
        else:
            self._parts.append(quoted(found[1]) if is_alone else _in_quotes(found[1]))
        self._at = found.end()
        self._word += "'"
