"""The executor as a process of its own: the same bytes from any of them."""

from pathlib import Path
from typing import Any

import pytest

from tests.worker.specs import ADAM, SGD, make_spec, small_spec
from worker.child import ChildError, open_child
from worker.digits import digits_blob
from worker.job import Trained

CPU = ["--device", "cpu"]


def request(folder: Path, spec: dict[str, Any], blob: bytes) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    (folder / "dataset").write_bytes(blob)
    return {"spec": spec, "dataset": str(folder / "dataset"), "folder": str(folder / "files")}


async def test_two_processes_train_the_same_bits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even where the environment asks the math library for another code path; and a refusal between two jobs changes nothing."""
    blob = digits_blob()
    runs: list[list[Trained]] = []
    for path in ("AUTO", "AVX2"):
        monkeypatch.setenv("MKL_CBWR", path)
        async with open_child("worker.executor", CPU) as child:
            environment = await child.call("environment")
            assert set(environment) == {"torch", "safetensors", "device", "cpu_capability", "threads"}
            assert environment["device"] == "cpu" and environment["threads"] == 1
            runs.append([])
            for name, optimizer in (("adam", ADAM), ("sgd", SGD)):
                spec = make_spec(blob, 1797, 64, 10, optimizer=optimizer, max_epochs=3)
                said: list[dict[str, Any]] = []
                job = request(tmp_path / f"{path}-{name}", spec, blob)
                answer = await child.call("train", on_progress=said.append, **job)
                runs[-1].append(trained := Trained.from_json(answer))
                assert [(one["step"], one["loss"]) for one in said] == [
                    (e.iteration, e.loss) for e in trained.entries[1:]
                ]
                assert {one["steps"] for one in said} == {trained.entries[-1].iteration}
                assert all(0 <= one["accuracy"] <= 1 for one in said if "accuracy" in one)
                with pytest.raises(ChildError, match="the spec names") as refused:
                    await child.call("train", **request(tmp_path / "other", spec, blob + b"\0"))
                assert refused.value.kind == "DatasetError"
            needs_gpu, small = small_spec()
            needs_gpu["performance_requirements"]["gpu"] = True
            with pytest.raises(ChildError, match="needs a GPU"):
                await child.call("train", **request(tmp_path / "gpu", needs_gpu, small))
    for one, other in zip(*runs, strict=True):
        assert one.entries == other.entries and len(one.entries) > 10
        assert (one.model_hash, one.accuracy, one.loss) == (other.model_hash, other.accuracy, other.loss)
        for name, path_of_one in one.files.items():
            assert path_of_one.read_bytes() == other.files[name].read_bytes()
