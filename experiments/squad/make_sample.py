"""Writes experiments/data/squad-sample.json (to train on) and squad-sample-dev.json (to evaluate on).

    python experiments/squad/make_sample.py [DIRECTORY]

A small encyclopaedia of a fictional country, in SQuAD v1.1 format. The texts are generated here from a fixed random
seed, so both files are free of third-party rights. Train and dev share the names of rivers, towns and people, of which
answers consist, but no article: a dev question can only be answered from its paragraph.
"""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SEED = 1871
TRAIN_ARTICLES, DEV_ARTICLES = 200, 33

WORDS = {
    name: words.split()
    for name, words in {
        "river": "Arle Bourne Cass Dorn Erme Fenne Garr Holt Isk Jarre Korm Lune Marn Neth Orle Pell",
        "town": "Aldmoor Brackwell Corvale Dunmere Eastrick Falden Grimsay Harrow Inverle Kelling Loxton Marsden",
        "material": "granite limestone oak brick iron slate marble sandstone",
        "year": " ".join(str(year) for year in range(1802, 1902, 5)),
        "first": "Ada Bruno Clara Dirk Edith Frida Gustav Hanna Ivo Jonas Karla Ludwig",
        "last": "Abel Brandt Cornel Dreyer Ekman Falk Gruber Hollis Iversen Jansen Keller Lindt",
        "kind": "bridge lighthouse library mill theatre",
        "name": "Amber Black Copper Deep Elder Far Green High Iron Little Moss North Old Pine Red Silver Stone Twin "
        "White Wind",
        "ending": "brook crest dale field gate haven hill ridge stead water wick wood",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Relation:
    """Sentences and questions about one fact: `{thing}` is the article's subject, `{answer}` the answer."""

    sentences: tuple[str, ...]
    questions: tuple[str, ...]
    also: tuple[str, ...] = ()  # other accepted answers, as in SQuAD


RELATIONS = {
    "river": Relation(
        (
            "It stands on the river {answer}.",
            "The river {answer} flows past it.",
            "Its cellars reach down to the river {answer}.",
        ),
        ("Which river is {thing} on?", "Which river flows past {thing}?", "On which river does {thing} stand?"),
        ("the river {answer}", "the {answer}"),
    ),
    "town": Relation(
        (
            "It belongs to the town of {answer}.",
            "The town of {answer} looks after it.",
            "It lies an hour's walk from the town of {answer}.",
        ),
        ("Which town does {thing} belong to?", "Near which town is {thing}?", "What town looks after {thing}?"),
        ("the town of {answer}",),
    ),
    "builder": Relation(
        ("It was built by {answer}.", "The builder was {answer}.", "{answer} drew the plans and built it."),
        ("Who built {thing}?", "Who was the builder of {thing}?", "By whom was {thing} built?"),
    ),
    "year": Relation(
        (
            "It was opened in {answer}.",
            "The opening took place in {answer}.",
            "Since {answer} it has been open to all.",
        ),
        ("When was {thing} opened?", "In which year did {thing} open?", "Since when has {thing} been open?"),
        ("in {answer}",),
    ),
    "material": Relation(
        ("Its walls are made of {answer}.", "The walls are of {answer}.", "For the walls {answer} was used."),
        (
            "What are the walls of {thing} made of?",
            "Of which material is {thing}?",
            "What was used for the walls of {thing}?",
        ),
    ),
}


def answer_to(relation: str, chance: random.Random) -> str:
    if relation == "builder":
        return f"{chance.choice(WORDS['first'])} {chance.choice(WORDS['last'])}"
    return chance.choice(WORDS[relation])


def references(relation: str, answer: str) -> list[str]:
    """Returns the answer as in the text, then other accepted answers; for a person, the family name."""
    if relation == "builder":
        return [answer, answer.split()[1]]
    return [answer, *(other.format(answer=answer) for other in RELATIONS[relation].also)]


def article(thing: str, kind: str, chance: random.Random) -> dict[str, Any]:
    """Returns an article of one paragraph in SQuAD's JSON: three facts in random order, a question on each."""
    name = f"the {thing} {kind}"
    order = chance.sample(list(RELATIONS), 3)
    answers = {relation: answer_to(relation, chance) for relation in order}
    sentences = [chance.choice(RELATIONS[r].sentences).format(answer=answers[r]) for r in order]
    context = " ".join([f"The {thing} {kind} is old.", *sentences])
    questions = [
        {
            "id": f"{thing}-{kind}-{relation}".lower(),
            "question": chance.choice(RELATIONS[relation].questions).format(thing=name),
            "answers": [
                {"text": text, "answer_start": context.index(text)}
                for text in references(relation, answers[relation])
                if text in context
            ],
        }
        for relation in order
    ]
    return {"title": f"{thing} {kind}", "paragraphs": [{"context": context, "qas": questions}]}


def things(chance: random.Random) -> Iterator[tuple[str, str]]:
    """Yields names, each once, with a random kind."""
    names = [first + second for first in WORDS["name"] for second in WORDS["ending"]]
    for name in chance.sample(names, len(names)):
        yield name, chance.choice(WORDS["kind"])


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parents[1] / "data"
    chance = random.Random(SEED)
    articles = [article(thing, kind, chance) for thing, kind in things(chance)][: TRAIN_ARTICLES + DEV_ARTICLES]
    for name, part in (
        ("squad-sample.json", articles[:TRAIN_ARTICLES]),
        ("squad-sample-dev.json", articles[TRAIN_ARTICLES:]),
    ):
        text = json.dumps({"version": "1.1", "data": part}, indent=None, separators=(", ", ": "))
        (directory / name).write_text(text + "\n", "utf-8")
        print(f"{directory / name}: {sum(len(a['paragraphs'][0]['qas']) for a in part)} questions, {len(text)} bytes")


if __name__ == "__main__":
    main()
