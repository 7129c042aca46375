"""Files made to do harm: each is refused by name, in bounded time and memory, and nothing of it is executed."""

from __future__ import annotations

import io
import json
import os
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sfpo_bench.core.errors import BenchError, ConfigError
from sfpo_bench.core.yaml_files import plain_yaml, read_yaml
from sfpo_bench.evaluation.sample_logs.read import read_sample_logs
from sfpo_bench.results.codec import decoded
from sfpo_bench.results.parquet import read_parquet
from sfpo_bench.results.stored_files import read_object
from sfpo_bench.training.checkpoint import Checkpoint

DEEP = '{"a":' + "[" * 100_000 + "]" * 100_000 + "}"
BOMB = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12)
)
MARK = "hostile_file_ran"


class Runs:
    """Unpickled, it makes a file."""

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {MARK}",)


@pytest.fixture(autouse=True)
def nothing_is_executed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield
    assert list((tmp_path / "work").iterdir()) == []


def at(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("reader", [read_yaml, plain_yaml])
@pytest.mark.parametrize("content", [BOMB, "a: " + "[" * 60 + "]" * 60, "a: " + "{b: " * 60 + "1" + "}" * 60])
def test_yaml_that_unfolds_is_refused(reader: Callable[[Path], object], content: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"bomb\.yaml would unfold to more than 50,000 values or 50 levels"):
        reader(at(tmp_path, "bomb.yaml", content))


@pytest.mark.parametrize(
    "content",
    [f"a: !!python/object/apply:os.system ['touch {MARK}']", "a: !!python/name:os.system", "a: !own 1", "a: &a [*a]"],
)
def test_yaml_with_tags_or_a_value_inside_itself_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"settings\.yaml"):
        read_yaml(at(tmp_path, "settings.yaml", content))


def test_yaml_with_aliases_of_the_usual_kind_is_read(tmp_path: Path) -> None:
    path = at(tmp_path, "a.yaml", "base: &b {x: [1, 2]}\none: {<<: *b, y: 3}\ntwo: *b\n" + "k: [" + "1, " * 500 + "1]")
    assert read_yaml(path)["one"] == {"x": [1, 2], "y": 3}
    assert plain_yaml(path)["two"] == {"x": [1, 2]}  # type: ignore[index]  # it holds a mapping


def checkpoint(folder: Path, **files: bytes) -> Checkpoint:
    for name, content in files.items():
        at(folder, name.replace("_", "."), content)
    return Checkpoint(folder)


def tensors(shape: list[int], end: int) -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": shape, "data_offsets": [0, end]}}).encode()
    return struct.pack("<Q", len(header)) + header


@pytest.mark.parametrize(
    "weights",
    [
        b"",
        struct.pack("<Q", 2**62),
        tensors([2**40], 2**42),
        tensors([2**62, 2**62], 8),
        pickle.dumps(Runs()),
        b"PK\3\4",
    ],
    ids=["empty", "huge header", "huge shape", "overflow", "pickle", "zip"],
)
def test_weights_are_refused_before_memory_is_taken(weights: bytes, tmp_path: Path) -> None:
    for only in (None, ["w"]):
        with pytest.raises(BenchError, match="step-000001"):
            checkpoint(tmp_path / "step-000001", weights_safetensors=weights).weights(only)


def test_json_that_is_nested_without_end_is_refused_wherever_it_stands(tmp_path: Path) -> None:
    path = at(tmp_path, "deep.json", DEEP)
    reads: dict[str, Callable[[], object]] = {
        "deep.json": lambda: read_object(path),
        "text": lambda: decoded(DEEP, "text"),
        "state.json": lambda: checkpoint(tmp_path / "step-000001", state_json=DEEP.encode()).state(),
        "line 2": lambda: read_sample_logs(
            at(tmp_path, "log.jsonl", '{"gold": "1", "prediction": "1", "id": "../../x"}\n' + DEEP + "\n")
        ),
    }
    for named, read in reads.items():
        with pytest.raises(BenchError, match=named):
            read()


def repeated(rows: int, length: int) -> bytes:
    """A column in which one value, written once, fills every row."""
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["y" * length]))
    file = io.BytesIO()
    pq.write_table(pa.table({"a": column}), file, compression="zstd", store_schema=False)
    return file.getvalue()


def test_parquet_whose_one_value_fills_every_row_is_refused(tmp_path: Path) -> None:
    content = repeated(rows=50_000, length=20_000)
    assert len(content) < 2000
    before = pa.total_allocated_bytes()
    for source in (content, at(tmp_path, "a.parquet", content)):
        with pytest.raises(ValueError, match="unfolds to more than 64 MiB, out of proportion"):
            read_parquet(source, ["a"])
    assert pa.total_allocated_bytes() - before < 2**20


def test_an_honest_table_is_read_as_it_was_in_every_order_of_columns() -> None:
    file = io.BytesIO()
    table = pa.table(
        {"a": [f"key {n % 7}" for n in range(20_000)], "b": list(range(20_000)), "c": [None, 0.5] * 10_000}
    )
    pq.write_table(table, file, row_group_size=3000)
    for columns in (["c", "a"], ["b"], ["a", "b", "c"]):
        assert read_parquet(file.getvalue(), columns).equals(table.select(columns))
        frame = read_parquet(file.getvalue(), columns, categories=["a"]).to_pandas()
        assert frame.astype(table.select(columns).to_pandas().dtypes).equals(table.select(columns).to_pandas())
    empty = table.slice(0, 0)
    pq.write_table(empty, file := io.BytesIO())
    assert read_parquet(file.getvalue(), ["a"]).num_rows == 0


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "C:/x", "C:x", "//host/share/x", "..\\x"])
def test_a_zip_with_a_member_outside_is_refused(name: str, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr(zipfile.ZipInfo(name), "{}")
    with pytest.raises(ConfigError, match=r"log\.eval holds a member that leaves the folder"):
        read_sample_logs(tmp_path / "log.eval")


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    link = zipfile.ZipInfo("header.json")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(tmp_path / "log.eval", "w") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(ConfigError, match=r"log\.eval holds a link"):
        read_sample_logs(tmp_path / "log.eval")


@pytest.mark.slow
def test_a_model_folder_with_code_pickles_or_broken_files_is_refused_and_nothing_of_it_runs(tmp_path: Path) -> None:
    import torch

    from sfpo_bench.models.arithmetic_character import FOLDER
    from sfpo_bench.models.load import load
    from sfpo_bench.settings.models import HuggingFaceModel
    from sfpo_bench.settings.training import Precision

    code = f"import os\nos.system('touch {MARK}')\n"
    own = {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M", "AutoTokenizer": ["own.K", "own.K"]}
    whole = json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))
    saved = io.BytesIO()
    torch.save(Runs(), saved)
    changes: dict[str, dict[str, bytes]] = {
        "code": {"config.json": json.dumps({"model_type": "own", "auto_map": own}).encode(), "own.py": code.encode()},
        "pickle": {"pytorch_model.bin": pickle.dumps(Runs(), protocol=2), "model.safetensors": b""},
        "torch pickle": {"pytorch_model.bin": saved.getvalue(), "model.safetensors": b""},
        "nested config": {"config.json": DEEP.encode()},
        "nested tokenizer": {"tokenizer.json": DEEP.encode()},
        "other tokenizer": {"tokenizer.json": b"[]"},
        "no heads": {"config.json": json.dumps({**whole, "num_attention_heads": 0}).encode()},
    }
    for name, files in changes.items():
        folder = tmp_path / name.replace(" ", "-")
        shutil.copytree(FOLDER, folder)
        for file, content in files.items():
            (folder / file).write_bytes(content)
            if not content:
                (folder / file).unlink()
        with pytest.raises(BenchError, match=str(folder)):
            load(HuggingFaceModel(path=str(folder)), Precision.float32, "cpu")
