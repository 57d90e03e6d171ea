"""Adds a password from the environment to the address of a database: study files are kept, mailed and published."""

from __future__ import annotations

import os
from urllib.parse import quote, urlsplit

#: The password of the database that a publisher or a study's storage names.
PASSWORD_VARIABLE = "HPOSLURM_DB_PASSWORD"


def with_password(url: str) -> str:
    """Returns `url` with the password in $HPOSLURM_DB_PASSWORD, if there is one and the address has a user."""
    password, parts = os.environ.get(PASSWORD_VARIABLE, ""), urlsplit(url)
    if not password or not parts.username:
        return url
    user, host = parts.netloc.rsplit("@", 1)
    return parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}").geturl()
