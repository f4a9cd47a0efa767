#!/usr/bin/env python3
"""Similarity alone against CPython's difflib, pair by pair: bits and times.

usage: compare_similarity.py [PAIRS.jsonl]

PAIRS has `old_call` and `new_call` (the reference's log); without it, the pairs of fixtures/reference are taken. Ours is
run through examples/ratio.rs, on one thread, as is CPython. Exits with 1 if a single bit differs.
"""
import difflib
import json
import math
import os
import pathlib
import struct
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
TARGET = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))


def main():
    path = sys.argv[1] if len(sys.argv) > 1 else ROOT / "fixtures" / "reference" / "ratios.jsonl"
    rows = [json.loads(line) for line in open(path, encoding="utf-8")]
    pairs = [(r.get("old_call", r.get("a")), r.get("new_call", r.get("b"))) for r in rows]
    pairs = [(a, b) for a, b in pairs if a and b]
    subprocess.run(["cargo", "build", "--release", "--quiet", "--example", "ratio"], check=True, cwd=ROOT)
    lines = "".join(json.dumps([a, b, 2000]) + "\n" for a, b in pairs)
    out = subprocess.run([TARGET / "release" / "examples" / "ratio"], input=lines, capture_output=True, text=True, check=True).stdout
    ratios, different = [], 0
    for (a, b), line in zip(pairs, out.splitlines()):
        bits, ours = line.split()
        start, repeats = time.perf_counter(), 20
        for _ in range(repeats):
            ratio = difflib.SequenceMatcher(None, a, b).ratio()
        python = (time.perf_counter() - start) / repeats * 1e9
        different += struct.pack(">d", ratio).hex() != bits
        ratios.append(python / float(ours))
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
    print(f"{len(pairs)} pairs, {different} differ; CPython {sys.version.split()[0]} takes {mean:.0f} times as long "
          f"(geometric mean; least {min(ratios):.0f}, most {max(ratios):.0f})")
    sys.exit(different > 0)


if __name__ == "__main__":
    main()
