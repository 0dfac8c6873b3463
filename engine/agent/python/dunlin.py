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
import weakref
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Sequence, Tuple, Type, Union

__all__ = [
    "ABSENT", "AccessDenied", "Attachment", "Closed", "Conflict", "DunlinError", "FateUnknown",
    "Info", "InvalidArgument", "LibraryNotFound", "LimitReached", "NodeAlone", "NotFound",
    "ProtocolMismatch", "QuotaExceeded", "Read", "Space", "Stale", "SystemFailure", "TooLarge", "Unavailable",
    "Version", "WriteId", "attach",
]

Text = Union[str, bytes]

KEY_MAX = 512

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


class AccessDenied(DunlinError):
    """The access list of the space or the mode of the socket does not let you.  Ask who runs it."""


class QuotaExceeded(DunlinError):
    """The shard is full of live data.  Delete, or raise the quota of the space."""


class LimitReached(DunlinError):
    """The shard holds as many sessions as it may, or the daemon as many agents.  Try later."""


class NodeAlone(DunlinError):
    """Asked of a cluster, and the daemon's node is alone.  Ask a node of the cluster."""


class TooLarge(DunlinError):
    """Key or value is above the limit of the space.  Send less, or split it."""


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
    errno.ENOTCONN: (Unavailable, "unavailable: no daemon, no lease, or not led by this node"),
    errno.EOWNERDEAD: (FateUnknown, "fate unknown: repeat it under its name, or read first"),
    errno.ESTALE: (Stale, "older than asked"),
    errno.EACCES: (AccessDenied, "refused by the access list or the mode of the socket"),
    errno.EDQUOT: (QuotaExceeded, "the shard is full of live data"),
    errno.EUSERS: (LimitReached, "too many sessions or agents"),
    errno.EMSGSIZE: (TooLarge, "key or value above the limit"),
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
    "dunlin_read", mode=_int, max_age_ns=_u64, length=_size, version=_Version, epoch=_u64,
    age_ns=_u64, stale=_int)
_GetEntry = _structure(
    "dunlin_get_entry", key=_string, key_length=_size, buffer=_address, capacity=_size, result=_int,
    read=_Read)
_Write = _structure(
    "dunlin_write", operation=_int, key=_string, key_length=_size, value=_string,
    value_length=_size, compare=_int, expected_lsn=_u64, context=_u64)
_WriteId = _structure(
    "dunlin_write_id", session=ctypes.c_uint8 * 16, shard=_u32, reserved=_u32, sequence=_u64)
_Info = _structure(
    "dunlin_info", start=_u64, node_id=_u32, lcores=_u32, lease_ns=_u64, attached_count=_u64,
    reads_in_place=_u64, reads_by_ring=_u64, reads_retried=_u64, ended_not_led=_u64)

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
    "dunlin_last_write": (_int, _address, _to(_WriteId)),
    "dunlin_retry": (_int, _address, _to(_WriteId), _to(_Write), _to(_Version)),
    "dunlin_info": (None, _address, _to(_Info)),
    "dunlin_status_json": (ctypes.c_int64, _address, _string, _size),
    "dunlin_ping": (_int, _address, _u32),
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
                    info.reads_in_place, info.reads_by_ring, info.reads_retried, info.ended_not_led)

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
        return error

    # ---- reading ----

    def get(self, key: Text, *, local: bool = False, max_age_s: Optional[float] = None) -> Read:
        """The newest value of a key, read in place.

        Linearizable: it reflects every write that was completed before; unless local, which is what
        this machine has, with its age.  Raises NotFound, Unavailable, Stale (older than max_age_s),
        TooLarge, InvalidArgument.
        """
        name = _bytes(key)
        read = _Read(LOCAL if local else LINEARIZABLE, _nanoseconds(max_age_s, "max_age_s"))
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

    # ---- writing ----
    # All of them wait until the write is committed, and return its version.

    def put(self, key: Text, value: Text, *, retry: Optional[WriteId] = None) -> Version:
        """Write.  retry: repeat the write of that name, which is applied at most once.

        Raises Unavailable, FateUnknown, AccessDenied, QuotaExceeded, LimitReached, TooLarge,
        InvalidArgument, as all writes do.
        """
        return self._write("put", _bytes(key), _bytes(value), None, retry)

    def put_if(self, key: Text, value: Text, expected: Union[Version, int], *,
               retry: Optional[WriteId] = None) -> Version:
        """Write only if the newest version is the one expected (ABSENT: the key must not exist).

        Raises Conflict with the version that stands there instead; else as put().
        """
        return self._write("put", _bytes(key), _bytes(value), _lsn(expected), retry)

    def delete(self, key: Text, *, retry: Optional[WriteId] = None) -> Version:
        """Delete; raises NotFound if there was nothing, else as put()."""
        return self._write("delete", _bytes(key), None, None, retry)

    def delete_if(self, key: Text, expected: Union[Version, int], *,
                  retry: Optional[WriteId] = None) -> Version:
        """Delete only if the newest version is the one expected.

        Raises Conflict with the version that stands there instead, NotFound; else as put().
        """
        return self._write("delete", _bytes(key), None, _lsn(expected), retry)

    def _write(self, what: str, key: bytes, value: Optional[bytes], expected_lsn: Optional[int],
               retry: Optional[WriteId]) -> Version:
        version = _Version()
        if retry is not None:
            result, written = self._repeat(key, value, expected_lsn, retry, version)
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
        error = self._fail(result, what, key)
        if isinstance(error, Conflict):
            error.version = Version(version.log, version.lsn)
        if isinstance(error, FateUnknown) and written.sequence != 0:
            error.write = WriteId(bytes(written.session), written.shard, written.sequence)
        raise error

    def _repeat(self, key: bytes, value: Optional[bytes], expected_lsn: Optional[int],
                retry: WriteId, version: Any) -> Tuple[int, Any]:
        if len(retry.session) != 16:
            raise InvalidArgument(f"{retry!r}: a session has 16 bytes")
        name = _WriteId((ctypes.c_uint8 * 16)(*retry.session), retry.shard, 0, retry.sequence)
        write = _Write(DELETE if value is None else PUT, key, len(key), value, len(value or b""),
                       expected_lsn is not None, expected_lsn or 0)
        result = self._handle.call(self._library.dunlin_retry, self._pointer, ctypes.byref(name),
                                   ctypes.byref(write), ctypes.byref(version))
        return result, name
