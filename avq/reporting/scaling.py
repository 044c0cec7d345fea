"""What `avq-bench scale` measured, as a person reads it: a line a point, the exponents, and what they say."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from avq.metrics.format import format_value
from avq.reporting.render import text_table

AXES = ["similarity", "implementation", "pass"]
_QUANTITIES = ["memory", "memory-predicted", "time", "time-predicted", "gain"]
_EVEN = 1.005  # a ratio below it reads as "as much"


def has_points(long: pd.DataFrame) -> bool:
    """Whether these are records of `scale`."""
    return {"latent_size", *AXES} <= set(long.columns) and bool(_is_cost(long["metric"]).any())


def points(long: pd.DataFrame) -> pd.DataFrame:
    """A line a point, by size, in the order of the records.

    Columns: `variant, similarity, implementation, pass, side`; `memory, time, memory-predicted, time-predicted`
    (MiB, s) and `gain`, NaN without a value; `reason`, why a point has no value.
    """
    lines = []
    part = long[long["latent_size"].astype(str) != ""]
    for keys, group in part.groupby(["variant", *AXES, "latent_size"], sort=False):
        line: dict[str, Any] = dict(zip(["variant", *AXES, "side"], keys, strict=True))
        line["side"] = int(float(line["side"]))
        values = dict(zip(group["metric"].str.partition("-")[2], group["value"], strict=True))  # attention-, model-
        line |= {name: values.get(name, float("nan")) for name in _QUANTITIES}
        line["reason"] = next((str(text) for text in group.loc[group["status"] != "ok", "reason"] if text), "")
        lines.append(line)
    table = pd.DataFrame(lines, columns=["variant", *AXES, "side", *_QUANTITIES, "reason"])
    return table.sort_values("side", kind="stable", ignore_index=True)


def _is_cost(metrics: pd.Series) -> pd.Series:
    return metrics.str.match("(attention|model)-(memory|time)")


def show(long: pd.DataFrame, style: Literal["table", "markdown"], width: int) -> str:
    """The points, the exponents and the notes as text that ends without a newline."""
    tables = [table for table in (shown_points(long), _shown_growth(long)) if len(table)]
    lines = "\n".join(f"- {line}" if style == "markdown" else line for line in notes(long))
    return "\n\n".join([*(text_table(table, style, width) for table in tables), lines])


def shown_points(long: pd.DataFrame) -> pd.DataFrame:
    """`points` as text under the heads that a person reads."""
    table = points(long)

    def texts(metric: str, column: str) -> list[str]:
        return [format_value(metric, value) for value in table[column]]

    return pd.DataFrame({
        "what": table["variant"],
        **{name: table[name] for name in AXES},
        "latent": [f"{side}x{side}" for side in table["side"]],
        "memory MiB": texts("attention-memory", "memory"),
        "counted MiB": texts("attention-memory", "memory-predicted"),
        "time s": texts("attention-time", "time"),
        "roofline s": texts("attention-time", "time-predicted"),
        "gain": texts("attention-gain", "gain"),
    })  # fmt: skip


def _shown_growth(long: pd.DataFrame) -> pd.DataFrame:
    part = long[long["metric"].str.endswith("-exponent")]
    lines = []
    for keys, group in part.groupby(["variant", *AXES], sort=False):
        line = dict(zip(["what", *AXES], keys, strict=True))
        for name, sizes_head in (("memory", "over"), ("time", "over ")):
            one = group[group["metric"].str.endswith(f"{name}-exponent")].iloc[0]
            interval, _, sizes = str(one["reason"]).partition("; fitted over ")
            sure = f" ({interval.removeprefix('95 % interval ')})" if sizes else ""
            line[f"{name} exponent"] = format_value("attention-memory-exponent", one["value"]) + sure
            line[sizes_head] = sizes or str(one["reason"])
        lines.append(line)
    shown = pd.DataFrame(lines)
    return shown.drop(columns="over ") if len(shown) and shown["over"].equals(shown["over "]) else shown


def notes(long: pd.DataFrame) -> list[str]:
    """Plain lines: how the implementations compare, what the columns are, where they were measured."""
    table = points(long)
    measured = long[_is_cost(long["metric"]) & ~long["metric"].str.contains("predicted|exponent")]
    conditions = dict.fromkeys(text.partition(":")[2] for text in measured["protocol"] if text)
    return [
        *_comparisons(table),
        *_reasons(table),
        "Memory: the peak of a process (of the tensors on a CUDA device) beyond what it held before the call. "
        "Memory and time are medians over repeats.",
        "Counted: bytes of the tensors alive at once. Roofline: every operator takes the time of its FLOPs or of its "
        "bytes, at the measured rates of float32 matrix products and of copies.",
        "A training step of the layer is forward and backward, of a variant also the optimiser. An exponent is the "
        "power of the latent's side, in brackets its 95 % interval, over the sizes that are named.",
        f"Measured under: {' and '.join(conditions)}.",
        f"Machine: {' and '.join(measured['machine'].unique())}.",
    ]


def _reasons(table: pd.DataFrame) -> list[str]:
    """Why points have no value, those of one size and reason together."""
    lines: dict[str, None] = {}
    for line in table[table["reason"] != ""].to_dict("records"):
        what = ", ".join(str(line[name]) for name in ("variant", *AXES) if line[name])
        lines[f"{line['side']}x{line['side']}, {what}: {line['reason']}."] = None
    return list(lines)


def _comparisons(table: pd.DataFrame) -> list[str]:
    """Linear beside dense, at the largest size at which both were measured."""
    lines = []
    for (variant, similarity, part), group in table.groupby(["variant", "similarity", "pass"], sort=False):
        timed = group[group["time"].notna()]
        dense, linear = (timed[timed["implementation"] == name].set_index("side") for name in ("dense", "linear"))
        both = dense.index.intersection(linear.index)
        if len(both):
            side = both.max()
            memory, time = ((dense.loc[side, name], linear.loc[side, name]) for name in ("memory", "time"))
            lines.append(
                f"{variant}, {similarity}, {part} at {side}x{side}: linear against dense takes "
                f"{_times(*memory, 'less memory', 'more memory', 'as much memory')} and is "
                f"{_times(*time, 'faster', 'slower', 'as fast')}."
            )
    return lines


def _times(dense: float, linear: float, better: str, worse: str, even: str) -> str:
    if not (dense > 0 and linear > 0):
        return "too little to be compared"
    ratio = max(dense / linear, linear / dense)
    if ratio < _EVEN:
        return even
    return f"{ratio:,.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f} times {better if dense > linear else worse}"
