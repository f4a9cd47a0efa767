#!/usr/bin/env bash
# Shows that what purify trains is read by those who come after it: PEFT loads the adapter, transformers the full and the
# merged weights, and PyTorch's logits agree with ours within 1e-3; and that a GGUF file means the same to both sides.
#
# Makes a Python environment in .venv-interop (several GB: torch, transformers, peft, gguf), or uses the one whose python
# is named in PYTHON. With models/ filled by scripts/fetch_models.sh the real small model is checked as well.
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${PYTHON:-}" ]; then
  PYTHON=.venv-interop/bin/python
  if [ ! -x "$PYTHON" ]; then
    python3 -m venv .venv-interop
    "$PYTHON" -m pip install --quiet --disable-pip-version-check torch transformers peft gguf pyarrow
  fi
fi
cargo build --release --locked --features full --bin purify --example logits
target="${CARGO_TARGET_DIR:-target}/release"
"$PYTHON" scripts/interop.py "$target/purify" "$target/examples/logits"
