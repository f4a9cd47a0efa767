#!/usr/bin/env bash
# Brings schemas/ and docs/options.md up to date (--write) or checks it (--check, the default).
set -euo pipefail
cd "$(dirname "$0")/.."
case "${1:---check}" in
  --write) PURIFY_WRITE_SCHEMAS=1 cargo test --quiet --features full --test generated ;;
  --check) cargo test --quiet --features full --test generated ;;
  *) echo "usage: $0 [--write|--check]" >&2; exit 2 ;;
esac
