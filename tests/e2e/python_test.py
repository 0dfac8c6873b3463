"""The Python module against a daemon, and against dunlin.h; python.sh runs it.

It needs the environment that python.sh sets: DUNLIN_TEST_DUNLIND (the program), DUNLIN_TEST_SCRATCH
(an empty directory), DUNLIN_LIBRARY, PYTHONPATH.
"""

import ctypes
import errno
import math
import os
import pathlib
import pickle
import re
import signal
import subprocess
import tempfile
import threading
import time
import unittest
from unittest import mock

import dunlin

DUNLIND = os.environ["DUNLIN_TEST_DUNLIND"]
SCRATCH = pathlib.Path(os.environ["DUNLIN_TEST_SCRATCH"])
HEADER = pathlib.Path(__file__).resolve().parents[2] / "engine/agent/dunlin.h"
PATIENCE_S = 30

SPACES = """spaces:
  - {name: one, id: 1, shards: 4, quota: 16MiB}
  - {name: big, id: 2, shards: 1, quota: 64MiB}
  - {name: small, id: 3, shards: 1, quota: 4MiB}
"""


class Daemon:
    """A `dunlind dev` of one node, in a directory of its own."""

    def __init__(self, name):
        self.directory = SCRATCH / name
        self.socket = self.directory / "node1.sock"
        self.spaces = SCRATCH / f"{name}.yaml"
        self.spaces.write_text(SPACES)
        self.process = None

    def start(self):
        # Why setpriv: should this process be killed, nobody else would end the daemon.
        command = ["setpriv", "--pdeathsig", "KILL", DUNLIND, "dev", "--nodes", "1",
                   "--dir", str(self.directory), "--spaces", str(self.spaces)]
        with open(SCRATCH / "dunlind.log", "ab") as log:
            self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
        for line in self.process.stdout:
            if line == b"ready\n":
                return
        raise RuntimeError(f"dunlind does not start: status {self.process.wait()}")

    def signal(self, number):
        self.process.send_signal(number)

    def kill(self):
        self.signal(signal.SIGCONT)
        self.signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()


class WithDaemon(unittest.TestCase):
    """Tests of one class share a daemon; each has keys of its own."""

    @classmethod
    def setUpClass(cls):
        cls.daemon = Daemon(cls.__name__)
        cls.daemon.start()
        cls.addClassCleanup(cls.daemon.kill)

    def attach(self, **options):
        node = dunlin.attach(self.daemon.socket, **options)
        self.addCleanup(node.close)
        return node

    def until(self, holds):
        """Asks again until it holds; PATIENCE_S is only how long a broken one is waited for."""
        deadline_s = time.monotonic() + PATIENCE_S
        while not holds():
            self.assertLess(time.monotonic(), deadline_s, "it never held")
            time.sleep(0.002)


class OneNode(WithDaemon):
    def setUp(self):
        self.node = self.attach(timeout_s=PATIENCE_S)
        self.space = self.node.space("one")
        self.key = self.id()

    def test_absent(self):
        for local in False, True:
            with self.assertRaises(dunlin.NotFound) as caught:
                self.space.get(self.key, local=local)
            self.assertEqual(caught.exception.errno, errno.ENOENT)
            self.assertIn("one", str(caught.exception))
        with self.assertRaises(dunlin.NotFound):
            self.space.delete(self.key)

    def test_get_at_a_version(self):
        first = self.space.put(self.key, "first")
        second = self.space.put(self.key, "second")
        read = self.space.get(self.key, at=second)
        self.assertEqual((read.text, read.version), ("second", second))
        with self.assertRaises(dunlin.Compacted) as caught:  # the space keeps one version
            self.space.get(self.key, at=first)
        self.assertEqual(caught.exception.errno, errno.ENODATA)
        self.assertEqual(caught.exception.oldest, second)
        with self.assertRaises(dunlin.Compacted) as caught:
            self.space.get(self.key, at=dunlin.Version(second.log + 99, second.lsn))
        self.assertIsNone(caught.exception.oldest)

    def test_put_and_get(self):
        version = self.space.put(self.key, "first")
        read = self.space.get(self.key)
        self.assertEqual((read.value, read.text, read.version), (b"first", "first", version))
        self.assertFalse(read.stale)
        self.assertGreater(self.space.put(self.key, b"second").lsn, version.lsn)
        self.assertEqual(self.space.get(self.key, local=True).value, b"second")
        # Why again: an agent that was answered too late to compare the clocks knows no age.
        self.until(lambda: not self.stale(
            lambda: self.space.get(self.key, local=True, max_age_s=1e6)))
        self.assertEqual(self.space.get(self.key, local=True, max_age_s=1e6).value, b"second")

    def stale(self, call):
        try:
            call()
            return False
        except dunlin.Stale:
            return True

    def test_bytes_of_all_kinds(self):
        every = bytes(range(256))
        self.space.put(every, every)
        self.assertEqual(self.space.get(every).value, every)
        self.space.put(bytearray(b"array"), memoryview(b"\0\xff"))
        self.assertEqual(self.space.get("array").value, b"\0\xff")
        self.space.put("möwe", "flügge")
        self.assertEqual(self.space.get("möwe".encode()).text, "flügge")
        self.space.put(self.key, "")
        self.assertEqual(self.space.get(self.key).value, b"")

    def test_sizes(self):
        big = self.node.space("big")
        for length in 1, 511, 512, 513, 4095, 4096, 4097, 65536, 300000:
            value = os.urandom(length)
            big.put(self.key, value)
            self.assertEqual(big.get(self.key).value, value)
        self.space.put(b"k" * dunlin.KEY_MAX, "longest")
        self.assertEqual(self.space.get(b"k" * dunlin.KEY_MAX).text, "longest")

    def test_refused(self):
        with self.assertRaises(dunlin.TooLarge):
            self.space.put(self.key, bytes(3 << 20))
        for key, wanted in ("", dunlin.InvalidArgument), ("k" * 513, dunlin.TooLarge):
            for call in (self.space.get, self.space.delete, lambda key: self.space.put(key, "v"),
                         lambda key: self.space.get_many([self.key, key])):
                self.assertRaises(wanted, call, key)
        for key in 3, None, ["k"]:
            self.assertRaises(TypeError, self.space.get, key)
        for expected in -1, 2**64:
            self.assertRaises(dunlin.InvalidArgument, self.space.put_if, self.key, "v", expected)
        for age_s in -1, math.nan, math.inf:
            self.assertRaises(dunlin.InvalidArgument, self.space.get, self.key, max_age_s=age_s)
        self.assertRaises(dunlin.NotFound, self.space.get, self.key)

    def test_compare_and_set(self):
        first = self.space.put_if(self.key, "first", dunlin.ABSENT)
        with self.assertRaises(dunlin.Conflict) as caught:
            self.space.put_if(self.key, "second", dunlin.ABSENT)
        self.assertEqual(caught.exception.version, first)
        second = self.space.put_if(self.key, "second", caught.exception.version)
        with self.assertRaises(dunlin.Conflict) as caught:
            self.space.put_if(self.key, "third", first.lsn)
        self.assertEqual(caught.exception.version, second)
        self.assertEqual(self.space.get(self.key).text, "second")

    def test_delete(self):
        first = self.space.put(self.key, "first")
        second = self.space.put(self.key, "second")
        self.assertRaises(dunlin.Conflict, self.space.delete_if, self.key, first)
        self.assertGreater(self.space.delete_if(self.key, second).lsn, second.lsn)
        self.assertRaises(dunlin.NotFound, self.space.get, self.key)
        self.space.put(self.key, "third")
        self.space.delete(self.key)
        self.assertRaises(dunlin.NotFound, self.space.get, self.key)

    def test_increment(self):
        first = self.space.increment(self.key, 5)
        self.assertEqual(first.value, 5)
        self.assertEqual(self.space.increment(self.key).value, 6)
        self.assertEqual(self.space.increment(self.key, -10).value, -4)
        self.assertEqual(self.space.get(self.key).text, "-4")
        self.assertRaises(dunlin.OutOfRange, self.space.increment, self.key, -2**63)
        for by in 2**63, 1.5:
            self.assertRaises(dunlin.InvalidArgument, self.space.increment, self.key, by)
        self.space.put(self.key, "word")
        self.assertRaises(dunlin.NotANumber, self.space.increment, self.key)

    def test_ttl(self):
        self.space.put(self.key, "soon", ttl_s=0.1)
        version = self.space.put(self.key + "-cas", "soon", ttl_s=60)
        self.assertRaises(dunlin.Conflict, self.space.put_if, self.key + "-cas", "x",
                          dunlin.ABSENT, ttl_s=60)
        self.space.put_if(self.key + "-cas", "x", version, ttl_s=0.1)
        for key in self.key, self.key + "-cas":
            self.until_gone(key)
        self.space.put(self.key, "soon", ttl_s=0.1)
        self.space.put(self.key, "for ever")
        time.sleep(0.3)
        self.assertEqual(self.space.get(self.key).text, "for ever")
        for ttl_s in 0, 1e-6, 4e8, -1:
            self.assertRaises(dunlin.InvalidArgument, self.space.put, self.key, "x", ttl_s=ttl_s)

    def until_gone(self, key):
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            try:
                self.space.get(key)
            except dunlin.NotFound:
                return
            time.sleep(0.02)
        self.fail(f"{key} does not go")

    def test_lease(self):
        self.assertRaises(dunlin.NotFound, self.space.holder, self.key)
        with self.space.lease(self.key, 60, "ann") as lease:
            self.assertEqual(self.space.get(self.key).text, "ann")
            self.assertEqual(self.space.holder(self.key),
                             ("ann", lease.token, 60, lease.version))
            self.assertTrue(50 < lease.left_s < 59.95)
            with self.assertRaises(dunlin.Conflict) as caught:
                self.space.lease(self.key, 60, "bob")
            self.assertEqual(caught.exception.version, lease.version)
            self.assertRaises(dunlin.Conflict, self.space.put, self.key, "x")
            token, version = lease.token, lease.version
            lease.renew(50)
            self.assertEqual(lease.token, token)
            self.assertGreater(lease.version.lsn, version.lsn)
            self.assertLess(lease.left_s, 50)
        self.assertRaises(dunlin.NotFound, self.space.holder, self.key)
        self.assertRaises(dunlin.Conflict, lease.renew, 60)
        self.assertEqual(lease.left_s, 0)
        self.assertGreater(self.space.lease(self.key, 0.1, "bob").token, token)
        self.until_gone(self.key)
        for owner in "", "o" * 65, "a\0b":
            self.assertRaises(dunlin.InvalidArgument, self.space.lease, self.key, 60, owner)

    def test_lease_of_a_region(self):
        self.assertEqual(dunlin.region_key("pad", "eu"), b"pad\0region\0eu")
        self.assertEqual(dunlin.region_key("pad", None), b"pad\0region\0")
        with self.space.lease(self.key, 60, "ann") as whole, \
                self.space.lease(self.key, 60, "bob", region="eu") as eu, \
                self.space.lease(self.key, 60, "cid", region="us") as us:
            self.assertNotEqual(eu.token, us.token)
            self.assertEqual(self.space.holder(self.key).token, whole.token)
            self.assertEqual(self.space.holder(self.key, region="eu").owner, "bob")
            self.assertEqual(self.space.holder(self.key, region="us").token, us.token)
            self.assertRaises(dunlin.Conflict, self.space.lease, self.key, 60, "dan", region="eu")
            self.assertRaises(dunlin.NotFound, self.space.holder, self.key, region="asia")
        self.assertRaises(dunlin.NotFound, self.space.holder, self.key, region="eu")
        self.assertRaises(dunlin.InvalidArgument, self.space.lease, self.key, 60, "ann", region="7")
        self.assertRaises(dunlin.InvalidArgument, self.space.lease, self.key, 60, "ann", region="a\0b")
        self.assertRaises(dunlin.TooLarge, dunlin.region_key, "x" * dunlin.KEY_MAX, "eu")
        self.assertEqual(self.node.zone(), "")

    def test_transaction(self):
        a, b = f"{{{self.key}}}a", f"{{{self.key}}}b"
        parts = dict(conditions=[dunlin.If(a, exists=False)],
                     then=[dunlin.Put(a, b"\0\xff"), dunlin.Increment(b, 1)],
                     otherwise=[dunlin.Delete(a), dunlin.Increment(b, 100)])
        self.assertTrue(self.space.transaction(**parts).succeeded)
        self.assertEqual(self.space.get(a).value, b"\0\xff")
        done = self.space.transaction(**parts)
        self.assertFalse(done.succeeded)
        self.assertEqual(self.space.get(b).version, done.version)
        self.assertEqual(self.space.get(b).text, "101")
        with self.assertRaises(dunlin.Conflict) as caught:
            self.space.transaction([dunlin.If(b, dunlin.ABSENT)], [dunlin.Put(a, "x")])
        self.assertEqual(caught.exception.version, done.version)
        self.assertTrue(self.space.transaction([dunlin.If(b, done.version)], []).succeeded)
        self.assertRaises(dunlin.Conflict, self.space.transaction, [dunlin.If(b, token=8)])
        with self.assertRaises(dunlin.SeveralShards):
            self.space.transaction(then=[dunlin.Put(f"{{{i}}}", "x") for i in range(40)])
        self.assertRaises(dunlin.InvalidArgument, self.space.transaction)
        self.assertRaises(dunlin.InvalidArgument, self.space.transaction, [dunlin.If(a)])
        self.assertRaises(TypeError, self.space.transaction, [], [a])
        name = dunlin._WriteId()
        self.space.transaction(**parts)
        library = dunlin._library()
        self.node._handle.call_with(lambda at: library.dunlin_last_write(at, ctypes.byref(name)))
        write = dunlin.WriteId(bytes(name.session), name.shard, name.sequence)
        self.assertTrue(self.space.transaction(**parts, retry=write).succeeded)
        self.assertEqual(self.space.get(b).text, "102")

    def test_get_many(self):
        wanted = {f"{self.key}-{i}": os.urandom(i * i) for i in range(200)}
        versions = {key: self.space.put(key, value) for key, value in wanted.items()}
        keys = [*wanted, f"{self.key}-absent", f"{self.key}-7"]
        for local in False, True:
            found = self.space.get_many(keys, local=local)
            self.assertEqual(len(found), len(keys))
            for key, read in zip(wanted, found):
                self.assertEqual((read.value, read.version), (wanted[key], versions[key]))
            self.assertIsInstance(found[200], dunlin.NotFound)
            self.assertEqual(found[201], found[7])
        self.assertEqual(self.space.get_many([]), [])

    def test_wrong_space(self):
        self.assertRaises(dunlin.NotFound, self.node.space, "nowhere")
        self.assertRaises(dunlin.InvalidArgument, self.node.space, "one\0")

    def test_quota(self):
        small = self.node.space("small")
        with self.assertRaises(dunlin.QuotaExceeded):
            for i in range(500):
                small.put(f"{i}", os.urandom(60000))
        self.assertEqual(len(small.get("0").value), 60000)

    def test_repeat_under_its_name(self):
        version = self.space.put(self.key, "value")
        # Why from inside: only a write of unknown fate tells its name, which no test can order.
        name = dunlin._WriteId()
        library = dunlin._library()
        result = self.node._handle.call_with(
            lambda at: library.dunlin_last_write(at, ctypes.byref(name)))
        self.assertEqual(result, 0)
        write = dunlin.WriteId(bytes(name.session), name.shard, name.sequence)
        self.assertEqual(self.space.put(self.key, "value", retry=write), version)
        self.assertEqual(self.attach().space("one").put(self.key, "value", retry=write), version)
        self.assertRegex(str(write), r"^[0-9a-f]{32}\.[0-3]:[0-9]+$")
        with self.assertRaises(dunlin.FateUnknown) as caught:
            self.space.put(self.key, "value", retry=write._replace(session=bytes(16)))
        self.assertEqual(caught.exception.write, write._replace(session=bytes(16)))
        with self.assertRaises(dunlin.InvalidArgument):
            self.space.put(self.key, "value", retry=write._replace(session=b"short"))

    def test_node(self):
        self.space.put(self.key, "value")
        before = self.node.info()
        self.space.get(self.key, local=True)
        info = self.node.info()
        self.assertEqual((info.node_id, info.attached_count), (1, 1))
        self.assertEqual(info.reads_in_place, before.reads_in_place + 1)
        self.assertGreater(info.lease_s, 0)
        self.assertEqual(self.node.status()["node"]["id"], 1)
        with mock.patch.object(dunlin, "_CAPACITY_STATUS", 16):
            self.assertEqual(self.node.status()["start"], info.start)
        self.node.ping()
        self.assertRaises(dunlin.InvalidArgument, self.node.ping, info.lcores)

    def test_closed(self):
        with dunlin.attach(self.daemon.socket) as node:
            space = node.space("one")
        for call in (node.info, node.status, node.ping, lambda: node.space("one"),
                     lambda: space.get("k"), lambda: space.get_many(["k"]),
                     lambda: space.put("k", "v"), lambda: space.delete("k")):
            self.assertRaises(dunlin.Closed, call)
        node.close()

    def test_space_keeps_its_attachment(self):
        space = dunlin.attach(self.daemon.socket).space("one")
        space.put(self.key, "value")
        self.assertEqual(space.get(self.key).text, "value")
        space.attachment.close()

    def test_call_within_a_call(self):
        handle = self.node._handle
        self.assertRaises(RuntimeError, handle.call_with, lambda _: self.space.get(self.key))
        self.assertRaises(RuntimeError, handle.call_with, lambda _: self.node.close())
        self.space.put(self.key, "still alive")

    def count(self, space, times):
        """Adds 1 that many times to the number under the key, by compare-and-set."""
        for _ in range(times):
            while True:
                try:
                    read = space.get(self.key)
                    space.put_if(self.key, str(int(read.text) + 1), read.version)
                    break
                except dunlin.Conflict:
                    pass

    def in_threads(self, work):
        faults = []

        def guarded():
            try:
                work()
            except BaseException as fault:
                faults.append(fault)

        threads = [threading.Thread(target=guarded) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(faults, [])

    def test_two_threads(self):
        def own():
            with dunlin.attach(self.daemon.socket, timeout_s=PATIENCE_S) as node:
                self.count(node.space("one"), 300)

        self.space.put(self.key, "0")
        self.in_threads(own)
        self.assertEqual(self.space.get(self.key).text, "600")
        self.in_threads(lambda: self.count(self.space, 300))
        self.assertEqual(self.space.get(self.key).text, "1200")

    def child(self):
        """What a child of fork sees, as a word."""
        try:
            self.space.get(self.key)
            return "reads by its parent's attachment"
        except dunlin.Closed:
            pass
        self.node.close()
        with dunlin.attach(self.daemon.socket) as node:
            node.space("one").put(self.key, "child")
        return "fine"

    def test_fork(self):
        self.space.put(self.key, "parent")
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            try:
                os.write(writer, self.child().encode())
            except BaseException as fault:
                os.write(writer, repr(fault).encode())
            finally:
                os._exit(0)
        os.close(writer)
        os.waitpid(pid, 0)
        with open(reader, "rb") as said:
            self.assertEqual(said.read(), b"fine")
        self.assertEqual(self.space.get(self.key).text, "child")
        self.space.put(self.key, "parent again")


class DaemonLost(WithDaemon):
    def test_killed_and_restarted(self):
        node = self.attach(timeout_s=PATIENCE_S)
        hasty = self.attach(timeout_s=1)
        space, hasty_space = node.space("one"), hasty.space("one")
        before = space.put("key", "value")
        self.until(lambda: not self.unavailable(lambda: hasty_space.get("key")))
        info = node.info()
        self.daemon.kill()

        self.until(lambda: hasty_space.get("key", local=True).stale)
        read = hasty_space.get("key", local=True)
        self.assertEqual((read.value, read.version), (b"value", before))
        self.assertGreater(read.age_s, 0)
        with self.assertRaises(dunlin.Stale) as caught:
            hasty_space.get("key", local=True, max_age_s=0)
        self.assertEqual(caught.exception.read.value, b"value")
        found = hasty_space.get_many(["key"], local=True, max_age_s=0)[0]
        self.assertIsInstance(found, dunlin.Stale)
        self.assertEqual(found.read.value, b"value")
        self.until(lambda: self.unavailable(lambda: hasty_space.get("key")))
        self.assertTrue(self.unavailable(lambda: hasty_space.put("key", "later")))
        self.assertTrue(self.unavailable(lambda: hasty.space("big")))

        self.daemon.start()
        after = space.put_if("key", "again", dunlin.ABSENT)
        self.assertGreater(after.lsn, before.lsn)
        self.assertEqual(space.get("key").text, "again")
        self.assertEqual(node.info().attached_count, info.attached_count + 1)
        self.assertGreater(node.info().start, info.start)
        self.until(lambda: not self.unavailable(lambda: hasty_space.get("key")))
        self.assertEqual(hasty_space.get("key", local=True).text, "again")

    def unavailable(self, call):
        try:
            call()
            return False
        except dunlin.Unavailable:
            return True

    def test_fate_unknown(self):
        hasty = self.attach(timeout_s=1)
        space = hasty.space("one")
        # Why by chance: a daemon that is known to be frozen is sent nothing.
        for attempt in range(100):
            self.until(lambda: not self.unavailable(lambda: space.put("fate", "before")))
            self.daemon.signal(signal.SIGSTOP)
            try:
                space.put("fate", "value")
            except dunlin.FateUnknown as error:
                write = error.write
                break
            except dunlin.Unavailable:
                pass
            finally:
                self.daemon.signal(signal.SIGCONT)
        else:
            self.skipTest("the daemon never froze in the middle of a write")
        patient = self.attach(timeout_s=PATIENCE_S).space("one")
        version = patient.put("fate", "value", retry=write)
        self.assertEqual(patient.put("fate", "value", retry=write), version)
        self.assertEqual(patient.get("fate").version, version)


class Scanning(WithDaemon):
    def setUp(self):
        self.space = self.attach(timeout_s=PATIENCE_S).space("one")

    def test_keys_come_in_order(self):
        versions = {name: self.space.put("scan/" + name, "of " + name) for name in ("b", "c", "a")}
        found = list(self.space.scan("scan/"))
        self.assertEqual([key for key, _ in found], [b"scan/a", b"scan/b", b"scan/c"])
        self.assertEqual([read.text for _, read in found], ["of a", "of b", "of c"])
        self.assertEqual(found[1][1].version, versions["b"])
        self.assertEqual([key for key, _ in self.space.scan("scan/", after="scan/a", local=True)],
                         [b"scan/b", b"scan/c"])
        self.assertEqual(list(self.space.scan("scan/none")), [])
        for key, _ in self.space.scan():
            self.assertIsInstance(key, bytes)
            break


class Watching(WithDaemon):
    def setUp(self):
        self.space = self.attach(timeout_s=PATIENCE_S).space("one")

    def test_what_is_written_comes(self):
        with self.space.watch("watch/") as watch:
            put = self.space.put("watch/a", "1")
            self.space.put("elsewhere", "x")
            gone = self.space.delete("watch/a")
            first, second = next(watch), next(watch)
            self.assertEqual((first.kind, first.key, first.value, first.version, first.last),
                             ("put", b"watch/a", b"1", put, True))
            self.assertEqual((second.kind, second.value, second.version), ("delete", None, gone))
            self.assertGreater(first.time_s, 1e9)
            self.assertIsNone(watch.next(0.01))

    def test_a_position_goes_on(self):
        with self.space.watch(pattern="watch/*/x", start="oldest") as watch:
            for name in ("watch/1/x", "watch/2/y", "watch/3/x"):
                self.space.put(name, "v")
            seen = {next(watch).key}
            position = watch.position
        with self.space.watch(pattern="watch/*/x", start=position) as watch:
            seen.add(next(watch).key)
            self.assertIsNone(watch.next(0.01))
        self.assertEqual(seen, {b"watch/1/x", b"watch/3/x"})

    def test_what_cannot_be_is_refused(self):
        with self.assertRaises(dunlin.InvalidArgument):
            self.space.watch(pattern="a/>/b")
        with self.assertRaises(dunlin.InvalidArgument):
            self.space.watch(start="nowhere")
        watch = self.space.watch()
        watch.close()
        watch.close()
        with self.assertRaises(dunlin.Closed):
            watch.next()


class NoDaemon(unittest.TestCase):
    def test_nobody_there(self):
        for socket in SCRATCH / "nowhere.sock", str(SCRATCH / "nowhere.sock"):
            with self.assertRaises(dunlin.Unavailable) as caught:
                dunlin.attach(socket)
            self.assertIn("nowhere.sock", str(caught.exception))
        self.assertRaises(dunlin.Unavailable, dunlin.attach, SCRATCH / "nowhere.sock",
                          timeout_s=0.05, wait=True)

    def test_socket_of_the_environment(self):
        os.environ["DUNLIN_SOCKET"] = str(SCRATCH / "named.sock")
        self.addCleanup(os.environ.pop, "DUNLIN_SOCKET")
        with self.assertRaises(dunlin.Unavailable) as caught:
            dunlin.attach()
        self.assertIn("named.sock", str(caught.exception))
        daemon = Daemon("named")
        daemon.start()
        self.addCleanup(daemon.kill)
        os.environ["DUNLIN_SOCKET"] = str(daemon.socket)
        with dunlin.attach() as node:
            node.space("one").put("key", "value")

    def test_bad_arguments(self):
        self.assertRaises(dunlin.InvalidArgument, dunlin.attach, "s" * 200)
        self.assertRaises(dunlin.InvalidArgument, dunlin.attach, "a\0b")
        self.assertRaises(dunlin.InvalidArgument, dunlin.attach, timeout_s=-1)
        self.assertRaises(ValueError, dunlin.attach, timeout_s=-1)

    def test_no_library(self):
        for path in "/nowhere/libdunlin.so.0", "libc.so.6":
            os.environ["DUNLIN_LIBRARY"], before = path, os.environ["DUNLIN_LIBRARY"]
            dunlin._library.cache_clear()
            try:
                with self.assertRaises(dunlin.LibraryNotFound) as caught:
                    dunlin.attach()
                self.assertIn(path, str(caught.exception))
            finally:
                os.environ["DUNLIN_LIBRARY"] = before
                dunlin._library.cache_clear()

    def test_texts(self):
        version = dunlin.Version(65549, 2**64 - 1)
        self.assertEqual(dunlin.Version.parse(str(version)), version)
        for text in "", "1", "1.x", "1.2.3":
            self.assertRaises(ValueError, dunlin.Version.parse, text)
        # What crosses to another process keeps its details.
        conflict = dunlin._error(-errno.ECANCELED, "put")
        conflict.version = version
        copy = pickle.loads(pickle.dumps(conflict))
        self.assertEqual((type(copy), str(copy), copy.errno, copy.version),
                         (dunlin.Conflict, str(conflict), errno.ECANCELED, version))


# ---- dunlin.h ------------------------------------------------------------------------------------

# Not of this module: it has no views in place, and no asynchronous writes.
STRUCTURES_LEFT_OUT = {"dunlin_view", "dunlin_completion", "dunlin_policy"}
CONSTANTS = {"DUNLIN_KEY_MAX": dunlin.KEY_MAX, "DUNLIN_OPEN_WAIT": dunlin.OPEN_WAIT,
             "DUNLIN_LINEARIZABLE": dunlin.LINEARIZABLE, "DUNLIN_LOCAL": dunlin.LOCAL,
             "DUNLIN_PUT": dunlin.PUT, "DUNLIN_DELETE": dunlin.DELETE,
             "DUNLIN_INCREMENT": dunlin.INCREMENT, "DUNLIN_COMPARE_VERSION": dunlin.COMPARE_VERSION,
             "DUNLIN_COMPARE_EXISTS": dunlin.COMPARE_EXISTS,
             "DUNLIN_COMPARE_ABSENT": dunlin.COMPARE_ABSENT,
             "DUNLIN_COMPARE_TOKEN": dunlin.COMPARE_TOKEN}


def without_comments(header):
    return re.sub(r"/\*.*?\*/", " ", header, flags=re.S)


def structures_of(header):
    """Names of the fields of each public structure, in order."""
    found = re.findall(r"struct (dunlin_\w+) \{(.*?)\n?\};", without_comments(header), flags=re.S)
    return {name: re.findall(r"(\w+)(?:\[\d+\])?(?=[,;])", body) for name, body in found}


def functions_of(header):
    """The types of each public function, result first: 'void', 'pointer', or the name in C."""
    def kind(text):
        text = text.replace("const ", "").strip()
        if "*" in text:
            return "pointer"
        return "int" if text.startswith("enum ") else text.split()[0]

    text = re.sub(r"\s+", " ", without_comments(header)).replace("DUNLIN_MUST_USE ", "")
    found = re.findall(r"DUNLIN_API ([\w ]+?) ?(\w+)\(([^)]*)\);", text)
    return {name: [kind(result), *map(kind, arguments.split(","))]
            for result, name, arguments in found}


def kind_of(type_):
    """What a type of ctypes may be called there."""
    if type_ is None:
        return ("void",)
    if type_ in (ctypes.c_void_p, ctypes.c_char_p) or issubclass(type_, ctypes._Pointer):
        return ("pointer",)
    # Why two names for one: to ctypes both are c_ulong.
    names = {ctypes.c_int: ("int",), ctypes.c_int64: ("int64_t",), ctypes.c_uint32: ("uint32_t",),
             ctypes.c_uint64: ("uint64_t", "size_t")}
    return names[type_]


def measure(header_path, structures):
    """What the compiler says: sizes, offsets and constants by name."""
    lines = [f'#include "{header_path}"', "#include <stdio.h>", "int main(void) {"]
    for name, fields in structures.items():
        lines.append(f'printf("{name} %zu\\n", sizeof(struct {name}));')
        for field in fields:
            at = f"offsetof(struct {name}, {field}), sizeof(((struct {name} *)0)->{field})"
            lines.append(f'printf("{name}.{field} %zu %zu\\n", {at});')
    for name in CONSTANTS:
        lines.append(f'printf("{name} %lld\\n", (long long){name});')
    lines.append("return 0; }")
    with tempfile.TemporaryDirectory(dir=SCRATCH) as directory:
        program = os.path.join(directory, "layout")
        subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-xc", "-", "-o", program],
                       input="\n".join(lines).encode(), check=True)
        output = subprocess.run([program], check=True, stdout=subprocess.PIPE).stdout.decode()
    return {name: [int(n) for n in numbers]
            for name, *numbers in (line.split() for line in output.splitlines())}


def declared():
    """The same of what the module declares."""
    result = {name: [value] for name, value in CONSTANTS.items()}
    for name, structure in dunlin._STRUCTURES.items():
        result[name] = [ctypes.sizeof(structure)]
        for field, _ in structure._fields_:
            at = getattr(structure, field)
            result[f"{name}.{field}"] = [at.offset, at.size]
    return result


def header_faults(header):
    """Where the module and a text of dunlin.h disagree."""
    structures = structures_of(header)
    faults = sorted(set(structures) - STRUCTURES_LEFT_OUT ^ set(dunlin._STRUCTURES))
    mirrored = {name: structures.get(name, []) for name in dunlin._STRUCTURES}
    for name, fields in mirrored.items():
        if fields != [field for field, _ in dunlin._STRUCTURES[name]._fields_]:
            faults.append(f"fields of {name}: {fields}")
    with tempfile.NamedTemporaryFile("w", suffix=".h", dir=SCRATCH) as copy:
        copy.write(header)
        copy.flush()
        wanted, ours = measure(copy.name, mirrored), declared()
    faults += [f"{name}: {wanted.get(name)}, not {ours.get(name)}"
               for name in sorted({*wanted, *ours}) if wanted.get(name) != ours.get(name)]
    functions = functions_of(header)
    for name, types in dunlin._FUNCTIONS.items():
        kinds = functions.get(name, [])
        if len(kinds) != len(types) or any(c not in kind_of(t) for c, t in zip(kinds, types)):
            faults.append(f"types of {name}: {kinds}")
    return faults


class Header(unittest.TestCase):
    header = HEADER.read_text()

    def test_agrees(self):
        self.assertEqual(header_faults(self.header), [])

    def test_would_be_seen(self):
        changes = {
            "a wider field": ("uint32_t bulk_bytes;", "uint64_t bulk_bytes;"),
            "two fields swapped": ("uint64_t log;\n    uint64_t lsn;",
                                   "uint64_t lsn;\n    uint64_t log;"),
            "a field in the padding": ("int compare;", "int compare; int more;"),
            "a field at the end": ("int stale;", "int stale; int more;"),
            "a longer array": ("uint8_t session[16]", "uint8_t session[32]"),
            "another structure": ("struct dunlin_info {", "struct dunlin_more {\n    int a;\n};\n"
                                  "struct dunlin_info {"),
            "another constant": ("DUNLIN_LOCAL = 1", "DUNLIN_LOCAL = 2"),
            "another flag": ("DUNLIN_OPEN_WAIT 0x1u", "DUNLIN_OPEN_WAIT 0x2u"),
            "a narrower argument": ("uint64_t expected_lsn,", "uint32_t expected_lsn,"),
            "an argument more": ("uint32_t lcore);", "uint32_t lcore, int more);"),
            "another result": ("DUNLIN_MUST_USE int64_t dunlin_status_json",
                               "DUNLIN_MUST_USE int dunlin_status_json"),
            "a function gone": ("int dunlin_ping(", "int dunlin_pong("),
        }
        for what, (old, new) in changes.items():
            with self.subTest(what):
                self.assertIn(old, self.header)
                self.assertNotEqual(header_faults(self.header.replace(old, new)), [])

    def test_every_error_has_a_class(self):
        listed = self.header.split("*/")[0]
        named = set(re.findall(r"^ \*   -(E[A-Z]+) ", listed, flags=re.M))
        self.assertIn("ENOTCONN", named)
        # ENOBUFS and EAGAIN do not leave the module; EBUSY is of asynchronous writes, which only C has;
        # ENOMEM is the system's own answer.
        # By number: some have two names.
        self.assertEqual(set(dunlin._ERRORS),
                         {getattr(errno, name)
                          for name in named - {"ENOBUFS", "EAGAIN", "EBUSY", "ENOMEM"}})

    def test_every_error_says_what_to_do(self):
        for kind in dunlin.DunlinError.__subclasses__():
            self.assertIn(kind.__name__, dunlin.__all__)
            self.assertRegex(kind.__doc__, r"\. +\w+")


if __name__ == "__main__":
    unittest.main()
