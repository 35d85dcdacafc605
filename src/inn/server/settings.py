"""Where a server listens, who may ask, and how much; free of PyTorch, so that mistakes are told at once."""

from __future__ import annotations

import ipaddress
import math
import string
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from inn.config.run import THREADS
from inn.system.errors import InputError

ALLOWED = frozenset(string.ascii_letters + string.digits + string.punctuation)
"""What a token is made of: what a header carries anywhere."""
TABLES = ("auto", "own", "shared")


@dataclass(frozen=True)
class ServerSettings:
    """How a server serves.

    Args:
        host: an address of this machine, or `localhost`.
        port: 0 takes one that is free.
        token: what a client has to show (`Authorization: Bearer TOKEN`); None: nothing, on loopback alone.
        streams: written side by side, at most.
        queue: streams that wait for a place, at most.
        tokens: symbols that a request may ask for, each choice.
        choices: prompts x n of a request, at most.
        seconds: that a request may take.
        body: bytes of a request.
        tables: whether streams remember what they read in tables of their `own`, or look up what the run has read, in
            tables that are `shared`; `auto` shares those that a kind of recall can share.
        threads: of the CPU that compute, in the whole process while it serves; 0: one fewer than physical cores, or
            than `OMP_NUM_THREADS` says, since requests are heard and answered beside them.
        conversations, conversation_bytes, conversation_seconds: see `inn.server.conversations.Keep`.

    Raises `InputError` for what cannot be.

    >>> ServerSettings(host="0.0.0.0")
    Traceback (most recent call last):
    inn.system.errors.InputError: host 0.0.0.0 is open to other machines, so a token is needed; ...
    """

    host: str = "127.0.0.1"
    port: int = 8000
    token: str | None = None
    streams: int = 32
    queue: int = 256
    tokens: int = 4096
    choices: int = 128
    seconds: float = 300.0
    body: int = 1 << 20
    tables: str = "auto"
    threads: int = 0
    conversations: int = 1000
    conversation_bytes: int = 1 << 30
    conversation_seconds: float = 3600.0

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            raise InputError(
                f"host {self.host} is open to other machines, so a token is needed; set INN_TOKEN (or --token), "
                "or leave out --host"
            )
        if self.token is not None and (len(self.token) < 16 or not set(self.token) <= ALLOWED):
            raise InputError(
                "the token must be at least 16 letters, digits and marks, without spaces; make one with: "
                "python -c 'import secrets; print(secrets.token_urlsafe(24))'"
            )
        if not 0 <= self.port < 1 << 16:
            raise InputError(f"port must be from 0 to 65535, not {self.port}")
        for name, least in (("streams", 1), ("queue", 0), ("tokens", 1), ("choices", 1), ("body", 1)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if not 0 <= self.threads <= THREADS:
            raise InputError(f"threads must be from 0 (one fewer than cores) to {THREADS}, not {self.threads}")
        if not 0 < self.seconds < math.inf:
            raise InputError(f"seconds must be above 0 and finite, not {self.seconds}")
        if self.tables not in TABLES:
            raise InputError(f"tables must be one of {', '.join(TABLES)}, not '{self.tables}'")
        if self.conversations < 0 or self.conversation_bytes < 0 or not self.conversation_seconds > 0:
            raise InputError("conversations and their bytes must be 0 or more, and their seconds above 0")

    @property
    def shared(self) -> bool | None:
        """As `inn.server.engine.Engine` asks for it."""
        return {"own": False, "shared": True}.get(self.tables)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address.

    >>> [is_loopback(host) for host in ("127.0.0.2", "::1", "localhost", "0.0.0.0", "example.org")]
    [True, True, True, False, False]
    """
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@lru_cache(maxsize=16)
def names_loopback(header: str) -> bool:
    """Whether the header `Host` names this machine: another name that leads here is a trick of a page elsewhere.

    >>> [names_loopback(name) for name in ("127.0.0.1:80", "[::1]:80", "localhost", "evil.example:80", "[")]
    [True, True, True, False, False]
    """
    try:
        return is_loopback(urlsplit(f"//{header}").hostname or "")
    except ValueError:
        return False
