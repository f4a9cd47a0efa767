#!/usr/bin/env python3
"""Makes the two large files of scripts/compare_baseline.sh out of the fixtures. Needs pyarrow.

usage: make_bench_data.py light|heavy ROWS OUT.parquet

light: the conversations of fixtures/rollouts with new ids and numbers, one in eleven with a failure. Every text is
made unique, as sampled text is; nothing is left for a dictionary to find.
heavy: rollouts as RL makes them, 3 to 8 calls of 500 to 4,000 characters, 45% of which fail at first; a correction
changes a few lines of the call, or (one in four) half of them. The calls are stretches of Python's own library.
Written as pyarrow writes by default but for zstd. Seeded: the same arguments give the same file.
"""
import json
import os
import pathlib
import random
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parent.parent
FOLDER = ROOT / "fixtures" / "rollouts"
SCHEMA = pq.read_schema(FOLDER / "all.parquet")
BATCH = 2000


def load(*names):
    return [json.loads(line) for name in names for line in open(FOLDER / f"{name}.jsonl", encoding="utf-8")]


WORDS = "count total items value result index table query price order user city date score batch token state graph node edge".split()


def name(rng):
    return f"{rng.choice(WORDS)}_{rng.choice(WORDS)}_{rng.randrange(1000)}"


def code_line(rng):
    a, b, n = name(rng), name(rng), rng.randrange(10_000)
    return rng.choice([
        f"{a} = [{b}[k] * {n} for k in range(len({b}))]",
        f"for {a} in sorted({b}.items(), key=lambda pair: pair[{n % 7}]):",
        f"    {a}.append(({b}, {n}))",
        f"if {a} is None or {a} > {n}:",
        f"    print(f\"{{{a}:.{n % 9}f}} of {{{b}}}\")",
        f"{a} = {b}.groupby(\"{name(rng)}\").sum().reset_index()",
        f"assert {a} == {n}, \"unexpected {b}\"",
        f"# {b} holds the {a} of run {n}",
    ])


def prose(rng, sentences):
    return " ".join(f"I use {name(rng)} to get the {rng.choice(WORDS)} of {name(rng)}, which should be near {rng.randrange(9999)}."
                    for _ in range(sentences))


def light_row(rng, k, good, failing):
    base = rng.choice(failing if k % 11 == 0 else good)
    row = {**base, "rollout_id": f"light-{k}", "group_id": f"task-{k // 8}", "reward": float(k % 2)}
    messages = []
    for m in base["messages"]:
        m = dict(m)
        if m["role"] == "user":
            m["content"] = f"{m['content']} {prose(rng, 2)}"
        elif m["role"] == "assistant":
            m["content"] = f"{m['content'] or ''} {prose(rng, 3)}"
        elif m["role"] == "tool":
            m["content"] = "\n".join(f"{name(rng)}\t{rng.random():.6f}" for _ in range(12)) + "\n" + m["content"]
        messages.append(m)
    return {**row, "messages": messages}


def library_lines():
    """Real code to cut calls from: the modules of this Python's own library, in order of name."""
    folder = pathlib.Path(os.__file__).parent
    return [path.read_text(encoding="utf-8", errors="replace").splitlines() for path in sorted(folder.glob("*.py"))]


def cut(rng, module, size):
    """About `size` characters of whole lines, with one name changed, so that no two calls are the same text."""
    at, lines = rng.randrange(max(1, len(module) - 20)), []
    while sum(map(len, lines)) + len(lines) < size:
        lines.append(module[at % len(module)])
        at += 1
    return [line.replace("self", name(rng)) if rng.random() < 0.05 else line for line in lines]


def heavy_row(rng, k, modules):
    messages = [{"role": "user", "content": prose(rng, 4)}]
    # The rollouts of one task resemble each other: they work on the same code.
    module = modules[(k // 8) % len(modules)]

    def attempt(lines, result):
        messages.append({"role": "assistant", "content": prose(rng, 2), "tool_calls": [{
            "id": f"call_{len(messages)}", "type": "function",
            "function": {"name": "python", "arguments": json.dumps({"code": "\n".join(lines)})}}]})
        messages.append({"role": "tool", "content": result, "tool_call_id": f"call_{len(messages) - 1}"})

    for _ in range(rng.randrange(3, 9)):
        lines = cut(rng, module, rng.randrange(500, 4000))
        if rng.random() < 0.45:
            broken = list(lines)
            share = 0.5 if rng.random() < 0.25 else 0.08
            for at in rng.sample(range(len(lines)), max(1, int(share * len(lines)))):
                broken[at] = code_line(rng)
            attempt(broken, f"Traceback (most recent call last):\n  File \"<string>\", line {rng.randrange(1, 40)}, in <module>\n"
                            f"NameError: name '{name(rng)}' is not defined")
        attempt(lines, "\n".join(f"{name(rng)}\t{rng.random():.6f}" for _ in range(rng.randrange(2, 12))))
    messages.append({"role": "assistant", "content": prose(rng, 2)})
    return {"rollout_id": f"heavy-{k}", "group_id": f"task-{k // 8}", "messages": messages, "tools": None, "reward": float(k % 2)}


def main():
    kind, rows, out = sys.argv[1], int(sys.argv[2]), sys.argv[3]
    rng = random.Random(f"{kind}-1")
    good = load("no_failure", "hard_negatives")
    failing = load("one_failure_shallow", "one_failure_deep", "two_failures_then_success", "talk_between", "two_runs")
    modules = [lines for lines in library_lines() if len(lines) > 200] if kind == "heavy" else []
    tables = []
    for start in range(0, rows, BATCH):
        make = (lambda k: light_row(rng, k, good, failing)) if kind == "light" else (lambda k: heavy_row(rng, k, modules))
        tables.append(pa.Table.from_pylist([make(k) for k in range(start, min(rows, start + BATCH))], schema=SCHEMA))
    table = pa.concat_tables(tables)
    pq.write_table(table, out, compression="zstd")
    print(f"{out}: {rows} rollouts, {table.nbytes / 1e6:.0f} MB in memory, {pathlib.Path(out).stat().st_size / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    main()
