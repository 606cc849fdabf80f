"""Keeps passwords and tokens of server addresses out of messages, logs and records. Light to import."""

from __future__ import annotations

import re
import traceback

__all__ = ["cause_without_credentials", "without_credentials"]

# Up to the last @ of the word: a password may hold an @ or a / that should have been encoded.
_USER_INFO = re.compile(r"(?<=://)[^\s'\"<>]*@")
_SETTING = re.compile(r"(?i)([?&](?:\w*password|passwd|pwd|\w*token|\w*secret|\w*key|sig)=)[^\s&'\"<>]*")


def without_credentials(text: str) -> str:
    """A text in which no address shows its user, password or token.

    Example:
        >>> without_credentials("GET http://reader:secret@host:5000/api?token=abc&page=1 failed")
        'GET http://host:5000/api?token=***&page=1 failed'
    """
    return _SETTING.sub(r"\1***", _USER_INFO.sub("", text))


def cause_without_credentials(error: BaseException) -> BaseException | None:
    """The error, to be raised from; None if it, or an error behind it, shows a credential in its traceback."""
    text = "".join(traceback.format_exception(error))
    return error if without_credentials(text) == text else None
