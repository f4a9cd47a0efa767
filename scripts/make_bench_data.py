#!/usr/bin/env python3
"""Makes the large files of scripts/compare_baseline.sh out of the fixtures. Needs pyarrow.

usage: make_bench_data.py light|heavy|agents ROWS OUT.parquet

light: the conversations of fixtures/rollouts with new ids and numbers, one in eleven with a failure. Every text is
made unique, as sampled text is; nothing is left for a dictionary to find.
heavy: rollouts as RL makes them, 3 to 8 calls of 500 to 4,000 characters, 45% of which fail at first; a correction
changes a few lines of the call, or (one in four) half of them. Half of the rollouts hold stretches of Python's own library,
the others what a policy writes for a question with numbers: some 2 KB of imports, functions, tables and plots in one session.
agents: 20 to 100 steps of shell, Python and JSON calls, results up to 20 KB, one call in eight fails; of the failures some are
put right at once, some are tests that report a bug, some are left.
Written by pyarrow with zstd, in row groups of some 128 MB. Seeded: the same arguments give the same file.
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
BATCH = 1000
# Bytes of a row group in memory, about what trainers' writers make.
ROW_GROUP = 128 << 20


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


def program(rng, turn):
    """What a policy writes for a question with numbers: some 2 KB that define names and use those of earlier calls."""
    a, b, f, n = name(rng), name(rng), name(rng), rng.randrange(2, 90)
    blocks = [
        ["import numpy as np", "import math", "from collections import Counter, defaultdict", "import matplotlib.pyplot as plt", ""],
        [f"# Step {turn}: the {rng.choice(WORDS)} of every {rng.choice(WORDS)}",
         f"def {f}(values, limit={n}, scale=1.0):",
         f'    """Scales the values that are below the limit and adds them up."""',
         "    total, seen = 0.0, set()", "    for index, value in enumerate(values):",
         "        if value in seen or value > limit:", "            continue", "        seen.add(value)",
         f"        total += scale * math.sqrt(abs(value) + {n}) / (index + 1)",
         "    return total if seen else float('nan')", ""],
        [f"rng = np.random.default_rng({n})", f"{a} = rng.normal(loc={n}, scale=2.5, size=({n}, 3))",
         f"{b} = {{key: {f}({a}[:, key % 3]) for key in range({n})}}",
         f"counts = Counter(round(v) for v in {b}.values())",
         "for key, count in counts.most_common(5):", '    print(f"{key:>6d} {count:>4d}")', ""],
        [f"class State_{turn}:", "    def __init__(self, nodes):", "        self.nodes = list(nodes)",
         "        self.edges = defaultdict(list)", "    def connect(self, first, second, weight=1):",
         "        self.edges[first].append((second, weight))", "        self.edges[second].append((first, weight))",
         "    def degree(self, node):", "        return len(self.edges[node])", "",
         f"state = State_{turn}(range({n}))", f"for node in range({n} - 1):", "    state.connect(node, node + 1, weight=node % 3)",
         f"print(max(state.degree(node) for node in range({n})))", ""],
        ["fig, axes = plt.subplots(1, 2, figsize=(9, 4))", f"axes[0].plot({a}[:, 0], label='first')",
         f"axes[0].plot({a}[:, 1], label='second')", "axes[0].legend()", f"axes[1].hist(list({b}.values()), bins=12)",
         f"axes[1].set_title('{name(rng)}')", "plt.tight_layout()", f"plt.savefig('{name(rng)}.png')", ""],
        ["try:", f"    answer = sum({b}.values()) / len({b})", "except ZeroDivisionError:", "    answer = None",
         f"result_{turn} = [{f}([x * k for x in range(10)]) for k in range({n})]",
         f'print("mean", answer, "last", result_{turn}[-1])'],
    ]
    return [line for block in blocks for line in block]


def listing(rng, size):
    """The output of a command, about `size` characters of it."""
    lines, length = [], 0
    while length < size:
        lines.append(rng.choice([
            f"-rw-r--r-- 1 dev dev {rng.randrange(90_000):>6} Mar {rng.randrange(1, 29):>2} 10:{rng.randrange(60):02} {name(rng)}.py",
            f"src/{name(rng)}.py:{rng.randrange(900)}:    {name(rng)} = {name(rng)}({rng.randrange(99)})",
            f"{rng.randrange(900):>6}\t        return self.{name(rng)}.get({name(rng)!r}, None)",
            f"{name(rng)}\t{rng.random():.6f}\t{rng.randrange(9999)}",
        ]))
        length += len(lines[-1]) + 1
    return "\n".join(lines)


def agents_row(rng, k):
    messages = [{"role": "system", "content": "You work in a container. Use the tools."}, {"role": "user", "content": prose(rng, 6)}]

    def step(tool, arguments, result):
        messages.append({"role": "assistant", "content": prose(rng, 1), "tool_calls": [{
            "id": f"call_{len(messages)}", "type": "function", "function": {"name": tool, "arguments": json.dumps(arguments)}}]})
        messages.append({"role": "tool", "content": result, "tool_call_id": f"call_{len(messages) - 1}"})

    def size():
        return int(min(20_000, 150 * rng.paretovariate(0.9)))

    def good():
        file = f"src/{name(rng)}.py"
        kind = rng.randrange(6)
        if kind == 0:
            step("bash", {"command": f"cd /app && grep -rn {name(rng)} src | head -50"}, listing(rng, size()))
        elif kind == 1:
            step("bash", {"command": f"sed -n '1,200p' {file}"}, listing(rng, size()))
        elif kind == 2:
            step("read_file", {"path": file, "limit": 200}, listing(rng, size()))
        elif kind == 3:
            step("python", {"code": "\n".join(program(rng, len(messages))[:rng.randrange(8, 40)])}, listing(rng, size() // 4))
        elif kind == 4:
            step("get_record", {"id": name(rng), "fields": [rng.choice(WORDS) for _ in range(3)]},
                 json.dumps({"status": "ok", "items": [{w: rng.randrange(999) for w in WORDS[:8]} for _ in range(size() // 120 + 1)]}))
        else:
            step("bash", {"command": f"python -m pytest tests/test_{name(rng)}.py -q"},
                 listing(rng, size() // 4) + f"\n{rng.randrange(1, 90)} passed in {rng.random():.2f}s")

    for _ in range(rng.randrange(20, 101)):
        if rng.random() >= 0.125:
            good()
            continue
        kind, a = rng.randrange(4), name(rng)
        if kind == 0:
            step("bash", {"command": f"cat src/{a}.py | head -40"}, f"cat: src/{a}.py: No such file or directory")
            step("bash", {"command": f"cat lib/{a}.py | head -40"}, listing(rng, size()))
        elif kind == 1:
            lines = program(rng, len(messages))
            step("python", {"code": "\n".join(lines)},
                 f"Traceback (most recent call last):\n  File \"<stdin>\", line 9, in <module>\nNameError: name '{a}' is not defined")
            step("python", {"code": "\n".join([f"{a} = 3", *lines])}, listing(rng, size() // 4))
        elif kind == 2:
            step("bash", {"command": f"python -m pytest tests/test_{a}.py -q"},
                 listing(rng, size()) + f"\nE   AssertionError: assert 3 == 4\nFAILED tests/test_{a}.py::test_{a}\n1 failed, 8 passed in 0.31s")
        else:
            step("get_record", {"id": a}, json.dumps({"status": "error", "message": f"record {a} not found"}))
    messages.append({"role": "assistant", "content": prose(rng, 2)})
    return {"rollout_id": f"agents-{k}", "group_id": f"task-{k // 8}", "messages": messages, "tools": None, "reward": float(rng.random() < 0.5)}


def heavy_row(rng, k, modules):
    messages = [{"role": "user", "content": prose(rng, 4)}]
    # The rollouts of one task resemble each other: they work on the same code.
    module = modules[(k // 8) % len(modules)]

    def attempt(lines, result):
        messages.append({"role": "assistant", "content": prose(rng, 2), "tool_calls": [{
            "id": f"call_{len(messages)}", "type": "function",
            "function": {"name": "python", "arguments": json.dumps({"code": "\n".join(lines)})}}]})
        messages.append({"role": "tool", "content": result, "tool_call_id": f"call_{len(messages) - 1}"})

    written = k // 8 % 2 == 1
    for turn in range(rng.randrange(3, 9)):
        lines = program(rng, turn) if written else cut(rng, module, rng.randrange(500, 4000))
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
    make = {
        "light": lambda k: light_row(rng, k, good, failing),
        "heavy": lambda k: heavy_row(rng, k, modules),
        "agents": lambda k: agents_row(rng, k),
    }[kind]
    held, tables = 0, []
    with pq.ParquetWriter(out, SCHEMA, compression="zstd") as writer:
        for start in range(0, rows, BATCH):
            tables.append(pa.Table.from_pylist([make(k) for k in range(start, min(rows, start + BATCH))], schema=SCHEMA))
            if sum(table.nbytes for table in tables) > ROW_GROUP or start + BATCH >= rows:
                held += sum(table.nbytes for table in tables)
                writer.write_table(pa.concat_tables(tables))
                tables = []
    print(f"{out}: {rows} rollouts, {held / 1e6:.0f} MB in memory, {pathlib.Path(out).stat().st_size / 1e6:.0f} MB on disk")


if __name__ == "__main__":
    main()
