"""Where a study is kept: after reading it you know how several processes and machines work on one study.

A study in a journal file is a list of lines that are only ever appended to, under a lock: killing a process leaves the
trials that were written before. Every process that opens the same journal, on this machine or on a shared folder, works
on the same study. PostgreSQL or another database does the same by its URL.
"""

from __future__ import annotations

import os
import re
import socket
import sys
from pathlib import Path as AnyPath
from typing import TYPE_CHECKING, Any

from flambeau.foundation.errors import ArgumentError, DataError
from flambeau.foundation.paths import Path

if TYPE_CHECKING:
    from optuna.storages.journal import JournalFileOpenLock, JournalFileSymlinkLock
    from optuna.study import Study
    from optuna.trial import FrozenTrial

JOURNAL = "study.journal"
RECORD = b'{"op_code"'  # what each line of a journal begins with
PROCESS, ERROR, REASON, WITHDRAWN = "process", "error", "reason", "withdrawn"


def open_storage(storage: Any) -> tuple[Any, str]:
    """Return Optuna's storage and words for it.

    None: this process's memory. A path: a journal file there (in a folder: `study.journal`). A URL: that database.
    A storage of Optuna's own is taken as it is.

    Raises:
        ArgumentError: the place cannot be written, or the database cannot be opened.
        DataError: the file is no journal, or is damaged.
    """
    from optuna.storages import BaseStorage, InMemoryStorage

    if storage is None:
        return InMemoryStorage(), "memory (storage=... keeps it, to go on later or with several processes)"
    if isinstance(storage, BaseStorage):
        return storage, type(storage).__name__
    if isinstance(storage, str) and "://" in storage:
        return _open_database(storage)
    if not isinstance(storage, str | os.PathLike):
        raise ArgumentError(f"storage is a path, the URL of a database or a storage of Optuna; got {storage!r}.")
    return _open_journal(journal_path(storage))


def journal_path(storage: str | os.PathLike[str]) -> Path:
    """Return the journal file that a path means: itself, or `study.journal` in the folder it names."""
    path = Path(storage)
    return path if path.suffix and not path.is_dir() else path / JOURNAL


def _open_journal(path: AnyPath) -> tuple[Any, str]:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalFileSymlinkLock

    # a symbolic link, Optuna's usual lock, needs special rights on Windows
    lock = (JournalFileOpenLock if sys.platform == "win32" else JournalFileSymlinkLock)(str(path))

    class Journal(JournalFileBackend):
        """A journal file that stays whole when the disk is full."""

        def append_logs(self, logs: list[dict[str, Any]]) -> None:
            try:
                super().append_logs(logs)
            except OSError as error:
                _cut_torn_line(path, lock)
                error.filename = error.filename or str(path)
                raise

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise ArgumentError(
            f"The study cannot be kept in {path}: {error.strerror or error}. Name a place that may be written, or "
            "leave storage out to search in memory."
        ) from error
    if not _begins_as_journal(path):
        raise DataError(f"{path} is no journal of a study. Name another file, or a folder.")
    _cut_torn_line(path, lock)
    try:
        return JournalStorage(Journal(str(path), lock)), str(path)
    except OSError:
        raise
    except Exception as error:  # whatever a file of another kind makes of the reader
        raise DataError(
            f"{path} is no journal of a study, or is damaged ({type(error).__name__}: {error}). Name another file, or "
            "a folder."
        ) from error


def _cut_torn_line(path: AnyPath, lock: JournalFileOpenLock | JournalFileSymlinkLock) -> None:
    """Cut an unfinished last line off, which a kill or a full disk left: with it, nobody could read the journal."""
    if _torn_at(path) is None:
        return
    lock.acquire()  # otherwise it may be a line that another process is just writing
    try:
        end = _torn_at(path)
        if end is None:
            return
        n_lost = path.stat().st_size - end
        os.truncate(path, end)
    finally:
        lock.release()
    print(f"{path}: its last line was not finished ({n_lost} bytes, by a kill or a full disk) and is cut off.")


def _begins_as_journal(path: AnyPath) -> bool:
    """Whether a file is empty or begins with a record: Optuna would write behind a line of anything else."""
    with path.open("rb") as file:
        return RECORD.startswith(file.read(len(RECORD)))


def _torn_at(path: AnyPath) -> int | None:
    """Return where an unfinished last line begins; None where there is none."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        end, tail = size, b""
        while end > 0 and b"\n" not in tail:
            begin = max(end - 65536, 0)
            file.seek(begin)
            tail, end = file.read(end - begin), begin
        place = end + tail.rfind(b"\n") + 1
    return place if place < size else None


def _open_database(url: str) -> tuple[Any, str]:
    from optuna.storages import RDBStorage

    words = re.sub(r"(//[^:/@]*):[^@]*@", r"\1:***@", url)  # a password is not for the screen
    try:
        return RDBStorage(url), words
    except Exception as error:  # of the database, its driver or the reader of the URL
        raise ArgumentError(
            f"The database {words} cannot be opened ({type(error).__name__}: {str(error).splitlines()[0]}). Check the "
            "URL, and that the server runs and its driver is installed (PostgreSQL: pip install psycopg2-binary)."
        ) from error


def this_process() -> list[Any]:
    """Return what tells this process from others: the machine's name and the process's number."""
    return [socket.gethostname(), os.getpid()]


def close_dead_trials(study: Study) -> int:
    """Mark trials that a killed process of this machine left running as failed; return how many."""
    from optuna.trial import TrialState

    host, own = this_process()
    dead = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        where, number = trial.user_attrs.get(PROCESS, (None, None))
        # one of this process's own number is left from before: numbers are given again, above all in containers
        if where == host and (number == own or not _is_alive(int(number))):
            study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
            dead += 1
    return dead


def _is_alive(process: int) -> bool:
    if sys.platform == "win32":
        return True  # asking there needs a library; such a trial stays shown as running
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, hence alive
    return True


def was_broken_off(trial: FrozenTrial) -> bool:
    """Tell whether a trial ended without a result or an error of its own: by Ctrl-C, or with its process."""
    from optuna.trial import TrialState

    return trial.state == TrialState.FAIL and ERROR not in trial.user_attrs


def counted_trials(study: Study) -> list[FrozenTrial]:
    """Return the trials that count towards the number wanted: all that ran or run, but not those broken off."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state != TrialState.WAITING and not was_broken_off(trial)]
