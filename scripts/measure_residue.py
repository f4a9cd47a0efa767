#!/usr/bin/env python3
"""Precision and recall of the residue guard on hand-labelled repairs of real rollouts. Needs pyarrow.

usage: measure_residue.py PURIFY FOLDER [--show]

PURIFY is the program, FOLDER holds the files that fixtures/reference/residue_labels.csv names (they are not part of this
repository). A label says whether text that stays after a repair by the paper's rule (the reasoning of the purified step, its call,
the reasoning of the message directly behind it) speaks of an error or attempt that is no longer there. Labels were given
by reading, before the guard was run; its wordings were tuned on one half and are reported on both.
"""
import collections
import csv
import pathlib
import subprocess
import sys
import tempfile

import pyarrow.parquet as pq

LABELS = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "reference" / "residue_labels.csv"


def repairs(purify, path, out):
    subprocess.run([purify, "--quiet", "--profile", "saar", "--in", path, "--out", out], check=True, stdout=subprocess.DEVNULL)
    return [row["repairs"] for row in pq.read_table(out, columns=["purification"])["purification"].to_pylist()]


def main():
    purify, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    with open(LABELS, encoding="utf-8") as file:
        labels = list(csv.DictReader(file))
    with tempfile.TemporaryDirectory() as place:
        found = {name: repairs(purify, folder / name, pathlib.Path(place) / f"{name}.parquet") for name in {r["file"] for r in labels}}
    counts, gone = collections.defaultdict(collections.Counter), 0
    for number, row in enumerate(labels):
        made = found[row["file"]][int(row["row"])]
        # What counts as an error has changed since the labels were given.
        if int(row["repair"]) >= len(made):
            gone += 1
            continue
        is_found = made[int(row["repair"])]["residue"]
        is_labelled = row["residue"] == "1"
        outcome = {(True, True): "both", (True, False): "guard only", (False, True): "label only"}
        outcome = outcome.get((is_found, is_labelled), "neither")
        for part in (row["half"], "all", row["file"].removesuffix(".parquet")):
            counts[part][outcome] += 1
        if "--show" in sys.argv and outcome.endswith("only"):
            print(number, outcome, row)
    print(f"{gone} labelled repairs are not made any more")
    print("| part | repairs | residue | both | guard only | label only | precision | recall |")
    for part, count in counts.items():
        both, guard, label = count["both"], count["guard only"], count["label only"]
        share = lambda whole: f"{both / whole:.3f}" if whole else "-"
        print(f"| {part} | {count.total()} | {both + label} | {both} | {guard} | {label} | {share(both + guard)} | {share(both + label)} |")


main()
