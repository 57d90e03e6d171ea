"""Lets only those in who know the token: all users of a machine can open its 127.0.0.1, and the page lets all in."""

from __future__ import annotations

import hmac
import http.cookies
import urllib.parse
from collections.abc import Callable, Iterable
from typing import Any

#: An application as PEP 3333 defines it.
Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]

_REFUSAL = "This page needs the link that `hposlurm dashboard` printed, with its token.\n"
_TOKEN = "token"


class Door:
    """Asks for the token in front of an application: in the address once, afterwards in a cookie.

    Browsers send a cookie of 127.0.0.1 to all of its ports, so its name has the port. They do not send it with what
    other sites post.
    """

    def __init__(self, application: Application, token: str, port: int) -> None:
        self._application, self._token, self._cookie = application, token, f"hposlurm-dashboard-{port}"

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        query = urllib.parse.parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True)
        if any(self._fits(value) for key, value in query if key == _TOKEN):
            return self._admit(environ, start, [pair for pair in query if pair[0] != _TOKEN])
        if self._fits(self._given(environ.get("HTTP_COOKIE", ""))):
            return self._application(environ, start)
        start("403 Forbidden", [("Content-Type", "text/plain; charset=utf-8"), ("Cache-Control", "no-store")])
        return [_REFUSAL.encode()]

    def _admit(
        self, environ: dict[str, Any], start: Callable[..., Any], query: list[tuple[str, str]]
    ) -> Iterable[bytes]:
        """Answers with the cookie, and with the address without the token, which stays out of the browser's history."""
        path = urllib.parse.quote(environ.get("PATH_INFO") or "/")
        # a path that begins with two slashes would be another site
        place = "/" + path.lstrip("/") + (f"?{urllib.parse.urlencode(query)}" if query else "")
        cookie = f"{self._cookie}={self._token}; Path=/; HttpOnly; SameSite=Lax"
        start("303 See Other", [("Location", place), ("Set-Cookie", cookie), ("Referrer-Policy", "no-referrer")])
        return [b""]

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(errors="replace"), self._token.encode())

    def _given(self, header: str) -> str:
        try:
            cookies = http.cookies.SimpleCookie(header)
        except http.cookies.CookieError:
            return ""
        return cookies[self._cookie].value if self._cookie in cookies else ""
