"""What a person is told when a command fails: one line that names what was wrong and, where it is not in the message, what would be right."""

from __future__ import annotations

import errno

from cli.runtime import CommandError

_OURS = frozenset({"settlement", "sequencer", "worker", "validator", "localnet", "cli"})
_SYSTEM = {
    errno.EACCES: "is not ours to read or write: check owner and mode, or name another path",
    errno.EEXIST: "exists already and is no folder: name another path",
    errno.EISDIR: "is a folder, a file is needed",
    errno.ENOENT: "does not exist and cannot be made there: name another path",
    errno.ENOSPC: "no room is left on its disk: free some, or name a path on another",
    errno.ENOTDIR: "lies below something that is no folder: name another path",
    errno.EROFS: "lies on a disk that cannot be written: name another path",
    errno.EADDRINUSE: "the address is in use: choose another port, or end what listens there",
}
_ADVICE = {
    "L1Unreachable": "is it running? `pouw localnet` starts one; --url or POUW_URL names another",
    "SequencerUnreachable": "is it running? `pouw sequencer run` starts one; --sequencer or POUW_SEQUENCER names another",
    "WrongChain": "--url and --sequencer must lead to one network, --program-id to its program",
    "GenesisMismatch": "name this program's own cluster with --url, or another program with --program-id",
}
_PROGRAM_ADVICE = {
    "ResultWithNegativeLamports": "`pouw airdrop` gets lamports on a localnet",
    "AccountInUse": "it was done before",
}
_REFUSAL_ADVICE = {
    "UNKNOWN_ACCOUNT": "`pouw deposit LAMPORTS` makes one; it counts an epoch later",
    "INSUFFICIENT_BALANCE": "`pouw deposit LAMPORTS` adds to it",
    "UNKNOWN_TASK": "`pouw task list` shows those that there are",
}


def describe(error: BaseException) -> str:
    """The message of an error that was meant for people, with advice; the type's name before it for all others."""
    kind, message = type(error), str(error)
    if kind.__module__.partition(".")[0] in _OURS:
        return _ours(error) or kind.__name__
    if isinstance(error, OSError) and error.errno in _SYSTEM:
        return f"{error.filename}: {_SYSTEM[error.errno]}" if error.filename else _SYSTEM[error.errno]
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{kind.__name__}: {message}" if message else kind.__name__


def _ours(error: BaseException) -> str:
    from settlement.errors import ProgramError, TransactionFailed
    from settlement.sequencer_client import RpcError

    message, advice = str(error), _ADVICE.get(type(error).__name__)
    if isinstance(error, ProgramError):
        advice = _PROGRAM_ADVICE.get(error.name or "")
    if isinstance(error, TransactionFailed) and not error.landed:
        message = (
            f"L1 refuses it: {error.reason}"  # it never was a transaction of which the signature could be looked up
        )
    if isinstance(error, RpcError):
        advice = _REFUSAL_ADVICE.get(str(error.data.get("name")))
        if "name" not in error.data:  # every refusal of a sequencer's carries one
            advice = "this is no answer of a sequencer's: does --sequencer lead to one? L1's URL is --url"
    return f"{message}; {advice}" if advice and advice not in message else message


def text_of(path: object, error: OSError | UnicodeDecodeError) -> CommandError:
    """Why a file that was named cannot be read."""
    if isinstance(error, UnicodeDecodeError):
        return CommandError(f"{path} is no text")
    return CommandError(f"{path}: {_SYSTEM.get(error.errno or 0, error.strerror)}")
