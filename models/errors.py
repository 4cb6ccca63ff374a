"""Errors that are told in one line: the user's to mend, or a source's."""

from __future__ import annotations

from typing import Any

from models.masking import mask


class _Masked(Exception):
    """An error whose message never holds a password or key of an address."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*(mask(a) if isinstance(a, str) else a for a in arguments))


class InputError(_Masked, ValueError):
    """Something given by the user cannot be used.

    The message is one line that names what was wrong, what was expected and what to do.
    The command line prints it without a traceback and exits with 2; tasks never retry it.
    """


class NoForecastError(InputError):
    """There is no champion to forecast with, or no candle fresh enough to forecast from.

    What else the run did stands; it ends in a state of its own name, and the command line with 1.
    """


class ServiceError(_Masked, RuntimeError):
    """Something that the program depends on did not do what it was asked to.

    The message is one line that names the service and what came. Trying again later may help; the
    command line prints it without a traceback and exits with 1.
    """


class SymbolsError(ServiceError):
    """Some of the symbols of a run failed; the others are done.

    `summary` holds what each of the others returned (`symbols`) and why each of these failed
    (`failed`).
    """

    def __init__(self, message: str, summary: Any) -> None:
        super().__init__(message)  # alone, since logs print all arguments
        self.summary = summary

    def __reduce__(self) -> tuple[type[SymbolsError], tuple[str, Any]]:
        return SymbolsError, (str(self), self.summary)


class SourceError(ServiceError):
    """A source of candles did not answer, or not with candles that can be used."""


class CleaningError(ServiceError):
    """Something that nothing needs any more could not be deleted; the message counts what was."""


class RegistryError(ServiceError):
    """MLflow failed, which answered when the run began.

    A stage is tried again; running again finishes what was begun.
    """


class LedgerError(ServiceError):
    """The database of the ledger cannot be reached, is locked or full, or is not a database.

    Nothing of the transaction was stored. A stage is tried again.
    """


class DiskError(ServiceError):
    """No space is left on the disk of the state folder.

    What was stored before stands; nothing is half-written. A stage is not tried again.
    """


class StoreError(ServiceError):
    """An object store of candles, snapshots or reports failed, forbids, or gave something else.

    Nothing half-written is read. A stage is tried again.
    """
