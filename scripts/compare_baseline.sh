#!/usr/bin/env bash
# Times the main job side by side with what a user would pick instead, in one run, and prints ratios.
#
# usage: scripts/compare_baseline.sh [LIGHT_ROWS] [HEAVY_ROWS]
#
# Three programs on the same two files (scripts/make_bench_data.py): this one, a plain pyarrow copy (zstd), and the same
# job in Python (pyarrow + difflib; on the heavy file a slice, scaled). Python's interpreter start and imports are not
# counted, ours is. After them `purify audit` of the light file, beside the main job. Each figure is the median of RUNS runs, the programs in turn. Needs python3 with venv.
set -euo pipefail
cd "$(dirname "$0")/.."
light_rows=${1:-200000} heavy_rows=${2:-20000} slice=${SLICE:-400} runs=${RUNS:-5}
work=$(mktemp -d "${TMPDIR:-/tmp}/purify-compare.XXXXXX")
trap 'rm -rf "$work"' EXIT
[ -x .venv/bin/python ] || python3 -m venv .venv
.venv/bin/python -c 'import pyarrow' 2>/dev/null || .venv/bin/pip install --quiet pyarrow
cargo build --release --quiet
purify="${CARGO_TARGET_DIR:-target}/release/purify"
export work purify light_rows heavy_rows slice runs
.venv/bin/python scripts/make_bench_data.py light "$light_rows" "$work/light.parquet"
.venv/bin/python scripts/make_bench_data.py light "$((light_rows * 10))" "$work/light10.parquet"
.venv/bin/python scripts/make_bench_data.py heavy "$heavy_rows" "$work/heavy.parquet"
exec .venv/bin/python - <<'PY'
import os, resource, statistics, subprocess, sys, time
work, purify = os.environ["work"], os.environ["purify"]
rows, slice_, runs = int(os.environ["heavy_rows"]), int(os.environ["slice"]), int(os.environ["runs"])

def ours(file, *extra):
    start = time.perf_counter()
    subprocess.run([purify, "-q", "--in", f"{work}/{file}.parquet", "--out", f"{work}/ours.parquet", *extra],
                   check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start

def audit(*files):
    start = time.perf_counter()
    subprocess.run([purify, "audit", *(f"{work}/{file}.parquet" for file in files), "-q"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - start

def python(what, file, *extra):
    command = [sys.executable, "scripts/baseline.py", what, f"{work}/{file}.parquet", f"{work}/python.parquet", *map(str, extra)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

def peak_mb(file, *extra):
    """The largest resident set of one run, as the system accounts it."""
    code = ("import resource,subprocess,sys; subprocess.run(sys.argv[1:],check=True,stdout=subprocess.DEVNULL);"
            "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)")
    command = [purify, "-q", "--in", f"{work}/{file}.parquet", "--out", f"{work}/ours.parquet", *extra]
    if file == "audit":
        command = [purify, "audit", f"{work}/light.parquet", f"{work}/ours.parquet", "-q"]
    return int(subprocess.run([sys.executable, "-c", code, *command], check=True, capture_output=True, text=True).stdout) / 1024

def medians(**programs):
    seen = {name: [] for name in programs}
    for name, program in programs.items():
        program()                                         # a warm-up that is not counted
    for _ in range(runs):
        for name, program in programs.items():
            seen[name].append(program())
    return {name: statistics.median(times) for name, times in seen.items()}

light = medians(ours=lambda: ours("light"), copy=lambda: python("copy", "light"), one=lambda: ours("light", "--threads", "1"))
runs_of_python, runs = runs, max(1, runs // 2)
job = medians(python=lambda: python("purify", "light"))["python"]
runs = runs_of_python
heavy = medians(ours=lambda: ours("heavy"), copy=lambda: python("copy", "heavy"), one=lambda: ours("heavy", "--threads", "1"),
                python=lambda: python("purify", "heavy", slice_) * rows / slice_)
# The audit of what the main job has just written, in turn with it.
beside = medians(job=lambda: ours("light"), raw=lambda: audit("light"), both=lambda: audit("light", "ours"))
with open("/proc/cpuinfo") as info:
    cpu = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), "unknown")
print(f"\n{cpu}, {os.cpu_count()} cores, median of {runs} runs")
print(f"{'':8}{'ours':>9}{'copy':>9}{'python':>10}{'ours/copy':>11}{'python/ours':>13}{'1 core/2':>10}")
for name, t, p in [("light", light, job), ("heavy", heavy, heavy["python"])]:
    print(f"{name:8}{t['ours']:>8.2f}s{t['copy']:>8.2f}s{p:>9.1f}s{t['ours'] / t['copy']:>11.2f}{p / t['ours']:>13.1f}{t['one'] / t['ours']:>10.2f}")
print(f"peak memory: light {peak_mb('light'):.0f} MiB, ten times its rows {peak_mb('light10'):.0f} MiB, heavy {peak_mb('heavy'):.0f} MiB")
print(f"audit of light: main job {beside['job']:.2f} s, raw alone {beside['raw']:.2f} s ({beside['raw'] / beside['job']:.2f}), "
      f"both files {beside['both']:.2f} s ({beside['both'] / beside['job']:.2f})", end=", ")
ours("light")
print(f"{peak_mb('audit'):.0f} MiB")
PY
