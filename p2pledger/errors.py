"""Whose fault it is. Floor 0.

Three kinds, because three different things follow: a peer that sends rubbish is scored and cut off,
a user that asks for the impossible is told why and how to mend it, and our own corruption stops us.
"""


class InvalidMessage(Exception):
    """Bytes or values that no honest peer sends. The sender is at fault; nothing was changed.

    `code` is stable, like that of `InvalidTransaction`: `malformed` unless a more exact one is given.
    """

    def __init__(self, message: str, code: str = "malformed") -> None:
        super().__init__(message)
        self.code = code


class InvalidTransaction(Exception):
    """A transaction that is refused. The submitter is at fault; nothing was changed.

    `code` is stable (documented in docs/errors.md, counted in metrics, answered by the API);
    the message says what was found, and the documentation of the code says how to mend it.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class Fatal(Exception):
    """Our own state cannot be trusted: the process stops and answers nothing more."""
