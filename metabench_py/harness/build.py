"""Builds item files from the source data sets: items with their few-shot examples."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from metabench_py.benchmarks import TITLES, Benchmark
from metabench_py.errors import InputError
from metabench_py.harness.sources import SOURCES, Draw, Sources, leaderboard_draws
from metabench_py.storage import atomic_folder, atomic_path

Row = dict[str, Any]
_LETTERS = "ABCD"
# Columns of an example: name here -> (name in the file, value of the source's row).
_EXAMPLE: dict[Benchmark, tuple[tuple[str, str], ...]] = {
    "arc": (
        ("arc_idx", ""), ("arc_question", "question"), ("arc_choices", "choices"),
        ("arc_answerKey", "answerKey"),
    ),
    "gsm8k": (("gsm8k_idx", ""), ("gsm8k_prompt", "question"), ("gsm8k_answer", "answer")),
    "hellaswag": (
        ("hellaswag_ind", "ind"), ("hellaswag_activity_labels", "activity_label"),
        ("hellaswag_ctx_a", "ctx_a"), ("hellaswag_ctx_b", "ctx_b"), ("hellaswag_ctx", "ctx"),
        ("hellaswag_endings", "endings"), ("hellaswag_source_id", "source_id"),
        ("hellaswag_split", "split"), ("hellaswag_split_type", "split_type"),
        ("hellaswag_label", "label"),
    ),
    "mmlu": (
        ("mmlu_ind", ""), ("mmlu_question", "question"), ("mmlu_choices", "choices"),
        ("mmlu_answers", "answer"),
    ),
    "truthfulqa": (),
    "winogrande": (
        ("winogrande_idx", ""), ("winogrande_prompt", "sentence"),
        ("winogrande_option1", "option1"), ("winogrande_option2", "option2"),
        ("winogrande_answer", "answer"),
    ),
}  # fmt: skip
_PROMPT_COLUMN: dict[Benchmark, str] = {
    "arc": "alltwentyfiveshot_longprompt",
    "gsm8k": "allfiveshot_longprompt",
    "hellaswag": "alltenshot_longprompt",
    "mmlu": "allfiveshot_longprompt",
    "winogrande": "allfiveshot_longprompt",
}


def build_items(
    items: Mapping[Benchmark, Sequence[str]],
    sources: Sources,
    out: Path,
    *,
    replace: bool = False,
    progress: Callable[[str, int, int], None] = lambda _what, _number, _total: None,
) -> dict[Benchmark, Path]:
    """Build a folder of item files.

    Parameters
    ----------
    items
        Ids of each benchmark's items, as a bundle names them.
    out
        The folder to make.

    Raises
    ------
    InputError
        An id is none of the benchmark's.
    DownloadError
        A data set cannot be loaded.
    """
    files = [f"{benchmark}.parquet" for benchmark in items]
    with atomic_folder(out, replace=replace, marks=files) as folder:
        for number, (benchmark, ids) in enumerate(items.items(), 1):
            progress(TITLES[benchmark], number, len(items))
            rows = build_rows(benchmark, ids, sources)
            write_items(folder / f"{benchmark}.parquet", benchmark, rows)
    return {benchmark: out / f"{benchmark}.parquet" for benchmark in items}


def build_rows(benchmark: Benchmark, ids: Iterable[str], sources: Sources) -> list[Row]:
    """Build the rows of one benchmark, in the order of the source's rows."""
    pool = sources.rows(benchmark, "examples") if SOURCES[benchmark].examples else []
    everything = sources.rows(benchmark, "items")
    if benchmark == "mmlu":
        return _mmlu_rows(ids, everything, pool)
    draws = leaderboard_draws(len(everything), len(pool), SOURCES[benchmark].n_examples)
    chosen = [(_draw(benchmark, item, item, draws), item) for item in ids]
    chosen.sort(key=lambda pair: pair[0].row)
    return [
        _row(benchmark, int(item), everything[draw.row], [(i, pool[i]) for i in draw.examples])
        for draw, item in chosen
    ]


def _mmlu_rows(ids: Iterable[str], everything: Iterable[Row], pool: Iterable[Row]) -> list[Row]:
    """Build MMLU's rows: a task a subject, its five examples always the same."""
    by_subject: dict[str, list[Row]] = {}
    for row in everything:
        by_subject.setdefault(row["subject"], []).append(row)
    examples: dict[str, list[Row]] = {}
    for row in pool:
        examples.setdefault(row["subject"], []).append(row)
    chosen: list[tuple[str, str, Draw]] = []
    draws: dict[str, list[Draw]] = {}
    for item in ids:
        subject, _, number = item.rpartition(".")
        if subject not in by_subject:
            raise InputError(f"{item!r} is no MMLU item: there is no subject {subject!r}.")
        if subject not in draws:
            draws[subject] = leaderboard_draws(len(by_subject[subject]), 0, 0)
        chosen.append((subject, number, _draw("mmlu", item, number, draws[subject])))
    chosen.sort(key=lambda one: (one[0], one[2].row))
    n = SOURCES["mmlu"].n_examples
    rows = []
    for place, (subject, index, draw) in enumerate(chosen):
        shots = list(enumerate(examples[subject][:n]))
        row = _row("mmlu", int(index), by_subject[subject][draw.row], shots)
        # The published files carry this trace of pandas, and a document's hash covers it.
        rows.append(row | {"__index_level_0__": place})
    return rows


def _draw(benchmark: Benchmark, item: str, number: str, draws: Sequence[Draw]) -> Draw:
    if not number.isdecimal() or not 1 <= int(number) <= len(draws):
        raise InputError(
            f"{item!r} is no {TITLES[benchmark]} item: numbers go from 1 to {len(draws):,}.",
            item=item,
        )
    return draws[int(number) - 1]


def _row(
    benchmark: Benchmark, number: int, source: Row, examples: Sequence[tuple[int, Row]]
) -> Row:
    row = {name: source[name] for name in SOURCES[benchmark].columns}
    row["metabench_idx"] = number
    if benchmark in _PROMPT_COLUMN:
        row[_PROMPT_COLUMN[benchmark]] = _PROMPTS[benchmark](source, [e for _, e in examples])
    if benchmark == "mmlu":
        row["mb_sub_idx"] = f"{source['subject']}.{number}"
    for place, (index, example) in enumerate(examples, 1):
        for name, key in _EXAMPLE[benchmark]:
            row[f"{name}_shot_{place}"] = example[key] if key else index
    return row


def _arc_prompt(source: Row, examples: Sequence[Row]) -> str:
    def answer(row: Row) -> str:
        return str(row["choices"]["text"][row["choices"]["label"].index(row["answerKey"])])

    shots = [f"Question: {e['question']}\nAnswer: {answer(e)}\n\n" for e in examples]
    return "".join(shots) + f"Question: {source['question']}\nAnswer:"


def _gsm8k_prompt(source: Row, examples: Sequence[Row]) -> str:
    shots = [f"Question: {e['question']}\nAnswer: {e['answer']}\n\n" for e in examples]
    return "".join(shots) + f"Question: {source['question']}\nAnswer:"


def _hellaswag_prompt(source: Row, examples: Sequence[Row]) -> str:
    def text(raw: str) -> str:
        plain = re.sub(r"\[.*?\]", "", raw.strip().replace(" [title]", ". "))
        return plain.replace("  ", " ")

    def query(row: Row) -> str:
        return text(f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}")

    shots = [f"{query(e)} {text(e['endings'][int(e['label'])])}\n\n" for e in examples]
    return "".join(shots) + query(source)


def _mmlu_prompt(source: Row, examples: Sequence[Row]) -> str:
    def question(row: Row) -> str:
        options = "".join(f"{_LETTERS[i]}. {choice}\n" for i, choice in enumerate(row["choices"]))
        return f"{row['question'].strip()}\n{options}Answer:"

    subject = source["subject"].replace("_", " ")
    head = f"The following are multiple choice questions (with answers) about {subject}.\n\n"
    shots = [f"{question(e)} {_LETTERS[e['answer']]}\n\n" for e in examples]
    return head + "".join(shots) + question(source)


def _winogrande_prompt(source: Row, examples: Sequence[Row]) -> str:
    shots = [e["sentence"].replace("_", e[f"option{e['answer']}"]) + "\n\n" for e in examples]
    return "".join(shots) + str(source["sentence"])


_PROMPTS: dict[Benchmark, Callable[[Row, Sequence[Row]], str]] = {
    "arc": _arc_prompt,
    "gsm8k": _gsm8k_prompt,
    "hellaswag": _hellaswag_prompt,
    "mmlu": _mmlu_prompt,
    "winogrande": _winogrande_prompt,
}


def write_items(path: Path, benchmark: Benchmark, rows: Sequence[Row]) -> None:
    """Write rows with the published files' columns and types."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pylist(list(rows), schema=item_schema(benchmark))
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary)


def item_schema(benchmark: Benchmark) -> Any:
    """Columns and types of the published item files."""
    import pyarrow as pa

    text, number, texts = pa.string(), pa.int64(), pa.list_(pa.field("element", pa.string()))
    options = pa.struct([("label", texts), ("text", texts)])
    labels = pa.list_(pa.field("element", pa.int32()))
    targets = pa.struct([("choices", texts), ("labels", labels)])
    kinds: dict[str, Any] = {"ind": pa.int32(), "endings": texts}
    kinds |= {"mc1_targets": targets, "mc2_targets": targets}
    if benchmark == "arc":
        kinds |= {"choices": options, "arc_idx": number, "arc_choices": options}
    elif benchmark == "mmlu":
        kinds |= {"choices": texts, "answer": number, "mmlu_ind": number}
        kinds |= {"mmlu_choices": texts, "mmlu_answers": number}
    elif benchmark == "gsm8k":
        kinds |= {"gsm8k_idx": number}
    elif benchmark == "hellaswag":
        kinds |= {"hellaswag_ind": pa.int32(), "hellaswag_endings": texts}
    elif benchmark == "winogrande":
        kinds |= {"winogrande_idx": number}
    fields = [(name, kinds.get(name, text)) for name in SOURCES[benchmark].columns]
    fields.append(("metabench_idx", number))
    if benchmark in _PROMPT_COLUMN:
        fields.append((_PROMPT_COLUMN[benchmark], text))
    if benchmark == "mmlu":
        fields.append(("mb_sub_idx", text))
    for place in range(1, SOURCES[benchmark].n_examples + 1):
        fields += [
            (f"{name}_shot_{place}", kinds.get(name, text)) for name, _ in _EXAMPLE[benchmark]
        ]
    if benchmark == "mmlu":
        fields.append(("__index_level_0__", number))
    return pa.schema(fields)
