"""SQuAD v1.1 and v2 without torch: reads files, chooses samples, builds prompts, labels, windows, computes scores."""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NEAR = 30  # characters: where no blank is nearer, as in Chinese, Thai or code, a window is cut between any two
IGNORED = -100  # the label that PyTorch's cross entropy ignores
SPLIT_SEED = 0  # fixed, independent of a trial's seed: all trials use the same samples, so they are comparable


class DataError(ValueError):
    """The requested data cannot be used. The message names the data and the reason."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question. `answers[0]` is in `context` at character `start`; the other answers are also accepted.

    Without `answers` the right answer is that the context has none (SQuAD v2).
    """

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    start: int

    @property
    def answer(self) -> str:
        """The answer to train on: "" if the context has none."""
        return self.answers[0] if self.answers else ""

    @property
    def end(self) -> int:
        return self.start + len(self.answer)


# ------------------------------------------------------------------------------------------------ reading


def read_examples(path: Path) -> list[Example]:
    """Returns the questions of a SQuAD JSON file (v1.1 or v2), in order. Raises DataError, naming file and error."""
    try:
        articles = json.loads(path.read_text("utf-8-sig"))["data"]
        examples = [
            _example(qa["id"], qa["question"], paragraph["context"], qa["answers"])
            for article in articles
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    except (KeyError, TypeError, IndexError, ValueError) as error:
        raise DataError(f"{path} is not SQuAD JSON, v1.1 or v2 ({type(error).__name__}: {error})") from error
    if not examples:
        raise DataError(f"{path} has no questions")
    return examples


def _example(id_: str, question: str, context: str, answers: Sequence[dict[str, Any]]) -> Example:
    for what, text in (("question", question), ("context", context)):
        if not isinstance(text, str):
            raise DataError(f"question {id_}: its {what} is not a text but {json.dumps(text)}")
    context = _encodable(context)
    texts = tuple(dict.fromkeys(_encodable(str(answer["text"])) for answer in answers))
    example = Example(
        str(id_), _encodable(question.strip()), context, texts, int(answers[0]["answer_start"]) if texts else 0
    )
    found = context[max(0, example.start) : example.end]
    if found != example.answer:
        raise DataError(f"question {id_}: the answer {texts[0]!r} is not at {example.start}; there is {found!r}")
    return example


def _encodable(text: str) -> str:
    """Returns the text with U+FFFD for halves of surrogate pairs, which no tokenizer takes; all offsets stay."""
    return re.sub("[\ud800-\udfff]", "\ufffd", text)


def hub_examples(name: str, split: str) -> list[Example]:
    """Returns the questions of a split of a hub data set. Needs the package `datasets`."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name!r} is not a file, and reading it as a hub data set needs the package datasets "
            "(pip install datasets). SQuAD JSON files are read without it"
        ) from error
    rows = datasets.load_dataset(name, split=split)
    return [
        _example(
            row["id"],
            row["question"],
            row["context"],
            [
                {"text": text, "answer_start": start}
                for text, start in zip(row["answers"]["text"], row["answers"]["answer_start"], strict=True)
            ],
        )
        for row in rows
    ]


def load(source: str, split: str) -> list[Example]:
    """Returns the questions of the SQuAD JSON file `source`, else of the `split` of that hub data set."""
    path = Path(source)
    if path.is_file():
        return read_examples(path)
    if path.suffix or path.is_absolute():
        raise DataError(f"there is no file {source} (looked in {Path.cwd()})")
    return hub_examples(source, split)


# ------------------------------------------------------------------------------------------------ choosing


def sample(examples: Sequence[Example], count: int | None) -> list[Example]:
    """Returns `count` random examples (all if None or fewer), with a fixed seed: the same ones in every trial."""
    shuffled = random.Random(SPLIT_SEED).sample(list(examples), len(examples))
    return shuffled[: len(shuffled) if count is None else count]


def split(examples: Sequence[Example], eval_share: float = 0.1) -> tuple[list[Example], list[Example]]:
    """Returns (train, eval) of one file, split by paragraphs, so that no evaluated context was trained on."""
    contexts = list(dict.fromkeys(example.context for example in examples))
    if len(contexts) < 2:
        raise DataError("one paragraph cannot be split into training and evaluation data; give --eval-data")
    random.Random(SPLIT_SEED).shuffle(contexts)
    held_out = set(contexts[: max(1, round(len(contexts) * eval_share))])
    train = [example for example in examples if example.context not in held_out]
    return train, [example for example in examples if example.context in held_out]


# ------------------------------------------------------------------------------------------------ prompt and labels


def prompt(question: str, context: str) -> str:
    """Returns the model's input; the answer follows after one space."""
    return f"Question: {question} Context: {context} Answer:"


@dataclass(frozen=True, slots=True)
class Wording:
    """How a model's questions and answers are written in tokens (wording.py makes it of a tokenizer)."""

    prompt: Callable[[str, str], list[int]]  # of a question and a context, up to where the answer begins
    answer: Callable[[str], list[int]]  # with the end token; only that for a question without an answer
    ends: tuple[int, ...]  # tokens that end a generated answer


def window(context: str, start: int, end: int, fits: Callable[[str], bool]) -> str | None:
    """Returns the longest found piece of `context` that fits and contains characters `start` to `end`, else None.

    They are in its middle, or nearer to one side at a border of the context. No word is cut where a blank is near.
    """
    if fits(context):
        return context
    best, low, high = None, 0, len(context) - (end - start)
    while low <= high:  # bisection on the number of characters kept around the answer
        middle = (low + high) // 2
        piece = _around(context, start, end, middle)
        if fits(piece):
            best, low = piece, middle + 1
        else:
            high = middle - 1
    return best


def _around(context: str, start: int, end: int, extra: int) -> str:
    left = max(0, min(start - extra // 2, len(context) - (end - start) - extra))
    right = min(len(context), left + (end - start) + extra)
    left, right = _next_blank(context, left, start), _last_blank(context, end, right)
    return context[left:start].lstrip() + context[start:end] + context[end:right].rstrip()


def _next_blank(context: str, left: int, stop: int) -> int:
    """Returns the first beginning of a word from `left` on, or `left` if there is none near it and before `stop`."""
    near = range(left, min(stop, left + NEAR) + 1)
    return next((i for i in near if i == 0 or context[i - 1].isspace()), left)


def _last_blank(context: str, stop: int, right: int) -> int:
    """Returns the last end of a word up to `right`, or `right` if there is none near it and after `stop`."""
    near = range(right, max(stop, right - NEAR) - 1, -1)
    return next((i for i in near if i == len(context) or context[i].isspace()), right)


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example in tokens."""

    prompt: list[int]  # the input
    answer: list[int]  # the target, with the end token
    references: tuple[str, ...]  # accepted answers; none if the question has no answer
    is_cut: bool = False  # a part of the context is missing

    @property
    def input_ids(self) -> list[int]:
        return self.prompt + self.answer

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * len(self.prompt) + self.answer


def encode(example: Example, wording: Wording, max_length: int) -> Encoded:
    """Returns the example to train on, with a window of its context so that the total is at most `max_length`.

    Raises DataError if the question and its answer without context are longer than that.
    """
    answer = wording.answer(example.answer)

    def fits(context: str) -> bool:
        return len(wording.prompt(example.question, context)) + len(answer) <= max_length

    start, end = example.start, example.end
    if not example.answers:  # anywhere: a window that began with the context would say that there is no answer
        start = end = random.Random(example.id).randint(0, len(example.context))
    context = window(example.context, start, end, fits)
    if context is None:
        raise DataError(f"--max-length {max_length} leaves no room for question {example.id} and its answer")
    return Encoded(wording.prompt(example.question, context), answer, example.answers, context != example.context)


def encode_whole(example: Example, wording: Wording, positions: int | None, max_new_tokens: int) -> Encoded:
    """Returns the example to evaluate on, with its whole context, wherever the answer is.

    The end of a context is cut off only where the model has too few `positions` for it and the answer (None: no
    limit). Raises DataError if they are too few for the question.
    """
    answer = wording.answer(example.answer)
    room = max(len(answer), max_new_tokens)

    def fits(context: str) -> bool:
        return positions is None or len(wording.prompt(example.question, context)) + room <= positions

    context = window(example.context, 0, 0, fits)
    if context is None:
        raise DataError(f"the model's {positions} positions leave no room for question {example.id} and {room} tokens")
    return Encoded(wording.prompt(example.question, context), answer, example.answers, context != example.context)


# ------------------------------------------------------------------------------------------------ scores


def normalize(text: str) -> str:
    """Returns SQuAD's official normal form: lower case, no punctuation, no articles, single spaces."""
    text = "".join(character for character in text.lower() if character not in string.punctuation)
    return " ".join(re.sub(r"\b(a|an|the)\b", " ", text).split())


def exact_match(prediction: str, references: Sequence[str]) -> float:
    """Returns 1.0 if the prediction equals one of the references in normal form, else 0.0."""
    return float(any(normalize(prediction) == normalize(reference) for reference in references))


def f1(prediction: str, references: Sequence[str]) -> float:
    """Returns the best F1 of words against a reference (harmonic mean of precision and recall), 0.0 to 1.0."""
    return max(_f1(normalize(prediction).split(), normalize(reference).split()) for reference in references)


def scores(prediction: str, references: Sequence[str], is_v2: bool) -> tuple[float, float]:
    """Returns (exact match, F1), each 0.0 to 1.0, by the official rules of SQuAD v1.1 or v2.

    v2: an empty prediction says that there is no answer, which is right if there is no reference. References of which
    the normal form leaves nothing do not count.
    """
    if not is_v2:
        return exact_match(prediction, references), f1(prediction, references)
    references = [reference for reference in references if normalize(reference)]
    if references and normalize(prediction):
        return exact_match(prediction, references), f1(prediction, references)
    is_right = float(not references and not normalize(prediction))
    return is_right, is_right


def _f1(prediction: list[str], reference: list[str]) -> float:
    common = sum((Counter(prediction) & Counter(reference)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)
