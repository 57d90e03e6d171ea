"""How questions and answers are written for each family's tokenizer."""

from __future__ import annotations

from typing import Any

import pytest
import squad

from tests.experiments.families import BEGIN_WITH_BOS, FAMILIES, tokenizer_of

# torch and transformers warn of their own renamings at import, which is not ours to fail
pytestmark = [pytest.mark.train, pytest.mark.filterwarnings("ignore")]

CHAT = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


@pytest.fixture
def chat() -> Any:
    tokenizer = tokenizer_of("qwen2")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_start|>", "<|im_end|>"]})
    tokenizer.chat_template = CHAT
    return tokenizer


@pytest.mark.parametrize("family", FAMILIES)
def test_prompts_begin_as_the_family_was_trained(family: str) -> None:
    from wording import wording

    tokenizer = tokenizer_of(family)
    prompt = wording(tokenizer).prompt("Who?", "It was Ada.")

    plain = tokenizer(squad.prompt("Who?", "It was Ada."), add_special_tokens=False)["input_ids"]
    assert prompt == [tokenizer.bos_token_id] * (family in BEGIN_WITH_BOS) + plain
    assert prompt == tokenizer(squad.prompt("Who?", "It was Ada."))["input_ids"]


def test_an_answer_ends_with_the_end_token_and_has_no_other() -> None:
    from wording import wording

    tokenizer = tokenizer_of("llama")
    found = wording(tokenizer)

    assert found.answer("Ada") == [*tokenizer(" Ada", add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
    assert found.answer("") == [tokenizer.eos_token_id]
    assert found.ends == (tokenizer.eos_token_id,)


def test_a_chat_model_is_asked_and_answers_in_its_template(chat: Any) -> None:
    from wording import wording

    found = wording(chat)

    asked = {"role": "user", "content": squad.prompt("Who?", "It was Ada.")}
    prompt, answer = found.prompt("Who?", "It was Ada."), found.answer("Ada")
    assert chat.decode(prompt) == f"<|im_start|>user\n{asked['content']}<|im_end|>\n<|im_start|>assistant\n"
    whole = chat.apply_chat_template([asked, {"role": "assistant", "content": "Ada"}], tokenize=False)
    assert chat.decode(prompt + answer) + "\n" == whole
    end = chat.convert_tokens_to_ids("<|im_end|>")
    assert answer[-1] == end and found.ends == (end, chat.eos_token_id)
    assert wording(chat, "plain").prompt("Who?", "It was Ada.") == wording(tokenizer_of("qwen2")).prompt(
        "Who?", "It was Ada."
    )


def test_what_a_tokenizer_lacks_is_said() -> None:
    from wording import wording

    tokenizer = tokenizer_of("gpt2")
    with pytest.raises(squad.DataError, match="--prompt chat: the tokenizer has no chat template"):
        wording(tokenizer, "chat")
    tokenizer.eos_token = None
    with pytest.raises(squad.DataError, match="the tokenizer has no end token"):
        wording(tokenizer)
