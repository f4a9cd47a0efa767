#!/usr/bin/env bash
# The whole way with a small real model on the CPU: purify the fixtures, score them, train SmolLM2-135M on them, as an
# adapter and with every weight. Shows what each command says; results go to demo/smollm. A few minutes on two cores.
set -euo pipefail
cd "$(dirname "$0")/.."
scripts/fetch_models.sh > /dev/null
cargo build --release --locked --features full --bin purify
purify="${CARGO_TARGET_DIR:-target}/release/purify"
model=models/smollm2-135m.gguf
out=demo/smollm
rm -rf "$out"
mkdir -p "$out"
run() { printf '\n$ purify'; printf ' %s' "$@"; printf '\n'; "$purify" "$@" > "$out/last.json"; }

run --in fixtures/rollouts/all.parquet --out "$out/purified.parquet"
run score --in "$out/purified.parquet" --raw fixtures/rollouts/all.parquet --model "$model" --out "$out/scored.parquet"
settings=(--model "$model" --data "$out/purified.parquet" --objective sft --on-bad-row skip --batch-rollouts 8 --updates 20 --warmup 2)
run train "${settings[@]}" --lora-rank 16 --learning-rate 5e-4 --out "$out/adapter"
run train "${settings[@]}" --full --learning-rate 2e-5 --save-every 0 --out "$out/full"
run score --in "$out/purified.parquet" --model "$model" --adapter "$out/adapter" --out "$out/after.parquet"
for kind in adapter full; do
  python3 - "$out/$kind/metrics.jsonl" "$kind" <<'PYTHON'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
show = ", ".join(f"{line['loss']:.3f}" for line in lines[::4] + lines[-1:])
print(f"{sys.argv[2]}: loss {show}; {sum(l['tokens'] for l in lines) / sum(l['seconds'] for l in lines):.0f} tokens/s")
PYTHON
done
