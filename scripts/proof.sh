#!/usr/bin/env bash
# Trains a small policy under every treatment, with real Python as the tool, and writes tables, plots and raw results.
#
#   scripts/proof.sh [--quick | --arms raw,saar --seeds 0,1 --updates 60 --hours 1] [--regimes cheap,dear] [--starts harmful,harmless]
#
# What is finished is kept in target/proof (or --out DIR): a run that was stopped, or that used up its hours, goes on where it was.
# Needs Rust and python3, and nothing else. FEATURES names cargo features that are built already.
set -euo pipefail
cd "$(dirname "$0")/.."
# candle counts the cores for every product otherwise.
export RAYON_NUM_THREADS="${RAYON_NUM_THREADS:-$(nproc)}"
exec cargo run --locked --quiet --features "${FEATURES:-train}" --example proof -- "$@"
