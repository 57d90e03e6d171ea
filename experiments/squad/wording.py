"""A tokenizer's way to write questions and answers: its special tokens, and the chat template of a chat model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import squad
from squad import DataError, Wording


def wording(tokenizer: Any, style: str = "auto") -> Wording:
    """Returns how `tokenizer` writes them; `style` is auto (chat if the tokenizer has a chat template), plain or chat.

    Raises DataError if the tokenizer lacks an end token, or the chat template that was asked for.
    """
    if tokenizer.eos_token_id is None:
        raise DataError(
            "the tokenizer has no end token (eos_token), so answers could not end; set it in the model's files"
        )
    if style == "plain" or (style == "auto" and not tokenizer.chat_template):
        return _plain(tokenizer)
    if not tokenizer.chat_template:
        raise DataError("--prompt chat: the tokenizer has no chat template")
    return _chat(tokenizer)


def _tokens_of(tokenizer: Any) -> Callable[[str], list[int]]:
    def tokens(text: str) -> list[int]:
        return list(tokenizer(text, add_special_tokens=False)["input_ids"])

    return tokens


def _plain(tokenizer: Any) -> Wording:
    """The prompt begins with the tokens that the tokenizer puts first (Llama, Gemma, Mistral: the beginning token)."""
    tokens = _tokens_of(tokenizer)
    first, end = _beginning(tokenizer), tokenizer.eos_token_id

    def prompt(question: str, context: str) -> list[int]:
        return first + tokens(squad.prompt(question, context))

    def answer(text: str) -> list[int]:
        return [*(tokens(f" {text}") if text else []), end]

    return Wording(prompt, answer, (end,))


def _beginning(tokenizer: Any) -> list[int]:
    whole, bare = list(tokenizer("x")["input_ids"]), list(tokenizer("x", add_special_tokens=False)["input_ids"])
    begins = (at for at in range(len(whole) - len(bare) + 1) if whole[at : at + len(bare)] == bare)
    return whole[: next(begins, 0)]


def _chat(tokenizer: Any) -> Wording:
    """The question is the user's turn; the answer is the assistant's, up to the token that ends a turn."""
    tokens = _tokens_of(tokenizer)

    def prompt_text(question: str, context: str) -> str:
        user = {"role": "user", "content": squad.prompt(question, context)}
        return str(tokenizer.apply_chat_template([user], add_generation_prompt=True, tokenize=False))

    end = _turn_end(tokenizer, tokens)

    def prompt(question: str, context: str) -> list[int]:
        return tokens(prompt_text(question, context))

    def answer(text: str) -> list[int]:
        return tokens(text) + end

    return Wording(prompt, answer, tuple(dict.fromkeys((end[-1], tokenizer.eos_token_id))))


def _turn_end(tokenizer: Any, tokens: Callable[[str], list[int]]) -> list[int]:
    """Returns what follows an answer in the template, up to its first special token; the end token if there is none."""
    user, mark = {"role": "user", "content": "Q"}, "ANSWER"
    turns = [user, {"role": "assistant", "content": mark}]
    _, _, after = str(tokenizer.apply_chat_template(turns, tokenize=False)).rpartition(mark)
    end = tokens(after)
    special = {*tokenizer.all_special_ids, *tokenizer.added_tokens_decoder}
    at = next((i for i, token in enumerate(end) if token in special), None)
    return [int(tokenizer.eos_token_id)] if at is None else end[: at + 1]
