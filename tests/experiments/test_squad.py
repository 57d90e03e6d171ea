"""SQuAD's reading, windows, labels and scores."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import squad
from hypothesis import given
from hypothesis import strategies as st

SAMPLE = Path(__file__).parents[2] / "experiments" / "data"
SQUAD = Path(__file__).parents[2] / "experiments" / "squad"


def words(text: str) -> list[int]:
    """A tokenizer for tests: one token per word."""
    return [sum(map(ord, word)) + 10 for word in text.split()]


WORDING = squad.Wording(
    lambda question, context: words(squad.prompt(question, context)), lambda answer: [*words(answer), 2], (2,)
)


def example(context: str = "The mill stands on the Arle.", answer: str = "Arle") -> squad.Example:
    return squad.Example("q1", "Which river?", context, (answer,), context.index(answer))


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The Amber  Mill.", "amber mill"),
        ("a/an, the", "aan"),  # punctuation goes before articles do, as in the official script
        ("An answer: the \t last", "answer last"),
        ("theatre", "theatre"),
        ("3,000 U.S. dollars", "3000 us dollars"),
        ("in 1812", "in 1812"),
        ("", ""),
    ],
)
def test_normal_form_is_the_official_one(text: str, normal: str) -> None:
    assert squad.normalize(text) == normal


@pytest.mark.parametrize(
    ("prediction", "references", "match", "f1"),
    [
        ("the Amber mill", ["Amber Mill!"], 1.0, 1.0),
        ("Hollis", ["Dirk Hollis", "Hollis"], 1.0, 1.0),  # the best reference counts
        ("Dirk Brandt", ["Dirk Hollis", "Hollis"], 0.0, 0.5),
        ("by Dirk Hollis himself", ["Dirk Hollis"], 0.0, 2 / 3),
        ("Arle Arle", ["Arle"], 0.0, 2 / 3),  # a word counts as often as it stands in both
        ("Neth", ["Arle"], 0.0, 0.0),
        ("", ["Arle"], 0.0, 0.0),
        ("the", ["a"], 1.0, 0.0),  # nothing is left of either: the official F1 of no common words is 0
    ],
)
def test_scores(prediction: str, references: list[str], match: float, f1: float) -> None:
    assert squad.exact_match(prediction, references) == match
    assert squad.f1(prediction, references) == pytest.approx(f1)


def test_a_context_that_fits_stays_whole() -> None:
    assert squad.window("a b c", 2, 3, lambda text: len(text) <= 5) == "a b c"


def test_a_window_lies_around_the_answer_and_cuts_no_word() -> None:
    context = "one two three four five six seven eight nine"

    assert (
        squad.window(context, context.index("five"), context.index("five") + 4, lambda t: len(t) <= 17)
        == "four five six"
    )


def test_an_answer_that_does_not_fit_gives_no_window() -> None:
    assert squad.window("one two three", 4, 7, lambda text: len(text) < 3) is None


@pytest.mark.parametrize(
    ("context", "answer"),
    [
        ("".join(chr(0x4E00 + i) for i in range(1000)), "".join(chr(0x4E00 + i) for i in range(500, 504))),
        ("x" * 400 + " The key is 42 . " + "y" * 400, "42"),
    ],
    ids=["chinese", "two words as long as the window"],
)
@pytest.mark.parametrize("limit", [100, 300, 600])
def test_where_no_blank_is_near_a_window_is_cut_between_characters(context: str, answer: str, limit: int) -> None:
    start = context.index(answer)

    piece = squad.window(context, start, start + len(answer), lambda text: len(text) <= limit)

    assert piece is not None and answer in piece
    assert len(piece) > 0.8 * limit  # not the answer alone, which would be to give it away


@given(
    context=st.text(alphabet="ab .é", min_size=1, max_size=60),
    span=st.tuples(st.integers(0, 59), st.integers(1, 20)),
    limit=st.integers(1, 60),
    unit=st.sampled_from([len, lambda text: len(text.split())]),
)
def test_the_answer_survives_windowing(
    context: str, span: tuple[int, int], limit: int, unit: Callable[[str], int]
) -> None:
    start = span[0] % len(context)
    end = min(len(context), start + span[1])
    answer = context[start:end]

    piece = squad.window(context, start, end, lambda text: unit(text) <= limit)

    if piece is None:
        assert unit(answer) > limit
    else:
        assert answer in piece
        assert piece in context
        assert unit(piece) <= limit


def test_labels_cover_the_answer_and_the_end_token_only() -> None:
    encoded = squad.encode(example(), WORDING, max_length=50)

    whole = words("Question: Which river? Context: The mill stands on the Arle. Answer: Arle")
    assert encoded.input_ids == [*whole, 2]
    assert encoded.labels == [-100] * (len(encoded.input_ids) - 2) + words("Arle") + [2]


def test_a_long_context_is_windowed_to_the_length() -> None:
    context = "word " * 100 + "Arle " + "word " * 100
    encoded = squad.encode(example(context), WORDING, max_length=20)

    assert len(encoded.input_ids) == 20
    assert words("Arle")[0] in encoded.prompt


@given(st.integers(0, 99), st.integers(0, 99), st.sampled_from([None, 12, 40, 1000]))
def test_what_is_evaluated_does_not_depend_on_where_the_answer_is(one: int, other: int, positions: int | None) -> None:
    """Only the target does: the same question with two answers in other places has the same prompt."""
    context = " ".join(f"w{i}" for i in range(100))
    spans = [(f"w{i}", context.index(f"w{i}")) for i in (one, other)]
    asked = [squad.Example("q", "Which?", context, (answer,), start) for answer, start in spans]

    first, second = (squad.encode_whole(each, WORDING, positions, max_new_tokens=4) for each in asked)

    assert first.prompt == second.prompt
    assert first.is_cut == (positions in (12, 40))
    assert positions is None or len(first.prompt) + 4 <= positions


def test_an_evaluated_context_is_whole_or_cut_off_at_the_models_end() -> None:
    context = " ".join(f"w{i}" for i in range(100))
    asked = squad.Example("q", "Which?", context, ("w99",), context.index("w99"))

    whole = squad.encode_whole(asked, WORDING, None, max_new_tokens=4)
    cut = squad.encode_whole(asked, WORDING, 20, max_new_tokens=4)

    assert whole.prompt == words(squad.prompt("Which?", context))
    assert cut.prompt == words(squad.prompt("Which?", " ".join(f"w{i}" for i in range(12))))
    with pytest.raises(squad.DataError, match="the model's 5 positions leave no room for question q and 4 tokens"):
        squad.encode_whole(asked, WORDING, 5, max_new_tokens=4)


def test_a_question_longer_than_the_length_is_named() -> None:
    with pytest.raises(squad.DataError, match="--max-length 5 leaves no room for question q1"):
        squad.encode(example(), WORDING, max_length=5)


def test_the_split_keeps_paragraphs_together() -> None:
    examples = squad.read_examples(SAMPLE / "squad-sample.json")

    train, evaluation = squad.split(examples)

    assert len(train) + len(evaluation) == len(examples)
    assert 0 < len(evaluation) < len(train)
    assert not {e.context for e in train} & {e.context for e in evaluation}


def test_the_same_samples_are_drawn_each_time() -> None:
    examples = squad.read_examples(SAMPLE / "squad-sample.json")

    drawn = squad.sample(examples, 10)

    assert drawn == squad.sample(examples, 10)
    assert len({e.id for e in drawn}) == 10
    assert drawn == squad.sample(examples, 20)[:10]  # more samples are the same ones and others
    assert len(squad.sample(examples, None)) == len(examples)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not SQuAD JSON, v1.1 or v2"),
        ('{"rows": []}', "not SQuAD JSON, v1.1 or v2"),
        ('{"data": []}', "has no questions"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "data.json"
    path.write_text(text)

    with pytest.raises(squad.DataError, match=message):
        squad.read_examples(path)


def test_an_answer_that_is_not_where_it_should_be_is_an_error(tmp_path: Path) -> None:
    qa = {"id": "q7", "question": "Which?", "answers": [{"text": "Arle", "answer_start": 0}]}
    path = tmp_path / "data.json"
    path.write_text(json.dumps({"data": [{"paragraphs": [{"context": "On the Arle.", "qas": [qa]}]}]}))

    with pytest.raises(squad.DataError, match="question q7: the answer 'Arle' is not at 0"):
        squad.read_examples(path)


def write(path: Path, context: Any, question: Any, answers: Any, encoding: str = "utf-8") -> Path:
    qa = {"id": "q7", "question": question, "answers": answers}
    document = {"data": [{"paragraphs": [{"context": context, "qas": [qa]}]}]}
    path.write_bytes(json.dumps(document).encode(encoding))
    return path


@pytest.mark.parametrize(
    ("context", "question", "answers", "message"),
    [
        (
            "On the Arle.",
            None,
            [{"text": "Arle", "answer_start": 7}],
            "question q7: its question is not a text but null",
        ),
        (None, "Which?", [{"text": "Arle", "answer_start": 7}], "question q7: its context is not a text but null"),
        ("On the Arle.", "Which?", None, "is not SQuAD JSON"),
        ("On the Arle.", "Which?", [{"text": "Arle.", "answer_start": -5}], "'Arle.' is not at -5"),
    ],
)
def test_an_unusable_question_is_named_with_its_file(
    tmp_path: Path, context: Any, question: Any, answers: Any, message: str
) -> None:
    path = write(tmp_path / "data.json", context, question, answers)

    with pytest.raises(squad.DataError, match=re.escape(message)) as raised:
        squad.read_examples(path)

    assert str(path) in str(raised.value)


def test_a_byte_order_mark_and_half_a_surrogate_pair_are_read(tmp_path: Path) -> None:
    path = write(
        tmp_path / "data.json", "The \ud83c mill by Hanna", "Who?", [{"text": "Hanna", "answer_start": 14}], "utf-8-sig"
    )

    (found,) = squad.read_examples(path)

    assert (found.context, found.answers) == ("The \ufffd mill by Hanna", ("Hanna",))


def test_a_question_without_an_answer_is_trained_to_end_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "v2.json", "On the Arle.", "Who burnt it?", [])

    (found,) = squad.read_examples(path)
    encoded = squad.encode(found, WORDING, max_length=50)

    assert (found.answers, encoded.answer, encoded.references) == ((), [2], ())


def test_the_window_of_a_question_without_an_answer_lies_anywhere() -> None:
    context = " ".join(f"w{i}" for i in range(100))
    asked = [squad.Example(f"q{i}", "Which?", context, (), 0) for i in range(20)]

    prompts = [squad.encode(each, WORDING, max_length=20).prompt for each in asked]

    assert len({tuple(prompt) for prompt in prompts}) > 10
    assert prompts == [squad.encode(each, WORDING, max_length=20).prompt for each in asked]


@given(prediction=st.sampled_from(["", "the", "Arle", "the Arle", "Arle river", "a b"]), data=st.data())
def test_the_scores_of_v2_are_the_official_ones(prediction: str, data: st.DataObject) -> None:
    """Against what evaluate-v2.0.py computes, in its own words."""
    references = data.draw(st.lists(st.sampled_from(["the", "Arle", "Arle river", "a"]), max_size=3))

    golds = [answer for answer in references if squad.normalize(answer)] or [""]
    exact = max(int(squad.normalize(gold) == squad.normalize(prediction)) for gold in golds)

    def official_f1(gold: str) -> float:
        gold_tokens, tokens = squad.normalize(gold).split(), squad.normalize(prediction).split()
        same = sum((Counter(gold_tokens) & Counter(tokens)).values())
        if not gold_tokens or not tokens:
            return float(gold_tokens == tokens)
        return 2 * same / (len(gold_tokens) + len(tokens))

    found = squad.scores(prediction, references, is_v2=True)
    assert found == pytest.approx((exact, max(official_f1(gold) for gold in golds)))


def test_a_missing_file_is_not_taken_for_a_hub_name() -> None:
    with pytest.raises(squad.DataError, match=r"there is no file nowhere\.json"):
        squad.load("nowhere.json", "train")


def test_the_sample_is_what_its_generator_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import make_sample

    monkeypatch.setattr("sys.argv", ["make_sample.py", str(tmp_path)])
    make_sample.main()

    for name in ("squad-sample.json", "squad-sample-dev.json"):
        assert (tmp_path / name).read_bytes() == (SAMPLE / name).read_bytes()


def test_the_sample_has_several_references_and_no_article_twice() -> None:
    train = squad.read_examples(SAMPLE / "squad-sample.json")
    dev = squad.read_examples(SAMPLE / "squad-sample-dev.json")

    assert not {e.context for e in train} & {e.context for e in dev}
    assert sum(len(e.answers) > 1 for e in dev) > len(dev) / 4
    assert len({e.id for e in train + dev}) == len(train + dev)


@pytest.mark.train
def test_a_hub_data_set_is_read_through_datasets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A directory in the hub's own form: what `rajpurkar/squad` looks like once it is in the cache."""
    pytest.importorskip("datasets", reason="the package datasets comes with the extra `train`")
    rows = [
        {
            "id": str(i),
            "question": f"Where is {i}?",
            "context": f"It is in place {i}.",
            "answers": {"text": [f"place {i}"] if i else [], "answer_start": [9] if i else []},
        }
        for i in range(3)
    ]
    (tmp_path / "hubset").mkdir()
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (tmp_path / "hubset" / "train.jsonl").write_text(lines)
    (tmp_path / "hubset" / "validation.jsonl").write_text(lines)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    script = "import squad; print([(e.question, e.answers) for e in squad.load('hubset', 'validation')])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "PYTHONPATH": str(SQUAD), "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
    )
    found = "[('Where is 0?', ()), ('Where is 1?', ('place 1',)), ('Where is 2?', ('place 2',))]"
    assert done.stdout.strip() == found, done.stderr
