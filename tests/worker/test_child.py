"""A child process does not take the loop down, ends when a call is cancelled, and never outlives its parent."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from worker.child import Child, ChildDied, ChildError, open_child

MODULE = "tests.worker.idle_child"


def gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"


async def until_gone(pid: int) -> None:
    with trio.fail_after(60):
        while not gone(pid):
            await trio.sleep(0.02)


async def started(child: Child) -> int:
    assert await child.call("hello") == "hello"
    assert child.pid is not None
    return child.pid


def test_no_child_is_started_before_it_is_needed() -> None:
    assert Child(MODULE).pid is None


async def test_a_refusal_names_its_kind_and_the_child_goes_on() -> None:
    async with open_child(MODULE) as child:
        pid = await started(child)
        for kind in ("ValueError", "OSError"):
            with pytest.raises(ChildError, match="as asked") as refused:
                await child.call("refuse", kind=kind)
            assert refused.value.kind == kind
        assert await child.call("chatter") == "an answer"
        assert child.pid == pid
    await until_gone(pid)


async def test_what_a_generator_yields_is_told_before_its_answer() -> None:
    said: list[int] = []
    async with open_child(MODULE) as child:
        assert await child.call("count", on_progress=said.append, to=2) == "counted"
        assert said == [0, 1]
        assert await child.call("count", to=3) == "counted", "nobody has to listen"
        with pytest.raises(ChildError, match="three is too many"):
            await child.call("count", on_progress=said.append, to=9)
        assert said == [0, 1, 0, 1, 2]
        assert await child.call("hello") == "hello"


async def test_cancelling_ends_the_work_and_the_next_call_starts_anew() -> None:
    async with open_child(MODULE) as child:
        pid = await started(child)
        with trio.move_on_after(0.2) as scope:
            await child.call("spin")
        assert scope.cancelled_caught
        await until_gone(pid)
        assert await started(child) != pid


async def test_a_killed_child_is_an_error_not_a_hang() -> None:
    async with open_child(MODULE) as child, trio.open_nursery() as nursery:
        pid = await started(child)

        async def kill() -> None:
            await trio.sleep(0.2)
            os.kill(pid, signal.SIGKILL)

        nursery.start_soon(kill)
        with pytest.raises(ChildDied):
            await child.call("spin")
        assert await started(child) != pid


async def test_a_crash_in_the_child_is_an_error_too() -> None:
    async with open_child(MODULE) as child:
        with pytest.raises(ChildDied):
            await child.call("no such handler")
        await started(child)


async def test_a_signal_to_the_group_does_not_end_the_child_before_its_parent() -> None:
    async with open_child(MODULE) as child:
        pid = await started(child)
        os.kill(pid, signal.SIGTERM)
        os.kill(pid, signal.SIGINT)
        assert await started(child) == pid


PARENT = f"""
import trio
from worker.child import open_child
async def main():
    async with open_child("{MODULE}") as child:
        await child.call("hello")
        print(child.pid, flush=True)
        await child.call("spin")
trio.run(main)
"""


async def test_the_child_ends_with_a_parent_that_is_killed() -> None:
    parent = await trio.lowlevel.open_process([sys.executable, "-c", PARENT], stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(await parent.stdout.receive_some(64))
    await trio.sleep(0.2)
    assert not gone(pid)
    parent.kill()
    await parent.wait()
    await parent.stdout.aclose()
    await until_gone(pid)
