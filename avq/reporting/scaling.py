"""What `avq-bench scale` measured, as a person reads it: a line a point, the exponents, and what they say."""

from __future__ import annotations

from typing import Any, Literal

import pandas as pd

from avq.metrics.format import format_value
from avq.reporting.render import text_table

AXES = ["similarity", "implementation", "pass"]
SUBJECTS = {"attention": "attention", "model": "variant"}  # the first word of the metrics, and of what they are


def has_points(long: pd.DataFrame) -> bool:
    """Whether these are records of `scale`."""
    return {"latent_size", *AXES} <= set(long.columns) and bool(long["metric"].map(_kind).astype(bool).any())


def points(long: pd.DataFrame) -> pd.DataFrame:
    """A line a point, by size, in the order of the records.

    Columns: `variant, similarity, implementation, pass, side`; `memory, time, memory-predicted, time-predicted`
    (MiB, s) and `gain`, NaN where there is none; `reason`, why a point has no value.
    """
    part = long[long["latent_size"].astype(str) != ""]
    lines = []
    for keys, group in part.groupby(["variant", *AXES, "latent_size"], sort=False):
        line: dict[str, Any] = dict(zip(["variant", *AXES, "side"], keys, strict=True))
        line["side"] = int(float(line["side"]))
        values = {_quantity(str(metric)): value for metric, value in zip(group["metric"], group["value"], strict=True)}
        line |= {name: values.get(name, float("nan")) for name in _QUANTITIES}
        line["reason"] = next((str(text) for text in group.loc[group["status"] != "ok", "reason"] if text), "")
        lines.append(line)
    table = pd.DataFrame(lines, columns=["variant", *AXES, "side", *_QUANTITIES, "reason"])
    return table.sort_values("side", kind="stable").reset_index(drop=True)


_EVEN = 1.005
_QUANTITIES = ["memory", "memory-predicted", "time", "time-predicted", "gain"]


def _kind(metric: str) -> str:
    return next((kind for kind in SUBJECTS if metric.startswith((f"{kind}-memory", f"{kind}-time"))), "")


def _quantity(metric: str) -> str:
    return metric.partition("-")[2]


def show(long: pd.DataFrame, style: Literal["table", "markdown"], width: int) -> str:
    """The points, the exponents and the notes as text that ends without a newline."""
    parts = [text_table(shown_points(long), style, width)]
    growth = _shown_growth(long)
    parts += [text_table(growth, style, width)] if len(growth) else []
    lines = notes(long)
    parts.append("\n".join(f"- {line}" if style == "markdown" else line for line in lines))
    return "\n\n".join(parts)


def shown_points(long: pd.DataFrame) -> pd.DataFrame:
    """`points` as text under the heads that a person reads."""
    table = points(long)
    return pd.DataFrame({
        "what": table["variant"],
        **{name: table[name] for name in AXES},
        "latent": [f"{side}x{side}" for side in table["side"]],
        "memory MiB": _texts("attention-memory", table["memory"]),
        "counted MiB": _texts("attention-memory", table["memory-predicted"]),
        "time s": _texts("attention-time", table["time"]),
        "roofline s": _texts("attention-time", table["time-predicted"]),
        "gain": _texts("attention-gain", table["gain"]),
    })  # fmt: skip


def _texts(metric: str, values: pd.Series) -> list[str]:
    return [format_value(metric, value) for value in values]


def _shown_growth(long: pd.DataFrame) -> pd.DataFrame:
    part = long[long["metric"].str.endswith("-exponent")]
    lines = []
    for keys, group in part.groupby(["variant", *AXES], sort=False):
        line = dict(zip(["what", *AXES], keys, strict=True))
        for name in ("memory", "time"):
            one = group[group["metric"].str.endswith(f"{name}-exponent")].iloc[0]
            interval, _, sizes = str(one["reason"]).partition("; fitted over ")
            interval = interval.removeprefix("95 % interval ")
            sure = f" ({interval})" if sizes else ""
            line[f"{name} exponent"] = format_value("attention-memory-exponent", one["value"]) + sure
            line["over" if name == "memory" else "over "] = sizes or str(one["reason"])
        lines.append(line)
    shown = pd.DataFrame(lines)
    if len(shown) and (shown["over"] == shown["over "]).all():
        shown = shown.drop(columns="over ")
    return shown


def notes(long: pd.DataFrame) -> list[str]:
    """Plain lines: how the implementations compare, what the columns are, where they come from."""
    table = points(long)
    lines = [*_comparisons(table), *_reasons(table)]
    measured = long[long["metric"].map(_kind).astype(bool) & ~long["metric"].str.contains("predicted|exponent")]
    conditions = dict.fromkeys(text.partition(":")[2] for text in measured["protocol"] if text)
    machines = " and ".join(measured["machine"].unique())
    return [
        *lines,
        "Memory: the peak of a process (of the tensors on a CUDA device) beyond what it held before the call. "
        "Memory and time are medians over repeats.",
        "Counted: bytes of the tensors alive at once. Roofline: every operator takes the time of its FLOPs or of its "
        "bytes, at the measured rates of float32 matrix products and of copies.",
        "A training step of the layer is forward and backward, of a variant also the optimiser. An exponent is the "
        "power of the latent's side, in brackets its 95 % interval, over the sizes that are named.",
        f"Measured under: {' and '.join(conditions)}.",
        f"Machine: {machines}.",
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
        sides = {name: own.set_index("side") for name, own in group[group["time"].notna()].groupby("implementation")}
        if not {"dense", "linear"} <= set(sides):
            continue
        both = sorted(set(sides["dense"].index) & set(sides["linear"].index))
        if both:
            dense, linear = (sides[name].loc[both[-1]] for name in ("dense", "linear"))
            memory = _times(dense["memory"], linear["memory"], "less memory", "more memory", "as much memory")
            time = _times(dense["time"], linear["time"], "faster", "slower", "as fast")
            place = f"{variant}, {similarity}, {part} at {both[-1]}x{both[-1]}"
            lines.append(f"{place}: linear against dense takes {memory} and is {time}.")
    return lines


def _times(dense: float, linear: float, better: str, worse: str, even: str) -> str:
    if not (dense > 0 and linear > 0):
        return "too little to be compared"
    ratio = max(dense / linear, linear / dense)
    if ratio < _EVEN:
        return even
    return f"{ratio:,.{0 if ratio >= 100 else 1 if ratio >= 10 else 2}f} times {better if dense > linear else worse}"
