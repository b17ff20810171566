"""Cheating workers, for tests: the real worker loop with a dishonest way to execute.

    python -m tests.liars --mode last_state --url … --sequencer … --keypair … --data-dir …

Each lie is a function of (job, honest) that returns what the liar commits to. All but other_commitment keep every hash consistent with what is
uploaded, so that only re-running the work can tell.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import safetensors.numpy
import trio

import worker.loop
from settlement.work import WorkEntry
from worker.client import WorkerClient
from worker.config import WorkerConfig
from worker.job import Execute, Job, Trained
from worker.journal import Entry


def _altered(path: Path, folder: Path) -> tuple[bytes, Path]:
    """A copy of a tensor file with its weights moved a little; its sha256 and its place."""
    tensors = safetensors.numpy.load_file(path)
    for name, tensor in tensors.items():
        if name.endswith("weight") and not name.startswith("optimizer"):
            tensors[name] = tensor + tensor.dtype.type(0.001)
    data = safetensors.numpy.save(tensors)
    name = sha256(data).digest()
    target = folder / f"{name.hex()}.safetensors"
    target.write_bytes(data)
    return name, target


def _with_entry(trained: Trained, index: int, entry: WorkEntry) -> tuple[WorkEntry, ...]:
    entries = list(trained.entries)
    entries[index] = entry
    return tuple(entries)


async def last_state(job: Job, honest: Execute) -> Trained:
    """Alters the weights after the last step: state, model and trace all name the altered ones."""
    trained = await honest(job)
    last = trained.entries[-1]
    state, state_path = _altered(trained.files[last.state_hash], job.folder)
    model, model_path = _altered(trained.files[trained.model_hash], job.folder)
    entries = _with_entry(trained, -1, replace(last, state_hash=state, model_hash=model))
    return replace(
        trained, entries=entries, files={**trained.files, state: state_path, model: model_path}, model_hash=model
    )


async def middle_state(job: Job, honest: Execute) -> Trained:
    """Names an altered state in the middle of the trace."""
    trained = await honest(job)
    middle = len(trained.entries) // 2
    state, path = _altered(trained.files[trained.entries[middle].state_hash], job.folder)
    entries = _with_entry(trained, middle, replace(trained.entries[middle], state_hash=state))
    return replace(trained, entries=entries, files={**trained.files, state: path})


async def hash_not_weights(job: Job, honest: Execute) -> Trained:
    """Hands in a model whose hash is not that of the weights it trained."""
    trained = await honest(job)
    model, path = _altered(trained.files[trained.model_hash], job.folder)
    return replace(trained, files={**trained.files, model: path}, model_hash=model)


async def false_accuracy(job: Job, honest: Execute) -> Trained:
    return replace(await honest(job), accuracy=1.0)


async def other_seed(job: Job, honest: Execute) -> Trained:
    """Hands in an honest run of another seed."""
    spec = {**job.spec, "seed": job.spec["seed"] + 1}
    return await honest(replace(job, spec=spec))


async def other_commitment(job: Job, honest: Execute) -> Trained:
    """Works honestly; the lie is in commit_to_another's commitment."""
    return await honest(job)


async def _commit_as_another(self: WorkerClient, entry: Entry) -> None:
    # What a copier has: the bytes of somebody else's commitment, made with a key and a salt that are not its own.
    copied = sha256(b"somebody else's commitment" + entry.commitment).digest()
    await self._sequencer.call_signed(
        "commitResult", {"taskId": entry.task_id.hex(), "leaseId": entry.lease_id, "commitment": copied.hex()}
    )


Lie = Callable[[Job, Execute], object]
LIES: dict[str, Lie] = {
    lie.__name__: lie
    for lie in (last_state, middle_state, hash_not_weights, false_accuracy, other_seed, other_commitment)
}


def main(command_line: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mode", choices=sorted(LIES), required=True)
    parser.add_argument("--url", required=True)
    parser.add_argument("--sequencer", required=True)
    parser.add_argument("--keypair", type=Path, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--program-id", default=None)
    arguments = vars(parser.parse_args(command_line))
    mode = arguments.pop("mode")
    if mode == "other_commitment":
        WorkerClient.commit = _commit_as_another  # type: ignore[method-assign]

    async def lie() -> None:
        await worker.loop.run(WorkerConfig(**arguments), execute=LIES[mode])  # type: ignore[arg-type]

    trio.run(lie)


if __name__ == "__main__":
    main()
