"""The journal of a session: killed, cut, locked, full, of another kind."""

import contextlib
import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxprice import live, policies
from jaxprice.live.journal import Journal
from tests import live_shop
from tests.live_shop import crash, play, problem, reopened, session

ROOT = Path(__file__).resolve().parent.parent
CALLS = 60


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished run: its journal, and the digest after each call."""
    path = tmp_path_factory.mktemp("whole") / "shop"
    digests = []
    with session(path, snapshot_every=40) as shop:
        digests.append(shop.digest())
        for _ in play(shop, 0, CALLS):
            digests.append(shop.digest())
    return path, digests


@pytest.mark.parametrize("where", ["before", "after", "applied"])
def test_a_crash_at_any_call_loses_nothing(tmp_path, monkeypatch, whole, where):
    """The process ends before a commit, right after it, or after the state has changed."""
    _, digests = whole
    shop, done = session(tmp_path / "a", snapshot_every=40), -1
    append = Journal.append

    def dying(journal, *args):
        if where == "before":
            raise KeyboardInterrupt
        append(journal, *args)
        raise KeyboardInterrupt

    for crashed_at in (0, 1, 4, 17, 33, 58):
        for _ in play(shop, shop._journal.next, crashed_at):
            pass
        assert shop.digest() == digests[crashed_at]
        if where == "applied":
            next(play(shop, crashed_at, crashed_at + 1))
        else:
            with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
                patch.setattr(Journal, "append", dying)
                next(play(shop, crashed_at, crashed_at + 1))
        crash(shop)
        shop = reopened(tmp_path / "a", snapshot_every=40)
        assert shop._journal.next == crashed_at + (where != "before")
        assert shop.digest() == digests[shop._journal.next]
    for done, _ in play(shop, shop._journal.next, CALLS):  # noqa: B007
        pass
    assert done == CALLS - 1 and shop.digest() == digests[-1]
    shop.close()


def killed(path, total, kills, seed):
    """Run the shop in child processes that are killed at random moments; returns the calls that were acknowledged."""
    draw, acknowledged = random.Random(seed), -1
    for kill in range(kills):
        command = [sys.executable, "-m", "tests.live_shop", str(path), str(total), *(["again"] if kill else [])]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as child:
            assert child.stdout is not None and child.stdout.readline() == "ready\n"
            if kill == 0:
                with pytest.raises(ValueError, match="is open in another session"):
                    reopened(path)
            for _ in range(draw.randrange(1, max(2, 2 * total // kills))):
                if not (line := child.stdout.readline()):
                    break
                acknowledged = int(line)
            child.send_signal(signal.SIGKILL)
            rest = [line for line in child.stdout.read().split("\n")[:-1] if line]
            acknowledged = int(rest[-1]) if rest else acknowledged
        with contextlib.closing(sqlite3.connect(path)) as file:
            events = file.execute("select count(*), max(number) + 1 from events").fetchone()
        assert events[0] == events[1] and acknowledged + 1 <= events[0] <= acknowledged + 2
    return acknowledged


def finished(path, total):
    with reopened(path) as shop:
        for _ in play(shop, shop._journal.next, total):
            pass
        return shop.digest(), shop.log()


@pytest.mark.parametrize(
    ("kills", "total"), [(1, CALLS), pytest.param(100, 3000, marks=pytest.mark.slow)], ids=["once", "a hundred times"]
)
def test_kill_9_under_load(tmp_path, kills, total):
    killed(tmp_path / "killed", total, kills, seed=kills)
    with session(tmp_path / "calm", snapshot_every=40) as shop:
        for _ in play(shop, 0, total):
            pass
        wanted, log = shop.digest(), shop.log()
    digest, its = finished(tmp_path / "killed", total)
    assert digest == wanted
    for name in ("price", "demand", "product", "propensity"):
        assert np.array_equal(getattr(its, name), getattr(log, name))


def test_a_file_cut_anywhere_is_refused(tmp_path, whole):
    path, _ = whole
    content, cut = path.read_bytes(), tmp_path / "cut"
    draw = random.Random(0)
    for size in [0, 1, 15, 16, 99, 100, 4095, 4096, *(draw.randrange(len(content)) for _ in range(25)), len(content) - 1]:
        for leftover in tmp_path.glob("cut*"):
            leftover.unlink()
        cut.write_bytes(content[:size])
        with pytest.raises(ValueError, match=r"damaged|journal|cannot be read") as error:
            reopened(cut).close()
        assert "Traceback" not in str(error.value)


def test_changed_bytes_are_noticed(tmp_path, whole):
    path, _ = whole
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as file:
        file.execute("delete from snapshots where number > 0")
        data = bytearray(file.execute("select data from events where number = 5").fetchone()[0])
        data[-1] ^= 1
        file.execute("update events set data = ? where number = 5", (bytes(data),))
    file.close()
    with pytest.raises(ValueError, match="event 5 has another checksum; nothing was changed"):
        reopened(copy)
    with sqlite3.connect(copy) as file:
        file.execute("delete from events where number = 5")
    file.close()
    with pytest.raises(ValueError, match="event 5 is missing"):
        reopened(copy)


def test_replay_from_the_first_snapshot(tmp_path, whole):
    path, digests = whole
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    with sqlite3.connect(copy) as file:
        file.execute("delete from snapshots where number > 0")
    file.close()
    with reopened(copy) as shop:
        assert shop.digest() == digests[-1]


def test_another_policy_problem_seed_or_version_is_refused(tmp_path, whole):
    path, _ = whole
    copy = tmp_path / "copy"
    copy.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"policy must be that of .*ucb1\(scale=2.0.*got ucb1\(scale=3.0"):
        reopened(copy, policies.ucb1(3.0))
    with pytest.raises(ValueError, match="problem must be that of"):
        live.Session.open(copy, policies.ucb1(), problem().replace(cost=np.float32(0.1)))
    with pytest.raises(ValueError, match=r"seed must be that of .*, 0, got 1"):
        reopened(copy, seed=1)
    with pytest.raises(ValueError, match="path must be a new file"):
        session(copy)
    with pytest.raises(ValueError, match="there is no such file"):
        reopened(tmp_path / "none")
    with sqlite3.connect(copy) as file:
        file.execute("update about set value = '7' where name = 'version'")
    file.close()
    with pytest.raises(ValueError, match="journal of version 7; this is version 1"):
        reopened(copy)
    (tmp_path / "text").write_text("price,demand\n" * 1000)
    with pytest.raises(ValueError, match="damaged or none"):
        reopened(tmp_path / "text")


def test_a_second_session_is_refused(tmp_path):
    with session(tmp_path / "a") as shop:
        quote = shop.quote(0)
        with pytest.raises(ValueError, match="is open in another session"):
            reopened(tmp_path / "a")
        assert shop.observe(quote.id, 1)


def test_a_full_disk_refuses_the_call_and_nothing_else(tmp_path):
    with session(tmp_path / "a") as shop:
        quote = shop.quote(0)
        pages = shop._journal._file.execute("pragma page_count").fetchone()[0]
        shop._journal._file.execute(f"pragma max_page_count = {pages}")
        with pytest.raises(live.JournalError, match="nothing was done: database or disk is full"):
            for _ in range(1000):
                before = shop.digest()
                shop.quote_many(np.arange(live_shop.PRODUCTS))
        assert shop.digest() == before
        with pytest.raises(live.JournalError, match="disk is full"):
            for _ in range(1000):
                before = shop.digest()
                shop.quote(1)
        assert shop.digest() == before
        shop._journal._file.execute("pragma max_page_count = 1000000")
        assert shop.observe(quote.id, 1)
        after = shop.digest()
        crash(shop)
    with reopened(tmp_path / "a") as shop:
        assert shop.digest() == after


def test_a_closed_session_says_so(tmp_path):
    shop = session(tmp_path / "a")
    shop.close()
    shop.close()
    with pytest.raises(ValueError, match="session is closed"):
        shop.quote(0)
    with pytest.raises(ValueError, match="path must be a file that can be opened"):
        session(tmp_path / "no" / "folder")
    with pytest.raises(ValueError, match="path must be the path of a file"):
        session(3)
    with pytest.raises(ValueError, match="unknown sync 'fast'"):
        session(tmp_path / "b", sync="fast")
