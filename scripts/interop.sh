#!/usr/bin/env bash
# Shows with the real libraries that what purify writes is read by those who come after it.
#
#   readers   exports in datasets, polars, duckdb and pyarrow; ATIF in the package atif, Anthropic's messages in its types; an audit's report and lineage events in
#             jsonschema and OpenLineage's client (light: .ci/run runs this part)
#   trl       TRL's SFT, DPO and KTO trainers, two steps each on a tiny checkpoint
#   verl      verl's multi-turn SFT data set
#   weights   what `purify train` writes: PEFT loads the adapter, transformers the full and the merged weights, and PyTorch's
#             logits agree with ours within 1e-3; a GGUF file means the same to both sides
#
# Without arguments: all of them. Each part makes its own Python environment in .venv-interop/ (trl, verl and weights need
# several GB), or uses the python that PYTHON names. PURIFY names a program that is built already. With models/ filled by
# scripts/fetch_models.sh the real small model is checked as well. Exits with 75 where no environment can be made.
set -euo pipefail
cd "$(dirname "$0")/.."
target="${CARGO_TARGET_DIR:-target}/release"

declare -A packages=(
  [readers]="datasets polars duckdb pyarrow atif anthropic jsonschema openlineage-python"
  [trl]="trl torch transformers datasets pyarrow"
  [verl]="verl pyarrow"
  [weights]="torch transformers peft gguf pyarrow"
)

python_of() {
  local python="${PYTHON:-.venv-interop/$1/bin/python}"
  # An environment that was made for another list of packages is made again.
  local made=".venv-interop/$1/packages"
  if [ -z "${PYTHON:-}" ] && [ "$(cat "$made" 2>/dev/null)" != "${packages[$1]}" ]; then
    rm -rf ".venv-interop/$1"
    # shellcheck disable=SC2086
    { python3 -m venv ".venv-interop/$1" && "$python" -m pip install --quiet --disable-pip-version-check ${packages[$1]} &&
      echo "${packages[$1]}" >"$made"; } >&2 || {
      rm -rf ".venv-interop/$1"
      echo "*** SKIPPED: no Python environment with ${packages[$1]} can be made here ***" >&2
      exit 75
    }
  fi
  echo "$python"
}

parts=("$@")
[ ${#parts[@]} -gt 0 ] || parts=(readers trl verl weights)
for part in "${parts[@]}"; do
  python=$(python_of "$part")
  if [ "$part" = weights ]; then
    cargo build --release --locked --features full --bin purify --example logits
    "$python" scripts/interop.py "$target/purify" "$target/examples/logits"
  else
    [ -n "${PURIFY:-}" ] || cargo build --release --locked --bin purify
    "$python" scripts/interop_exports.py "${PURIFY:-$target/purify}" "$part"
  fi
done
