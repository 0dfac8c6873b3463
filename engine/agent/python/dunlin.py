"""Shared state of a fleet of agents, from Python: attach to the Dunlin daemon on this machine, read
in place, write through rings.

    import dunlin

    with dunlin.attach() as node:                  # the daemon that DUNLIN_SOCKET names
        airspace = node.space("airspace")
        token = airspace.put_if("u0qj2c", "drone-7", dunlin.ABSENT)
        print(airspace.get("u0qj2c").text)
        airspace.delete_if("u0qj2c", token)

Contract  dunlin.h, which this module calls through ctypes; the names and errors are the same.  The
          calls for views in place, asynchronous writes and administration are left to C.
Threads   An attachment serves one call at a time; threads that share one wait for each other.  Open
          one per thread.  A child of fork opens its own: what it inherited raises Closed.
Lifetime  The daemon may die and come back: local reads go on with growing age, and the library
          attaches again by itself.  The program needs no code for this.
Text      Keys and values are bytes, or str, which stands for its UTF-8.  What is read is bytes.
Units     *_s seconds.
Errors    Subclasses of DunlinError; each says what the caller does about it.
Library   libdunlin.so.0: the file that DUNLIN_LIBRARY names, else the one beside this module, else
          the loader's.

Python 3.9 or later; the standard library only.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import json
import math
import os
import threading
import time
import weakref
from typing import (
    Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Tuple, Type, Union)

__all__ = [
    "ABSENT", "AccessDenied", "Attachment", "Closed", "Compacted", "Conflict", "Delete", "Done",
    "DunlinError", "Event", "FateUnknown", "Holder", "If", "Increment", "Info", "InvalidArgument", "Lagged", "Lease",
    "LibraryNotFound", "LimitReached", "NodeAlone", "NotANumber", "NotFound", "OutOfRange",
    "ProtocolMismatch", "Put", "QuotaExceeded", "Read", "SeveralShards", "Space", "Stale", "Sum",
    "SystemFailure", "TooLarge", "Unavailable", "Version", "Watch", "WriteId", "attach", "region_key",
]

Text = Union[str, bytes]

KEY_MAX = 512
_ZONE_MAX = 31

# ---- what is read and written --------------------------------------------------------------------


class Version(NamedTuple):
    """Identity of a value: which log, and where in it.

    lsn only grows within a log, also over deletes, restarts and losses, so it serves as a fencing
    token.  As text it is "LOG.LSN", as on the command line.
    """

    log: int
    lsn: int

    def __str__(self) -> str:
        return f"{self.log}.{self.lsn}"

    @classmethod
    def parse(cls, text: str) -> Version:
        """The version that str() made this text of; ValueError if it is none."""
        log, lsn = text.split(".")
        return cls(int(log), int(lsn))


ABSENT = Version(0, 0)
"""As the expected version of a write: the key must not exist."""


class WriteId(NamedTuple):
    """Name of a write: whoever repeats the write under it applies it at most once.

    As text it is "SESSION.SHARD:SEQUENCE", as `dunlin put --retry` takes it.
    """

    session: bytes
    shard: int
    sequence: int

    def __str__(self) -> str:
        return f"{self.session.hex()}.{self.shard}:{self.sequence}"


class Read(NamedTuple):
    """A value, and what is known about it."""

    value: bytes
    version: Version
    epoch: int
    age_s: float
    """How long ago this machine was sure that it is the newest; inf if it cannot tell."""
    stale: bool
    """The daemon is gone or silent, and the age grows."""

    @property
    def text(self) -> str:
        """The value decoded from UTF-8; UnicodeDecodeError if it is something else."""
        return self.value.decode()


class Sum(NamedTuple):
    """What an increment made of a number."""

    value: int
    version: Version


class Done(NamedTuple):
    """What became of a transaction."""

    succeeded: bool
    """Every condition held, and `then` was done; else `otherwise` was."""
    version: Version
    """Of its last write; lsn 0: nothing had to be changed."""


class If(NamedTuple):
    """A condition of a transaction: one of what can be asked of a key."""

    key: Text
    version: Union[Version, int, None] = None
    """The newest version is this one; ABSENT: there is no such key."""
    exists: Optional[bool] = None
    token: Optional[int] = None
    """The key is there and carries this fencing token."""


class Put(NamedTuple):
    """A write of a transaction."""

    key: Text
    value: Text


class Delete(NamedTuple):
    """A delete of a transaction; a key that is not there is no failure."""

    key: Text


class Increment(NamedTuple):
    """An increment of a transaction, as Space.increment()."""

    key: Text
    by: int = 1


class Info(NamedTuple):
    """What an attachment knows of itself and of the daemon."""

    start: int
    """Number of the daemon's start: changes when it was restarted."""
    node_id: int
    lcores: int
    lease_s: float
    attached_count: int
    """Times that this attachment found a daemon."""
    reads_in_place: int
    reads_by_ring: int
    reads_retried: int
    ended_not_led: int
    """Reads and writes given up while this node did not lead the shard."""
    writes_blocked: int
    writes_dropped: int
    writes_conflated: int
    writes_sampled: int
    """By the policies of asynchronous writes, which only C has."""


class Holder(NamedTuple):
    """Who holds a lease."""

    owner: str
    token: int
    ttl_s: float
    version: Version
    """Of the last renewal."""


class Event(NamedTuple):
    """Something that was committed, as a watch gives it out."""

    kind: str
    """"put", "delete", or "expire": its ttl or its lease ran out."""
    key: bytes
    value: Optional[bytes]
    """None unless it was put."""
    version: Version
    last: bool
    """There is no more of its transaction."""
    time_s: float
    """Since 1970, by the writer's clock."""


# ---- errors --------------------------------------------------------------------------------------


class DunlinError(Exception):
    """Whatever Dunlin refuses or cannot do; errno is the number of dunlin.h, positive, or 0."""

    errno: int = 0


class NotFound(DunlinError):
    """There is no such key, or no such space.  Take it as absent, or correct the name."""


class Conflict(DunlinError):
    """The condition of a compare did not hold; version is what stands there.  Read, then decide."""

    version: Version = ABSENT


class Unavailable(DunlinError):
    """No daemon, no lease, no quorum, or this node does not lead the shard.

    A write was never applied.  Try later, or go to your fail-safe state.
    """


class FateUnknown(DunlinError):
    """The write was sent, and nobody can say any more whether it was applied.

    Repeat the same write with retry=error.write, which applies it at most once; or read before you
    write again.  Raised by the repetition itself, it means that the session is forgotten: read.
    write is None if the library could not name it.
    """

    write: Optional[WriteId] = None


class Stale(DunlinError):
    """The value is older than max_age_s.  read is what there is, with its age; None: no such key as
    far as known.  Use it if you can bear its age, else wait or go to your fail-safe state.
    """

    read: Optional[Read] = None


class Compacted(DunlinError):
    """What was asked for at a version is not kept any more, or the version is of another shard.
    oldest is the oldest version that is kept; None: not known.  Read without a version.
    """

    oldest: Optional[Version] = None


class AccessDenied(DunlinError):
    """The access list of the space or the mode of the socket does not let you.  Ask who runs it."""


class QuotaExceeded(DunlinError):
    """The shard is full of live data.  Delete, or raise the quota of the space."""


class LimitReached(DunlinError):
    """The shard holds as many sessions as it may, or the daemon as many agents.  Try later."""


class Lagged(DunlinError):
    """A watch did not keep up, or the daemon began anew: missed_bytes of the log are gone.  Read what
    matters; the watch goes on at the oldest that is kept with the next event that is asked for.
    """

    missed_bytes: int = 0


class NodeAlone(DunlinError):
    """Asked of a cluster, and the daemon's node is alone.  Ask a node of the cluster."""


class TooLarge(DunlinError):
    """Key or value is above the limit of the space.  Send less, or split it."""


class NotANumber(DunlinError):
    """What is to be added to is not a decimal number.  Nothing was changed."""


class OutOfRange(DunlinError):
    """The sum does not fit 64 bits.  Nothing was changed."""


class SeveralShards(DunlinError):
    """The keys of a transaction lie in several shards.  Give those that belong together the same
    partition in braces, like seat{flight7}/12A.
    """


class ProtocolMismatch(DunlinError):
    """Daemon and library disagree, or shared memory was damaged.  Update the older one."""


class InvalidArgument(DunlinError, ValueError):
    """An empty key, a name that cannot be one, a number out of range.  Mend the program."""


class SystemFailure(DunlinError):
    """The system's own refusal, at attaching above all: errno says which.  Free what is short."""


class LibraryNotFound(DunlinError):
    """libdunlin cannot be loaded.  Install it, run ldconfig, or set DUNLIN_LIBRARY to its path."""


class Closed(DunlinError):
    """The attachment was closed, or belongs to the parent process.  Open another."""


# What is not in here is the system's own answer.
_ERRORS: Dict[int, Tuple[Type[DunlinError], str]] = {
    errno.ENOENT: (NotFound, "not found"),
    errno.ECANCELED: (Conflict, "the condition did not hold"),
    errno.ENODATA: (Compacted, "not kept any more at that version"),
    errno.ENOTCONN: (Unavailable, "unavailable: no daemon, no lease, or not led by this node"),
    errno.EOWNERDEAD: (FateUnknown, "fate unknown: repeat it under its name, or read first"),
    errno.ESTALE: (Stale, "older than asked"),
    errno.EACCES: (AccessDenied, "refused by the access list or the mode of the socket"),
    errno.EDQUOT: (QuotaExceeded, "the shard is full of live data"),
    errno.EUSERS: (LimitReached, "too many sessions or agents"),
    errno.EMSGSIZE: (TooLarge, "key or value above the limit"),
    errno.EDOM: (NotANumber, "the value is not a number"),
    errno.ERANGE: (OutOfRange, "the sum does not fit 64 bits"),
    errno.EXDEV: (SeveralShards, "the keys lie in several shards"),
    errno.EPROTO: (ProtocolMismatch, "daemon and library disagree"),
    errno.EINVAL: (InvalidArgument, "invalid argument"),
    errno.EOPNOTSUPP: (NodeAlone, "the node is in no cluster"),
}


def _error(result: int, subject: str) -> DunlinError:
    """The exception for a negative result of the library."""
    kind, reason = _ERRORS.get(-result, (SystemFailure, os.strerror(-result)))
    error = kind(f"{subject}: {reason}")
    error.errno = -result
    return error


# ---- dunlin.h ------------------------------------------------------------------------------------
# tests/e2e/python_test.py holds all of this against the header.

OPEN_WAIT = 0x1
LINEARIZABLE = 0
LOCAL = 1
PUT = 1
DELETE = 2
INCREMENT = 3
COMPARE_VERSION = 1
COMPARE_EXISTS = 2
COMPARE_ABSENT = 3
COMPARE_TOKEN = 4


_STRUCTURES: Dict[str, Type[ctypes.Structure]] = {}

_int = ctypes.c_int
_u32 = ctypes.c_uint32
_u64 = ctypes.c_uint64
_size = ctypes.c_size_t
_string = ctypes.c_char_p  # bytes go through it as they are, zeros too
_address = ctypes.c_void_p


def _structure(name: str, **fields: Any) -> Any:
    made = type(name, (ctypes.Structure,), {"_fields_": list(fields.items())})
    _STRUCTURES[name] = made
    return made


_Version = _structure("dunlin_version", log=_u64, lsn=_u64)
_Options = _structure(
    "dunlin_options", socket=_string, timeout_ns=_u64, spin_ns=_u64, request_bytes=_u32,
    completion_bytes=_u32, bulk_bytes=_u32, flags=_u32)
_Read = _structure(
    "dunlin_read", mode=_int, max_age_ns=_u64, at=_Version, length=_size, version=_Version, epoch=_u64,
    age_ns=_u64, stale=_int)
_GetEntry = _structure(
    "dunlin_get_entry", key=_string, key_length=_size, buffer=_address, capacity=_size, result=_int,
    read=_Read)
_Write = _structure(
    "dunlin_write", operation=_int, key=_string, key_length=_size, value=_string,
    value_length=_size, compare=_int, expected_lsn=_u64, context=_u64, delta=ctypes.c_int64,
    ttl_ns=_u64)
_Lease = _structure(
    "dunlin_lease", token=_u64, deadline_ns=_u64, ttl_ns=_u64, version=_Version,
    owner=ctypes.c_char * 65)
_Condition = _structure(
    "dunlin_condition", compare=_int, key=_string, key_length=_size, expected=_u64)
_Transaction = _structure(
    "dunlin_transaction", conditions=_address, condition_count=_size, then_writes=_address,
    then_count=_size, else_writes=_address, else_count=_size)
_TransactionResult = _structure("dunlin_transaction_result", branch=_int, version=_Version)
_WriteId = _structure(
    "dunlin_write_id", session=ctypes.c_uint8 * 16, shard=_u32, reserved=_u32, sequence=_u64)
_Event = _structure(
    "dunlin_event", kind=_int, last=_int, key=_address, key_length=_size, value=_address,
    value_length=_size, version=_Version, clock_ns=_u64)
_ScanOptions = _structure(
    "dunlin_scan_options", prefix=_string, prefix_length=_size, after=_string, after_length=_size,
    mode=_int, max_age_ns=_u64, keys_only=_int)
_ScanEntry = _structure(
    "dunlin_scan_entry", key=_address, key_length=_size, value=_address, value_length=_size,
    version=_Version, epoch=_u64, age_ns=_u64, stale=_int)
_WatchOptions = _structure(
    "dunlin_watch_options", prefix=_string, prefix_length=_size, pattern=_string,
    pattern_length=_size, **{"from": _string})
_Info = _structure(
    "dunlin_info", start=_u64, node_id=_u32, lcores=_u32, lease_ns=_u64, attached_count=_u64,
    reads_in_place=_u64, reads_by_ring=_u64, reads_retried=_u64, ended_not_led=_u64,
    writes_blocked=_u64, writes_dropped=_u64, writes_conflated=_u64, writes_sampled=_u64)

_to = ctypes.POINTER

# Name to the type of its result and of its arguments.
_FUNCTIONS: Dict[str, Tuple[Any, ...]] = {
    "dunlin_open": (_int, _to(_Options), _to(_address)),
    "dunlin_close": (None, _address),
    "dunlin_space": (_int, _address, _string, _to(_address)),
    "dunlin_get": (_int, _address, _string, _size, _address, _size, _to(_Read)),
    "dunlin_get_many": (_int, _address, _to(_GetEntry), _size),
    "dunlin_put": (_int, _address, _string, _size, _string, _size, _to(_Version)),
    "dunlin_put_if": (_int, _address, _string, _size, _string, _size, _u64, _to(_Version)),
    "dunlin_delete": (_int, _address, _string, _size, _to(_Version)),
    "dunlin_delete_if": (_int, _address, _string, _size, _u64, _to(_Version)),
    "dunlin_apply": (_int, _address, _to(_Write), _to(_Version)),
    "dunlin_lease_acquire": (_int, _address, _string, _size, _string, _u64, _to(_Lease)),
    "dunlin_lease_renew": (_int, _address, _string, _size, _u64, _to(_Lease)),
    "dunlin_lease_release": (_int, _address, _string, _size, _u64, _to(_Version)),
    "dunlin_lease_show": (_int, _address, _string, _size, _to(_Lease)),
    "dunlin_increment": (
        _int, _address, _string, _size, ctypes.c_int64, _to(ctypes.c_int64), _to(_Version)),
    "dunlin_transaction": (_int, _address, _to(_Transaction), _to(_TransactionResult)),
    "dunlin_retry_increment": (
        _int, _address, _to(_WriteId), _to(_Write), _to(ctypes.c_int64), _to(_Version)),
    "dunlin_retry_transaction": (
        _int, _address, _to(_WriteId), _to(_Transaction), _to(_TransactionResult)),
    "dunlin_last_write": (_int, _address, _to(_WriteId)),
    "dunlin_retry": (_int, _address, _to(_WriteId), _to(_Write), _to(_Version)),
    "dunlin_scan_open": (_int, _address, _to(_ScanOptions), _to(_address)),
    "dunlin_scan_next": (_int, _address, _to(_ScanEntry)),
    "dunlin_scan_close": (None, _address),
    "dunlin_watch_open": (_int, _address, _to(_WatchOptions), _to(_address)),
    "dunlin_watch_close": (None, _address),
    "dunlin_watch_next": (ctypes.c_int64, _address, _to(_Event), _size, _u64),
    "dunlin_watch_lagged": (None, _address, _to(_Version), _to(_u64)),
    "dunlin_watch_position": (ctypes.c_int64, _address, _string, _size),
    "dunlin_info": (None, _address, _to(_Info)),
    "dunlin_status_json": (ctypes.c_int64, _address, _string, _size),
    "dunlin_ping": (_int, _address, _u32),
    "dunlin_zone": (ctypes.c_int64, _address, _string, _size),
    "dunlin_region_key": (ctypes.c_int64, _string, _size, _string, _string, _size),
}

_LIBRARY_NAME = "libdunlin.so.0"


def _library_path() -> str:
    named = os.environ.get("DUNLIN_LIBRARY")
    if named:
        return named
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), _LIBRARY_NAME)
    return beside if os.path.exists(beside) else _LIBRARY_NAME


@functools.lru_cache(maxsize=None)
def _library() -> ctypes.CDLL:
    path = _library_path()
    try:
        library = ctypes.CDLL(path)
        for name, (result, *arguments) in _FUNCTIONS.items():
            function = getattr(library, name)
            function.restype = result
            function.argtypes = arguments
    except (OSError, AttributeError) as error:
        raise LibraryNotFound(f"{path}: {error}; install it, or set DUNLIN_LIBRARY") from error
    return library


# ---- arguments -----------------------------------------------------------------------------------

_U64_MAX = 2**64 - 1

# Bytes of the buffers; what does not fit the first time is asked for once more.
_CAPACITY_ONE = 4096
_CAPACITY_MANY = 512
_CAPACITY_STATUS = 64 << 10


def _bytes(text: Text) -> bytes:
    if isinstance(text, str):
        return text.encode()
    # Why not any bytes(x): bytes(3) is three zeros.
    if isinstance(text, (bytes, bytearray, memoryview)):
        return bytes(text)
    raise TypeError(f"expected bytes or str, not {type(text).__name__}")


def region_key(key: Text, zone: Optional[str]) -> bytes:
    """The key of what a zone has instead of a key, like a lease of its own; zone None: what those of
    all zones begin with, for a scan or a watch.

    Raises InvalidArgument (no key, no name of a zone), TooLarge.
    """
    name, made = _bytes(key), ctypes.create_string_buffer(KEY_MAX)
    region = _c_string(_bytes(zone)) if zone is not None else None
    result = _library().dunlin_region_key(name, len(name), region, made, KEY_MAX)
    if result < 0:
        raise _error(result, f"region {zone!r} of {name!r}")
    return made[:result]


def _key_of(key: Text, region: Optional[str]) -> bytes:
    return _bytes(key) if region is None else region_key(key, region)


def _c_string(name: bytes) -> bytes:
    # Why: C would take what stands before the zero for the whole name.
    if b"\0" in name:
        raise InvalidArgument(f"{name!r}: holds a zero byte")
    return name


def _nanoseconds(seconds: Optional[float], name: str) -> int:
    """0, which stands for the default, if there is none; else at least 1."""
    if seconds is None:
        return 0
    if not 0 <= seconds <= 1e9:
        raise InvalidArgument(f"{name}: {seconds!r} is not from 0 to 1e9 seconds")
    return max(1, round(seconds * 1e9))


def _lsn(expected: Union[Version, int]) -> int:
    lsn = expected.lsn if isinstance(expected, Version) else expected
    # Why here: ctypes would cut it to 64 bits without a word.
    if not 0 <= lsn <= _U64_MAX:
        raise InvalidArgument(f"{lsn!r}: no LSN")
    return lsn


def _delta(by: int) -> int:
    # Why here: ctypes would cut it to 64 bits without a word.
    if not isinstance(by, int) or not -2**63 <= by < 2**63:
        raise InvalidArgument(f"{by!r}: no whole number of 64 bits")
    return by


def _condition_of(asked: If) -> Any:
    if sum(x is not None for x in (asked.version, asked.exists, asked.token)) != 1:
        raise InvalidArgument(f"{asked!r}: give one of version, exists and token")
    key = _bytes(asked.key)
    if asked.version is not None:
        return _Condition(COMPARE_VERSION, key, len(key), _lsn(asked.version))
    if asked.exists is not None:
        return _Condition(COMPARE_EXISTS if asked.exists else COMPARE_ABSENT, key, len(key))
    return _Condition(COMPARE_TOKEN, key, len(key), _lsn(asked.token))


def _write_of(part: Union[Put, Delete, Increment]) -> Any:
    if not isinstance(part, (Put, Delete, Increment)):
        raise TypeError(f"expected Put, Delete or Increment, not {type(part).__name__}")
    key = _bytes(part.key)
    if isinstance(part, Put):
        value = _bytes(part.value)
        return _Write(PUT, key, len(key), value, len(value))
    if isinstance(part, Increment):
        return _Write(INCREMENT, key, len(key), delta=_delta(part.by))
    return _Write(DELETE, key, len(key))


def _name_of(retry: WriteId) -> Any:
    if len(retry.session) != 16:
        raise InvalidArgument(f"{retry!r}: a session has 16 bytes")
    return _WriteId((ctypes.c_uint8 * 16)(*retry.session), retry.shard, 0, retry.sequence)


def _read_of(value: bytes, read: Any) -> Read:
    age_s = math.inf if read.age_ns == _U64_MAX else read.age_ns / 1e9
    version = Version(read.version.log, read.version.lsn)
    return Read(value, version, read.epoch, age_s, bool(read.stale))


# ---- the attachment ------------------------------------------------------------------------------


class _Handle:
    """A `struct dunlin`, and that no two calls use it at once: ctypes lets other threads run while
    it is in the library."""

    def __init__(self, pointer: ctypes.c_void_p) -> None:
        self.library = _library()
        self._pointer: Optional[ctypes.c_void_p] = pointer
        self._busy = False
        # Why one that its own thread gets again: a signal handler that calls us in the middle of a
        # call of ours then gets an error, not a deadlock.
        self._lock = threading.RLock()
        _handles.add(self)

    def call(self, function: Callable[..., int], *arguments: Any) -> int:
        """function(*arguments), for what needs the attachment to be alive."""
        return self.call_with(lambda _: function(*arguments))

    def call_with(self, work: Callable[[ctypes.c_void_p], int]) -> int:
        """work(pointer), alone with it."""
        with self._lock:
            if self._busy:
                raise RuntimeError("dunlin: called by a signal handler during another call")
            self._busy = True
            try:
                if self._pointer is None:
                    raise Closed("this attachment is closed, or belongs to the parent process")
                return work(self._pointer)
            finally:
                self._busy = False

    def write(self, function: Callable[..., int], *arguments: Any) -> Tuple[int, Any]:
        """Result, and the name of the write if its fate is unknown."""
        written = _WriteId()

        def work(pointer: ctypes.c_void_p) -> int:
            result = function(*arguments)
            # Why in here: the next write of another thread would be the last one.
            if result == -errno.EOWNERDEAD:
                if self.library.dunlin_last_write(pointer, ctypes.byref(written)) != 0:
                    written.sequence = 0
            return result

        return self.call_with(work), written

    def close(self) -> None:
        with self._lock:
            if self._busy:
                raise RuntimeError("dunlin: closed by a signal handler during another call")
            pointer, self._pointer = self._pointer, None
            if pointer is not None:
                self.library.dunlin_close(pointer)

    def forget(self) -> None:
        """In a child of fork: the memory, sessions and rings are the parent's."""
        self._pointer = None
        self._busy = False
        self._lock = threading.RLock()


_handles: weakref.WeakSet[_Handle] = weakref.WeakSet()


def _forget_handles() -> None:
    for handle in list(_handles):
        handle.forget()


os.register_at_fork(after_in_child=_forget_handles)


def attach(socket: Union[str, bytes, os.PathLike, None] = None, *,
           timeout_s: Optional[float] = None, wait: bool = False) -> Attachment:
    """Attach to the daemon behind a socket: by default the one that DUNLIN_SOCKET names, else
    /run/dunlin/dunlin.sock.

    No later call takes longer than timeout_s (5 by default).  wait: if no daemon answers, wait for
    one as long as that.  Raises Unavailable, AccessDenied, LimitReached, ProtocolMismatch,
    InvalidArgument, SystemFailure, LibraryNotFound.
    """
    return Attachment(socket, timeout_s=timeout_s, wait=wait)


class Attachment:
    """An attachment to the daemon on this machine; a context manager that closes it at the end."""

    def __init__(self, socket: Union[str, bytes, os.PathLike, None] = None, *,
                 timeout_s: Optional[float] = None, wait: bool = False) -> None:
        """As attach()."""
        options = _Options()
        options.timeout_ns = _nanoseconds(timeout_s, "timeout_s")
        options.flags = OPEN_WAIT if wait else 0
        if socket is not None:
            options.socket = _c_string(os.fsencode(socket))
        pointer = ctypes.c_void_p()
        result = _library().dunlin_open(ctypes.byref(options), ctypes.byref(pointer))
        if result != 0:
            name = socket if socket is not None else os.environ.get("DUNLIN_SOCKET", "")
            raise _error(result, f"attach {os.fsdecode(name)}".rstrip())
        self._handle = _Handle(pointer)
        # Why also at exit: sessions that are not closed stay with the daemon for minutes.
        weakref.finalize(self, self._handle.close)

    def __enter__(self) -> Attachment:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Detach, and free all.  Its spaces raise Closed from then on.  Twice is no error."""
        self._handle.close()

    def space(self, name: Text) -> Space:
        """The space of that name.  It stays good when the daemon comes back.

        Raises NotFound, AccessDenied, Unavailable, Closed.
        """
        return Space(self, _c_string(_bytes(name)))

    def info(self) -> Info:
        """What this attachment knows without asking anybody.  Raises Closed."""
        info = _Info()

        def work(pointer: ctypes.c_void_p) -> int:
            self._handle.library.dunlin_info(pointer, ctypes.byref(info))
            return 0

        self._handle.call_with(work)
        return Info(info.start, info.node_id, info.lcores, info.lease_ns / 1e9, info.attached_count,
                    info.reads_in_place, info.reads_by_ring, info.reads_retried, info.ended_not_led,
                    info.writes_blocked, info.writes_dropped, info.writes_conflated,
                    info.writes_sampled)

    def status(self) -> Dict[str, Any]:
        """The daemon's status, as `dunlin --json status` prints it.  Raises Unavailable, Closed."""
        capacity = _CAPACITY_STATUS
        while True:
            text = ctypes.create_string_buffer(capacity)
            result = self._handle.call_with(
                lambda at: self._handle.library.dunlin_status_json(at, text, capacity))
            if result >= 0:
                return json.loads(text[:result])
            if result != -errno.ENOBUFS:
                raise _error(result, "status")
            capacity *= 2

    def zone(self) -> str:
        """Zone of the node of this daemon, as the cluster's list of nodes has it: the region that a
        lease of one's own region names; empty if it has none.  It stays while the daemon runs.

        Raises Unavailable, Closed.
        """
        name = ctypes.create_string_buffer(_ZONE_MAX + 1)
        result = self._handle.call_with(
            lambda at: self._handle.library.dunlin_zone(at, name, len(name)))
        if result < 0:
            raise _error(result, "zone")
        return name[:result].decode()

    def ping(self, lcore: int = 0) -> None:
        """One round trip through an lcore's ring.  Raises Unavailable, InvalidArgument, Closed."""
        if not 0 <= lcore < 2**32:
            raise InvalidArgument(f"ping: {lcore!r} is no lcore")
        result = self._handle.call_with(
            lambda at: self._handle.library.dunlin_ping(at, lcore))
        if result != 0:
            raise _error(result, f"ping lcore {lcore}")


# ---- a space -------------------------------------------------------------------------------------


class Space:
    """A space of an attachment: keys with values.  Attachment.space() makes it.

    All calls raise Closed after the attachment is closed, and NotFound while the daemon, after it
    came back, has no such space.
    """

    def __init__(self, attachment: Attachment, name: bytes) -> None:
        """As Attachment.space()."""
        self.attachment = attachment  # keeps it open
        self.name = name.decode(errors="backslashreplace")
        self._handle = attachment._handle
        self._library = self._handle.library
        self._pointer = ctypes.c_void_p()
        result = self._handle.call_with(
            lambda at: self._library.dunlin_space(at, name, ctypes.byref(self._pointer)))
        if result != 0:
            raise _error(result, f"space {self.name}")

    def _fail(self, result: int, what: str, key: bytes) -> DunlinError:
        return _error(result, f"{what} {key!r} in {self.name}")

    def _judge(self, result: int, value: bytes, read: Any, key: bytes) -> Union[Read, DunlinError]:
        """What a get of dunlin.h means."""
        if result == 0:
            return _read_of(value, read)
        error = self._fail(result, "get", key)
        if isinstance(error, Stale) and read.version.lsn != 0:
            error.read = _read_of(value, read)
        if isinstance(error, Compacted) and read.version.lsn != 0:
            error.oldest = Version(read.version.log, read.version.lsn)
        return error

    # ---- reading ----

    def get(self, key: Text, *, local: bool = False, max_age_s: Optional[float] = None,
            at: Optional[Version] = None) -> Read:
        """The newest value of a key, read in place.

        Linearizable: it reflects every write that was completed before; unless local, which is what
        this machine has, with its age.  at: instead the value as it was when the write of that
        version was visible.  Raises NotFound, Unavailable, Stale (older than max_age_s), Compacted
        (at is not kept any more), TooLarge, InvalidArgument.
        """
        name = _bytes(key)
        read = _Read(LOCAL if local else LINEARIZABLE, _nanoseconds(max_age_s, "max_age_s"))
        if at is not None:
            read.at = _Version(at.log, _lsn(at))
        capacity = _CAPACITY_ONE
        while True:
            buffer = ctypes.create_string_buffer(capacity)
            result = self._handle.call(self._library.dunlin_get, self._pointer, name, len(name),
                                       buffer, capacity, ctypes.byref(read))
            if result != -errno.ENOBUFS:
                break
            capacity = read.length
        answer = self._judge(result, buffer[:min(read.length, capacity)], read, name)
        if isinstance(answer, DunlinError):
            raise answer
        return answer

    def get_many(self, keys: Sequence[Text], *, local: bool = False,
                 max_age_s: Optional[float] = None) -> List[Union[Read, DunlinError]]:
        """The newest values of many keys, in their order, cheaper than one by one.

        Where get() would raise for a key, its place holds the exception.  Raises InvalidArgument
        and TooLarge for what cannot be a key; then nothing was read.
        """
        names = [_bytes(key) for key in keys]
        for name in names:
            if not name or len(name) > KEY_MAX:
                raise self._fail(-errno.EMSGSIZE if name else -errno.EINVAL, "get", name)
        asked = _Read(LOCAL if local else LINEARIZABLE, _nanoseconds(max_age_s, "max_age_s"))
        answers: List[Any] = [None] * len(names)
        left = [(at, _CAPACITY_MANY) for at in range(len(names))]
        while left:
            left = self._get_round(names, left, asked, answers)
        return answers

    def _get_round(self, names: List[bytes], left: List[Tuple[int, int]], asked: Any,
                   answers: List[Any]) -> List[Tuple[int, int]]:
        """Read what is left, given as index and capacity; returns what needs more capacity."""
        entries = (_GetEntry * len(left))()
        buffers = []
        for entry, (at, capacity) in zip(entries, left):
            buffer = ctypes.create_string_buffer(capacity)
            buffers.append(buffer)
            entry.key = names[at]
            entry.key_length = len(names[at])
            entry.buffer = ctypes.addressof(buffer)
            entry.capacity = capacity
            entry.read = asked
        result = self._handle.call(self._library.dunlin_get_many, self._pointer, entries, len(left))
        if result != 0:
            raise _error(result, f"get of {len(left)} keys in {self.name}")
        more = []
        for entry, buffer, (at, capacity) in zip(entries, buffers, left):
            length = entry.read.length
            if entry.result == -errno.ENOBUFS:
                more.append((at, length))
            else:
                value = buffer[:min(length, capacity)]
                answers[at] = self._judge(entry.result, value, entry.read, names[at])
        return more

    def scan(self, prefix: Text = b"", *, after: Optional[Text] = None, local: bool = False,
             max_age_s: Optional[float] = None) -> Iterator[Tuple[bytes, Read]]:
        """The keys that begin with prefix, in the order of their bytes, each with its value; only those
        behind after, if that is given.

        Read as it is iterated, in place.  Linearizable: reflects every write that was completed before
        the first; unless local.  No snapshot: what is written meanwhile may be seen or not.  Raises
        Unavailable, Stale, TooLarge, and NodeAlone where the space keeps no order.
        """
        begin, behind = _bytes(prefix), _bytes(after) if after is not None else b""
        options = _ScanOptions(begin, len(begin), behind, len(behind), LOCAL if local else LINEARIZABLE,
                               _nanoseconds(max_age_s, "max_age_s"), 0)
        scan = ctypes.c_void_p()
        result = self._handle.call(self._library.dunlin_scan_open, self._pointer,
                                   ctypes.byref(options), ctypes.byref(scan))
        if result != 0:
            raise self._fail(result, "scan", begin)
        return self._scan_on(scan, begin)

    def _scan_on(self, scan: Any, begin: bytes) -> Iterator[Tuple[bytes, Read]]:
        entry = _ScanEntry()
        try:
            while True:
                result = self._handle.call(self._library.dunlin_scan_next, scan, ctypes.byref(entry))
                if result == -errno.ENOENT:
                    return
                if result != 0:
                    raise self._fail(result, "scan", begin)
                yield (ctypes.string_at(entry.key, entry.key_length),
                       _read_of(ctypes.string_at(entry.value, entry.value_length), entry))
        finally:
            self._library.dunlin_scan_close(scan)

    def watch(self, prefix: Optional[Text] = None, *, pattern: Optional[Text] = None,
              start: str = "now") -> Watch:
        """What is committed from now on, as an iterator of Event; with start="oldest" from the oldest
        that is kept, else from a position or a version on, both as text.

        Of keys that begin with prefix, or that pattern matches ("/" separates levels, a level "*" is
        any one, a last level ">" the rest), or of all.  Raises NotFound, TooLarge, InvalidArgument.
        """
        return Watch(self, prefix, pattern, start)

    # ---- writing ----
    # All of them wait until the write is committed, and return its version.

    def put(self, key: Text, value: Text, *, ttl_s: Optional[float] = None,
            retry: Optional[WriteId] = None) -> Version:
        """Write.  ttl_s: the value goes by itself after that (1 ms to ten years).  retry: repeat the
        write of that name, which is applied at most once.

        Raises Unavailable, FateUnknown, AccessDenied, QuotaExceeded, LimitReached, TooLarge,
        InvalidArgument, as all writes do.
        """
        return self._write("put", _bytes(key), _bytes(value), None, retry, ttl_s)

    def put_if(self, key: Text, value: Text, expected: Union[Version, int], *,
               ttl_s: Optional[float] = None, retry: Optional[WriteId] = None) -> Version:
        """Write, as put(), only if the newest version is the one expected (ABSENT: the key must not exist).

        Raises Conflict with the version that stands there instead; else as put().
        """
        return self._write("put", _bytes(key), _bytes(value), _lsn(expected), retry, ttl_s)

    def delete(self, key: Text, *, retry: Optional[WriteId] = None) -> Version:
        """Delete; raises NotFound if there was nothing, else as put()."""
        return self._write("delete", _bytes(key), None, None, retry)

    def delete_if(self, key: Text, expected: Union[Version, int], *,
                  retry: Optional[WriteId] = None) -> Version:
        """Delete only if the newest version is the one expected.

        Raises Conflict with the version that stands there instead, NotFound; else as put().
        """
        return self._write("delete", _bytes(key), None, _lsn(expected), retry)

    def lease(self, key: Text, ttl_s: float, owner: Text, *, region: Optional[str] = None) -> Lease:
        """Hold a key that nobody holds, as owner (1 to 64 bytes), for ttl_s, and as long as it is
        renewed.  Meanwhile the key's value is the owner's name, and no other write of it is done.
        region: the lease that this zone, like Attachment.zone(), has of the key for itself.

        Raises Conflict if it is held, also under this owner's name; else as put().
        """
        return Lease(self, _key_of(key, region), ttl_s, _bytes(owner))

    def holder(self, key: Text, *, region: Optional[str] = None) -> Holder:
        """Who holds a lease, or that of a region; raises NotFound if nobody does, else as get()."""
        name, lease = _key_of(key, region), _Lease()
        result = self._handle.call(self._library.dunlin_lease_show, self._pointer, name, len(name),
                                   ctypes.byref(lease))
        if result != 0:
            raise self._fail(result, "lease", name)
        version = Version(lease.version.log, lease.version.lsn)
        return Holder(lease.owner.decode(errors="backslashreplace"), lease.token,
                      lease.ttl_ns / 1e9, version)

    def increment(self, key: Text, by: int = 1, *, retry: Optional[WriteId] = None) -> Sum:
        """Add to the number that the key holds as text; a key that is not there counts as 0.

        Raises NotANumber, OutOfRange; else as put().
        """
        name, version, value = _bytes(key), _Version(), ctypes.c_int64()
        answers = ctypes.byref(value), ctypes.byref(version)
        if retry is None:
            result, written = self._handle.write(self._library.dunlin_increment, self._pointer, name,
                                                 len(name), _delta(by), *answers)
        else:
            written = _name_of(retry)
            write = _write_of(Increment(name, by))
            result = self._handle.call(self._library.dunlin_retry_increment, self._pointer,
                                       ctypes.byref(written), ctypes.byref(write), *answers)
        if result != 0:
            raise self._told(self._fail(result, "increment", name), version, written)
        return Sum(value.value, Version(version.log, version.lsn))

    def transaction(self, conditions: Sequence[If] = (), then: Sequence[Any] = (),
                    otherwise: Sequence[Any] = (), *, retry: Optional[WriteId] = None) -> Done:
        """If every condition holds, do then, else otherwise: all of it or nothing, at most once.

        then and otherwise hold Put, Delete and Increment, of different keys; all keys belong to one
        shard.  Raises Conflict if a condition does not hold and otherwise is empty, with the version
        that stands there; SeveralShards, NotANumber, OutOfRange; else as put().
        """
        asked = (_Condition * len(conditions))(*map(_condition_of, conditions))
        branches = [(_Write * len(parts))(*map(_write_of, parts)) for parts in (then, otherwise)]
        whole = _Transaction(ctypes.addressof(asked), len(conditions),
                             ctypes.addressof(branches[0]), len(then),
                             ctypes.addressof(branches[1]), len(otherwise))
        made = _TransactionResult()
        answers = ctypes.byref(whole), ctypes.byref(made)
        if retry is None:
            result, written = self._handle.write(self._library.dunlin_transaction, self._pointer,
                                                 *answers)
        else:
            written = _name_of(retry)
            result = self._handle.call(self._library.dunlin_retry_transaction, self._pointer,
                                       ctypes.byref(written), *answers)
        if result != 0:
            raise self._told(_error(result, f"transaction in {self.name}"), made.version, written)
        return Done(made.branch == 1, Version(made.version.log, made.version.lsn))

    @staticmethod
    def _told(error: DunlinError, version: Any, written: Any) -> DunlinError:
        """The error of a write, with what is known beside it."""
        if isinstance(error, Conflict):
            error.version = Version(version.log, version.lsn)
        if isinstance(error, FateUnknown) and written.sequence != 0:
            error.write = WriteId(bytes(written.session), written.shard, written.sequence)
        return error

    def _write(self, what: str, key: bytes, value: Optional[bytes], expected_lsn: Optional[int],
               retry: Optional[WriteId], ttl_s: Optional[float] = None) -> Version:
        version = _Version()
        if retry is not None or ttl_s is not None:
            result, written = self._repeat(key, value, expected_lsn, retry, version, ttl_s)
        else:
            suffix = "" if expected_lsn is None else "_if"
            function = getattr(self._library, f"dunlin_{what}{suffix}")
            arguments: List[Any] = [key, len(key)]
            arguments += [] if value is None else [value, len(value)]
            arguments += [] if expected_lsn is None else [expected_lsn]
            result, written = self._handle.write(function, self._pointer, *arguments,
                                                 ctypes.byref(version))
        if result == 0:
            return Version(version.log, version.lsn)
        raise self._told(self._fail(result, what, key), version, written)

    def _repeat(self, key: bytes, value: Optional[bytes], expected_lsn: Optional[int],
                retry: Optional[WriteId], version: Any,
                ttl_s: Optional[float]) -> Tuple[int, Any]:
        write = _Write(DELETE if value is None else PUT, key, len(key), value, len(value or b""),
                       expected_lsn is not None, expected_lsn or 0,
                       ttl_ns=_nanoseconds(ttl_s, "ttl_s"))
        if retry is None:
            return self._handle.write(self._library.dunlin_apply, self._pointer,
                                      ctypes.byref(write), ctypes.byref(version))
        name = _name_of(retry)
        result = self._handle.call(self._library.dunlin_retry, self._pointer, ctypes.byref(name),
                                   ctypes.byref(write), ctypes.byref(version))
        return result, name


class Lease:
    """A lease that is held; a context manager that gives it up at the end.  Space.lease() makes it.

    token   only grows from owner to owner: hand it on with all that is done under the lease, as the
            token of an If in a transaction or to another system's fence
    """

    def __init__(self, space: Space, key: bytes, ttl_s: float, owner: bytes) -> None:
        """As Space.lease()."""
        self.space = space
        self.key = key
        self._lease = _Lease()
        self._ask("dunlin_lease_acquire", _c_string(owner), _nanoseconds(ttl_s, "ttl_s"))

    @property
    def token(self) -> int:
        return self._lease.token

    @property
    def version(self) -> Version:
        """Of the last renewal."""
        return Version(self._lease.version.log, self._lease.version.lsn)

    @property
    def left_s(self) -> float:
        """For how long it is certainly still held; 0: perhaps no more.  Look before what must not be
        done without it, and have what is done look at the token all the same."""
        now = time.clock_gettime_ns(time.CLOCK_BOOTTIME)
        return max(0, self._lease.deadline_ns - now) / 1e9

    def renew(self, ttl_s: float) -> None:
        """Hold it on for ttl_s from now; raises Conflict if it is not held any more, else as put()."""
        self._ask("dunlin_lease_renew", _nanoseconds(ttl_s, "ttl_s"))

    def release(self) -> None:
        """Give it up; raises Conflict if it is not held any more, else as put()."""
        version = _Version()
        self._call("dunlin_lease_release", version, self.token)
        self._lease.deadline_ns = 0

    def _ask(self, name: str, *arguments: Any) -> None:
        self._call(name, self._lease, *arguments)

    def _call(self, name: str, answer: Any, *arguments: Any) -> None:
        space = self.space
        result, written = space._handle.write(
            getattr(space._library, name), space._pointer, self.key, len(self.key), *arguments,
            ctypes.byref(answer))
        if result == 0:
            return
        version = answer if isinstance(answer, _Version) else answer.version
        raise space._told(space._fail(result, "lease", self.key), version, written)

    def __enter__(self) -> Lease:
        return self

    def __exit__(self, *_: Any) -> None:
        try:
            self.release()
        except Conflict:
            pass  # it was lost, which its owner sees by left_s


_EVENT_KINDS = {1: "put", 2: "delete", 3: "expire"}


class Watch:
    """Events of a space, in the order of each shard's log.  Space.watch() makes it; an iterator, and a
    context manager that closes it at the end."""

    def __init__(self, space: Space, prefix: Optional[Text], pattern: Optional[Text],
                 start: str) -> None:
        """As Space.watch()."""
        self.space = space  # keeps it open
        self._handle = space._handle
        self._library = space._library
        self._pointer = ctypes.c_void_p()
        options = _WatchOptions()
        for name, text in (("prefix", prefix), ("pattern", pattern)):
            if text is not None:
                setattr(options, name, _bytes(text))
                setattr(options, name + "_length", len(_bytes(text)))
        setattr(options, "from", _c_string(_bytes(start)))
        result = self._handle.call(self._library.dunlin_watch_open, space._pointer,
                                   ctypes.byref(options), ctypes.byref(self._pointer))
        if result != 0:
            raise _error(result, f"watch {space.name}")

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __iter__(self) -> Watch:
        return self

    def __next__(self) -> Event:
        event = None
        while event is None:
            event = self.next()
        return event

    def close(self) -> None:
        """Free it.  Twice is no error."""
        pointer, self._pointer = self._pointer, ctypes.c_void_p()
        if pointer:
            self._handle.call(self._library.dunlin_watch_close, pointer)

    def next(self, timeout_s: float = 1.0) -> Optional[Event]:
        """The next event, or None when the time is up.  Raises Lagged, NotFound, Closed."""
        if not self._pointer:
            raise Closed("this watch is closed")
        event = _Event()
        count = self._handle.call(self._library.dunlin_watch_next, self._pointer,
                                  ctypes.byref(event), 1, _nanoseconds(timeout_s, "timeout_s"))
        if count == -errno.ENODATA:
            raise self._lagged()
        if count == 0 or count == -errno.ENOTCONN:
            return None  # it goes on when the daemon is back
        if count < 0:
            raise _error(count, f"watch {self.space.name}")
        return self._event_of(event)

    def _lagged(self) -> Lagged:
        missed = _u64()
        self._handle.call(self._library.dunlin_watch_lagged, self._pointer, None,
                          ctypes.byref(missed))
        lagged = Lagged(f"watch {self.space.name}: {missed.value} bytes of the log are gone")
        lagged.errno = errno.ENODATA
        lagged.missed_bytes = missed.value
        return lagged

    @staticmethod
    def _event_of(event: Any) -> Event:
        value = ctypes.string_at(event.value, event.value_length) if event.value else None
        return Event(_EVENT_KINDS[event.kind], ctypes.string_at(event.key, event.key_length), value,
                     Version(event.version.log, event.version.lsn), bool(event.last),
                     event.clock_ns / 1e9)

    @property
    def position(self) -> str:
        """Where a watch would go on that is opened with it as start, also in another program and at
        another node: behind the last event given out."""
        buffer = ctypes.create_string_buffer(64 << 10)
        result = self._handle.call(self._library.dunlin_watch_position, self._pointer, buffer,
                                   len(buffer))
        if result < 0:
            raise _error(result, f"position of a watch of {self.space.name}")
        return buffer.value.decode()
