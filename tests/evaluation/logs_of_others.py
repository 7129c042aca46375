"""Sample logs in the forms of other programs, written by their documented schemas; `tests/harnesses` has the programs'
own files.

inspect: https://inspect.aisi.org.uk/eval-logs.html. lm-evaluation-harness: `--log_samples` in docs/interface.md.
lighteval: https://huggingface.co/docs/lighteval/saving-and-reading-results. Qwen: the output of its `math_eval.py`.
"""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

STORED, ZSTANDARD = 0, 93


@dataclass(frozen=True, slots=True)
class Answered:
    """A problem, its gold answer, the responses to it, and the grade of each."""

    id: str
    text: str
    gold: str
    responses: tuple[str, ...]
    grades: tuple[float | str | None, ...]


def inspect_sample(one: Answered, epoch: int) -> dict[str, object]:
    text, grade = one.responses[epoch - 1], one.grades[epoch - 1]
    message = {"role": "assistant", "content": text}
    output = {
        "choices": [{"message": message, "stop_reason": "stop"}],
        "completion": text,
        "usage": {"input_tokens": 9, "output_tokens": len(text), "total_tokens": 9 + len(text)},
    }
    scores = {"match": {"value": grade, "answer": text.rpartition(" ")[2]}}
    return {"id": one.id, "epoch": epoch, "input": one.text, "target": one.gold, "output": output, "scores": scores}


def inspect_members(answered: Sequence[Answered], task: str = "arith", temperature: float = 0.7) -> dict[str, bytes]:
    """The members of a finished `.eval`."""
    samples = {
        f"samples/{one.id}_epoch_{epoch}.json": inspect_sample(one, epoch)
        for one in answered
        for epoch in range(1, len(one.responses) + 1)
    }
    header = {
        "version": 2,
        "status": "success",
        "eval": {"task": task, "model": "openai/some-model"},
        "plan": {"config": {"temperature": temperature, "max_tokens": 100}},
    }
    content = {"_journal/start.json": {"version": 2, "eval": header["eval"]}, **samples, "header.json": header}
    return {name: json.dumps(one).encode() for name, one in content.items()}


def write_zip(path: Path, members: Mapping[str, bytes], method: int = ZSTANDARD) -> Path:
    """A zip by hand: the standard library writes no zstandard, which inspect uses."""
    out, table = b"", b""
    for name, content in members.items():
        packed = pa.compress(content, "zstd", asbytes=True) if method == ZSTANDARD else content
        sizes = struct.pack("<III", zlib.crc32(content), len(packed), len(content))
        common = struct.pack("<HHHHH", 20, 0, method, 0, 0x21) + sizes + struct.pack("<HH", len(name.encode()), 0)
        table += b"PK\x01\x02" + struct.pack("<H", 20) + common + struct.pack("<HHHII", 0, 0, 0, 0, len(out))
        table += name.encode()
        out += b"PK\x03\x04" + common + name.encode() + packed
    count = len(members)
    end = struct.pack("<HHHHIIH", 0, 0, count, count, len(table), len(out), 0)
    path.write_bytes(out + table + b"PK\x05\x06" + end)
    assert zipfile.ZipFile(path).namelist() == list(members)
    return path


def write_inspect(path: Path, answered: Sequence[Answered], task: str = "arith") -> Path:
    return write_zip(path, inspect_members(answered, task))


def lm_eval_rows(answered: Sequence[Answered]) -> list[dict[str, object]]:
    """Two lines a problem: the filter `flex` grades as here, `strict` calls everything wrong."""
    return [
        {
            "doc_id": int(one.id),
            "doc": {"question": one.text, "answer": one.gold},
            "target": one.gold,
            "arguments": {"gen_args_0": {"arg_0": f"Q: {one.text}\nA:", "arg_1": {"temperature": 0.7, "until": []}}},
            "resps": [list(one.responses)],
            "filtered_resps": [one.responses[0].rpartition(" ")[2]],
            "filter": name,
            "metrics": ["exact_match"],
            "exact_match": one.grades[0] if name == "flex" else 0.0,
        }
        for name in ("strict", "flex")
        for one in answered
    ]


def write_lines(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def write_lighteval(path: Path, answered: Sequence[Answered], metric: str = "pass@1") -> Path:
    """A row a problem; its grade is that of all its responses, here the mean of theirs."""
    rows = [
        {
            "doc": {"id": one.id, "query": f"Solve: {one.text}", "original_query": one.text, "choices": [one.gold],
                    "gold_index": 0, "task_name": "arith|0", "generation_size": 100},
            "metric": {metric: sum(float(g or 0) for g in one.grades) / len(one.grades)},
            "model_response": {"text": list(one.responses), "output_tokens": [[1] * len(t) for t in one.responses]},
        }
        for one in answered
    ]  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def qwen_rows(answered: Sequence[Answered]) -> list[dict[str, object]]:
    return [
        {
            "idx": int(one.id),
            "question": one.text,
            "gt_cot": "so it is so",
            "gt": one.gold,
            "answer": one.gold,
            "code": list(one.responses),
            "pred": [text.rpartition(" ")[2] for text in one.responses],
            "report": [None] * len(one.responses),
            "score": [None if grade is None else bool(grade) for grade in one.grades],
        }
        for one in answered
    ]
