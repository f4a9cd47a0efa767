#!/usr/bin/env bash
# Opens the HTML report, and the page of compared recipes, in a real browser, headless: whether it works, how fast it opens, and that no text from data runs.
#
# usage: scripts/test_report.sh [SCREENSHOTS]
#
# FEATURES names cargo features, to use a build that is there; UNTIMED=1 only prints times. Needs Debian's chromium (or CHROMIUM names one), node and npm; playwright-core comes from npm into .venv-report/. Pictures
# are kept where SCREENSHOTS names a folder. Exits with 75 where no browser can be had.
set -euo pipefail
cd "$(dirname "$0")/.."
chromium=${CHROMIUM:-$(command -v chromium || true)}
skip() { echo "*** SKIPPED: $1 ***" >&2; exit 75; }
[ -n "$chromium" ] && command -v node >/dev/null || skip "no chromium or no node; apt-get install chromium nodejs npm"
if [ ! -d .venv-report/node_modules/playwright-core ]; then
  npm install --silent --no-save --prefix .venv-report playwright-core@1 >&2 || skip "playwright-core can't be had"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/purify-report.XXXXXX")
trap 'rm -rf "$work"' EXIT
cargo build --locked ${FEATURES:+--features "$FEATURES"} --bin purify --example report_page
built="${CARGO_TARGET_DIR:-target}/debug"
page="$built/examples/report_page"
"$page" 0 >"$work/none.html"
"$page" 1234 >"$work/some.html"
"$page" 100000 >"$work/many.html"
"$page" --texts fixtures/injections.json >"$work/texts.html"
# The same texts as rollouts, by way of the program.
node scripts/test_report.cjs --rollouts fixtures/injections.json >"$work/wild.jsonl"
"$built/purify" --quiet --in "$work/wild.jsonl" --out "$work/wild.parquet" >"$work/run.json"
"$built/purify" audit "$work/wild.jsonl" "$work/wild.parquet" --html "$work/wild.html" --quiet >"$work/audit.json"
# Recipes compared by the tiny model of the fixtures, where the build can; names of files try to become tags.
case ",${FEATURES:-}," in
  *,full,* | *,train,*)
    tag='<img src=x onerror="window.pwned=1">'
    mkdir "$work/$tag"
    cp fixtures/rollouts/all.parquet "$work/$tag.parquet"
    cp fixtures/models/tiny-qwen3/model.safetensors fixtures/models/bytes/tokenizer.json fixtures/models/chat_template.jinja "$work/$tag"
    sed 's/"max_position_embeddings": [0-9]*/"max_position_embeddings": 16384/' fixtures/models/tiny-qwen3/config.json >"$work/$tag/config.json"
    "$built/purify" compare --quiet --in "$work/$tag.parquet" --model "$work/$tag" --recipes raw,saar-positive,sign-gate --updates 2 --out "$work/compare" >"$work/compare.json"
    ;;
esac
NODE_PATH=.venv-report/node_modules node scripts/test_report.cjs "$chromium" "$work" "${1:-$work}"
