"""Reader for lighteval logs: `details_TASK_DATE.parquet`, a row for each problem."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from sfpo_bench.core.errors import ConfigError, DamagedFile
from sfpo_bench.evaluation.sample_logs.bounded import MOST_SAMPLES
from sfpo_bench.evaluation.sample_logs.record import Beginning, LoggedSample, LoggedSampling, SampleLog
from sfpo_bench.evaluation.sample_logs.values import count_of, grade, inside, text_of, texts_of
from sfpo_bench.results.parquet import bounded_batches

_COLUMNS = ("doc", "metric", "model_response")
_NAME = re.compile(r"details_(?P<task>.+)_\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d(?:\.\d+)?")
_ROWS_AT_ONCE = 64


class LightevalLog:
    """Reader for the details of lighteval. A row holds all responses to a problem, which are graded together."""

    looked_for = f"lighteval: a Parquet file with the columns {', '.join(_COLUMNS)}"

    def recognises(self, beginning: Beginning) -> bool:
        return beginning.magic.startswith(b"PAR1") and beginning.names >= set(_COLUMNS)

    def read(self, path: Path, cut_last_line: bool) -> SampleLog:
        """Return the log: one sample for each problem, with every metric that is a number."""
        rows = _rows(path)
        samples = tuple(_sample(f"{path}, row {number}", number, row) for number, row in enumerate(rows, 1))
        named = _NAME.fullmatch(path.stem)
        task = next((one for row in rows[:1] if (one := text_of(inside(row, "doc", "task_name")))), None)
        # lighteval writes MODEL/DATE/details_TASK_DATE.parquet.
        model = path.parent.parent.name if named else ""
        limits = [count_of(inside(row, "doc", "generation_size")) for row in rows[:1]]
        sampling = LoggedSampling(max_new_tokens=next(iter(limits), None))
        return SampleLog(path, "lighteval", task or (named["task"] if named else path.stem), model, samples, sampling)


def _rows(path: Path) -> list[dict[str, object]]:
    """Return the three columns row by row. Raises `DamagedFile` for an implausible size, before allocating memory."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    found: list[dict[str, object]] = []
    try:
        with pq.ParquetFile(str(path), pre_buffer=False) as file:
            if file.metadata.num_rows > MOST_SAMPLES:
                raise DamagedFile(
                    f"{path} says that it holds {file.metadata.num_rows:,} rows, out of proportion to its size; "
                    f"expected details of lighteval, at most {MOST_SAMPLES:,} rows"
                )
            for batch in bounded_batches(file, path.stat().st_size, _COLUMNS, _ROWS_AT_ONCE):
                found += batch.to_pylist()
    except (pa.ArrowException, OSError, ValueError, KeyError, MemoryError) as error:
        raise DamagedFile(f"{path} is damaged ({str(error)[:120]}); bring the whole file") from error
    return found


def _sample(place: str, number: int, row: Mapping[str, object]) -> LoggedSample:
    doc, answered, metrics = row["doc"], row["model_response"], row["metric"]
    if not all(isinstance(one, Mapping) for one in (doc, answered, metrics)):
        raise ConfigError(f"{place}: doc, model_response and metric are not all records; expected those of lighteval")
    assert isinstance(metrics, Mapping)
    responses = texts_of(inside(answered, "text"))
    tokens = inside(answered, "output_tokens")
    lengths = tuple(len(one) for one in tokens if isinstance(one, list)) if isinstance(tokens, list) else ()
    return LoggedSample(
        place=place,
        problem=text_of(inside(doc, "id")) or str(number),
        text=text_of(inside(doc, "original_query")) or text_of(inside(doc, "query")) or "",
        number=None,
        responses=responses,
        golds=_golds(doc),
        grades={name: grade(place, name, value) for name, value in metrics.items() if _is_scalar(value)},
        tokens=lengths if lengths and len(lengths) == len(responses) and all(lengths) else None,
    )


def _golds(doc: object) -> tuple[str, ...]:
    choices, gold = inside(doc, "choices"), inside(doc, "gold_index")
    places: Sequence[object] = gold if isinstance(gold, list) else [gold]
    listed: Sequence[object] = choices if isinstance(choices, list) else []
    wanted = [one for one in map(count_of, places) if one is not None and one < len(listed)]
    return tuple(text for one in wanted if (text := text_of(listed[one])) is not None)


def _is_scalar(value: object) -> bool:
    return value is None or isinstance(value, (bool, int, float))
