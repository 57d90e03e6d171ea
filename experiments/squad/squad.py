"""SQuAD without torch: reads files, chooses samples, builds prompts, labels and windows, computes the scores."""

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

IGNORED = -100  # the label that PyTorch's cross entropy ignores
SPLIT_SEED = 0  # fixed, independent of a trial's seed: all trials use the same samples, so they are comparable


class DataError(ValueError):
    """The requested data cannot be used. The message names the data and the reason."""


@dataclass(frozen=True, slots=True)
class Example:
    """One question. `answers[0]` is in `context` at character `start`; the other answers are also accepted."""

    id: str
    question: str
    context: str
    answers: tuple[str, ...]
    start: int

    @property
    def end(self) -> int:
        return self.start + len(self.answers[0])


# ------------------------------------------------------------------------------------------------ reading


def read_examples(path: Path) -> list[Example]:
    """Returns the questions of a SQuAD v1.1 JSON file, in order. Raises DataError, naming the file and the error."""
    try:
        articles = json.loads(path.read_text("utf-8"))["data"]
        examples = [
            _example(qa["id"], qa["question"], paragraph["context"], qa["answers"])
            for article in articles
            for paragraph in article["paragraphs"]
            for qa in paragraph["qas"]
        ]
    except (KeyError, TypeError, IndexError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise DataError(f"{path} is not SQuAD v1.1 JSON ({type(error).__name__}: {error})") from error
    if not examples:
        raise DataError(f"{path} has no questions")
    return examples


def _example(id_: str, question: str, context: str, answers: Sequence[dict[str, Any]]) -> Example:
    texts = tuple(dict.fromkeys(str(answer["text"]) for answer in answers))
    example = Example(str(id_), question.strip(), context, texts, int(answers[0]["answer_start"]))
    found = context[example.start : example.end]
    if found != texts[0]:
        raise DataError(f"question {id_}: the answer {texts[0]!r} is not at {example.start}; there is {found!r}")
    return example


def hub_examples(name: str, split: str) -> list[Example]:
    """Returns the questions of a split of a hub data set. Needs the package `datasets`."""
    try:
        import datasets
    except ImportError as error:
        raise DataError(
            f"{name!r} is not a file, and reading it as a hub data set needs the package datasets "
            "(pip install datasets). SQuAD v1.1 JSON files are read without it"
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
        if row["answers"]["text"]
    ]


def load(source: str, split: str) -> list[Example]:
    """Returns the questions of the SQuAD v1.1 JSON file `source`, else of the `split` of that hub data set."""
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


def window(context: str, start: int, end: int, fits: Callable[[str], bool]) -> str | None:
    """Returns the longest found piece of `context` that fits and contains characters `start` to `end`, else None.

    The answer is in its middle, or nearer to one side at a border of the context. No word is cut.
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
    while 0 < left < start and not context[left - 1].isspace():
        left += 1
    while len(context) > right > end and not context[right].isspace():
        right -= 1
    return context[left:start].lstrip() + context[start:end] + context[end:right].rstrip()


@dataclass(frozen=True, slots=True)
class Encoded:
    """An example in tokens: `prompt` is the input, `answer` the target including the end token."""

    prompt: list[int]
    answer: list[int]
    references: tuple[str, ...]

    @property
    def input_ids(self) -> list[int]:
        return self.prompt + self.answer

    @property
    def labels(self) -> list[int]:
        return [IGNORED] * len(self.prompt) + self.answer


def encode(example: Example, tokenize: Callable[[str], list[int]], end_token: int, max_length: int) -> Encoded:
    """Returns the example as tokens, with a window of its context so that the total is at most `max_length`.

    Raises DataError if the question and its answer without context are longer than that.
    """
    answer = [*tokenize(" " + example.answers[0]), end_token]

    def fits(context: str) -> bool:
        return len(tokenize(prompt(example.question, context))) + len(answer) <= max_length

    context = window(example.context, example.start, example.end, fits)
    if context is None:
        raise DataError(f"--max-length {max_length} leaves no room for question {example.id} and its answer")
    return Encoded(tokenize(prompt(example.question, context)), answer, example.answers)


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


def _f1(prediction: list[str], reference: list[str]) -> float:
    common = sum((Counter(prediction) & Counter(reference)).values())
    if common == 0:
        return 0.0
    precision, recall = common / len(prediction), common / len(reference)
    return 2 * precision * recall / (precision + recall)
