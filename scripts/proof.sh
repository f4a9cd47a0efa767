#!/usr/bin/env bash
# Trains a small policy under every treatment, with real Python as the tool, and writes tables, plots and raw results.
#
#   scripts/proof.sh            the whole: a sweep of the learning rate, nine arms, two regimes, five seeds, two starts
#   scripts/proof.sh --quick    two arms, one seed, few updates
#   scripts/proof.sh --arms raw,saar --seeds 0,1 --updates 60 --hours 1 --regimes cheap,dear --starts harmful,harmless
#   scripts/proof.sh --report   tables and plots of what is kept
#
# What is finished is kept in target/proof (or --out DIR): a run that was stopped, or that used up its hours, goes on where it was.
# Needs Rust and python3, and nothing else. FEATURES names cargo features, and PROFILE the profile, that are built already.
set -euo pipefail
cd "$(dirname "$0")/.."
# Arms are trained side by side, each on one core; candle would split every product over all of them.
export RAYON_NUM_THREADS="${RAYON_NUM_THREADS:-1}"
exec cargo run --locked --quiet --profile "${PROFILE:-release}" --features "${FEATURES:-train}" --example proof -- "$@"
