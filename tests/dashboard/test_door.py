"""Who may come in: only with the token, from the address once and then from the cookie."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hposlurm.dashboard.door import Door

TOKEN = "t0ken-of-24-bytes"


def ask(path: str = "/", query: str = "", cookie: str = "") -> tuple[str, dict[str, str], bytes]:
    answers: list[Any] = []

    def inside(_environ: dict[str, Any], start: Any) -> list[bytes]:
        start("200 OK", [])
        return [b"inside"]

    environ = {"PATH_INFO": path, "QUERY_STRING": query, "HTTP_COOKIE": cookie}
    body = b"".join(Door(inside, TOKEN, 8080)(environ, lambda *answer: answers.append(answer)))
    status, headers = answers[0]
    return status, dict(headers), body


@pytest.mark.parametrize(
    ("query", "cookie"),
    [
        ("", ""),
        ("token=", ""),
        ("token=no", ""),
        (f"Token={TOKEN}", ""),
        ("", f"hposlurm-dashboard-8081={TOKEN}"),
        ("", "hposlurm-dashboard-8080=no"),
        ("", f"hposlurm-dashboard-8080=ü{TOKEN}"),
        ("", "{;=,]"),
    ],
)
def test_without_the_token_nothing_is_shown(query: str, cookie: str) -> None:
    status, headers, body = ask("/api/studies", query, cookie)
    assert (status, "Set-Cookie" in headers) == ("403 Forbidden", False)
    assert b"the link that `hposlurm dashboard` printed" in body


def test_the_token_of_the_address_becomes_a_cookie_and_leaves_the_address() -> None:
    status, headers, body = ask("/dashboard/studies/0", f"a=1&token={TOKEN}")
    assert (status, headers["Location"], body) == ("303 See Other", "/dashboard/studies/0?a=1", b"")
    assert headers["Set-Cookie"] == f"hposlurm-dashboard-8080={TOKEN}; Path=/; HttpOnly; SameSite=Lax"


def test_the_cookie_opens_everything() -> None:
    assert ask("/api", cookie=f"other=1; hposlurm-dashboard-8080={TOKEN}")[::2] == ("200 OK", b"inside")


@pytest.mark.parametrize("path", ["//evil.example/x", "/\r\nSet-Cookie: a=b", "", "\\\\evil.example"])
def test_no_address_leads_elsewhere(path: str) -> None:
    place = ask(path, f"token={TOKEN}")[1]["Location"]
    assert place.startswith("/") and not place.startswith(("//", "/\\")) and "\r" not in place and "\n" not in place


@given(query=st.text(), cookie=st.text())
def test_nothing_that_is_sent_opens_it_or_breaks_it(query: str, cookie: str) -> None:
    assert ask("/", query, cookie)[0] == "403 Forbidden"
