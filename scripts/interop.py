"""Holds trained weights against PEFT and transformers; run by interop.sh."""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

PURIFY, LOGITS = sys.argv[1:3]
MODELS = Path("fixtures/models")
BOUND = 1e-3


def run(*command):
    done = subprocess.run([str(c) for c in command], check=True, capture_output=True, text=True)
    return done.stdout


def ours(model, ids, adapter=None):
    extra = ["--adapter", adapter] if adapter else []
    return torch.tensor(json.loads(run(LOGITS, model, *extra, *ids)))


def theirs(model, ids):
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0, -1].float()


def check(what, a, b):
    worst = (a - b).abs().max().item()
    print(f"{what}: logits differ by at most {worst:.1e}")
    assert worst < BOUND, what


def write_rows(golden, path):
    rows = golden["rows"]
    ints = lambda name, kind: pa.array([row[name] for row in rows], pa.list_(kind))
    pq.write_table(pa.table({
        "rollout_id": [row["rollout_id"] for row in rows],
        "prompt_ids": ints("prompt_ids", pa.int32()),
        "response_ids": ints("response_ids", pa.int32()),
        "response_mask": ints("response_mask", pa.int8()),
    }), path)


def tiny(name, folder):
    model = MODELS / name
    golden = json.loads((model / "golden.json").read_text())
    ids = golden["probe"]["input_ids"]
    write_rows(golden, folder / "rows.parquet")
    common = [PURIFY, "train", "-q", "--model", model, "--data", folder / "rows.parquet", "--objective", "sft", "--warmup",
              "0", "--learning-rate", "1e-2", "--updates", "5"]
    run(*common, "--lora-rank", "4", "--merge", "--out", folder / "adapter")
    run(*common, "--full", "--out", folder / "full")
    start = theirs(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), ids)
    adapted = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32), folder / "adapter")
    found = theirs(adapted, ids)
    assert (found - start).abs().max() > 100 * BOUND, "training moved nothing"
    check(f"{name}, adapter in PEFT", ours(model, ids, folder / "adapter"), found)
    merged = AutoModelForCausalLM.from_pretrained(folder / "adapter" / "merged")
    check(f"{name}, merged in transformers", ours(model, ids, folder / "adapter"), theirs(merged, ids))
    full = AutoModelForCausalLM.from_pretrained(folder / "full")
    check(f"{name}, full in transformers", ours(folder / "full", ids), theirs(full, ids))


def smollm(path, folder):
    text = "Say 12345 in words, it's café\n\tOK?"
    model = AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name, dtype=torch.float32)
    # What we write for it reads like any other model's folder.
    write_rows(json.loads((MODELS / "tiny-llama" / "golden.json").read_text()), folder / "rows.parquet")
    run(PURIFY, "train", "-q", "--full", "--model", path, "--data", folder / "rows.parquet", "--objective", "sft",
        "--learning-rate", "0", "--updates", "1", "--save-every", "0", "--out", folder / "smollm")
    tokenizer = AutoTokenizer.from_pretrained(folder / "smollm")
    messages = [{"role": "user", "content": text}]
    rendered = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    ids = json.loads(run(LOGITS, path, "--text", text))
    # llama.cpp's list of merges through transformers' own reader, digit by digit as SmolLM's tokenizer has it.
    reader = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    assert reader.decode(ids) == rendered == tokenizer.decode(ids), (reader.decode(ids), rendered)
    assert tokenizer(rendered, add_special_tokens=False)["input_ids"] == ids
    digits = [tokenizer.decode([i]) for i in ids if tokenizer.decode([i]).strip().isdigit()]
    assert digits == list("12345"), digits
    check("SmolLM2-135M, GGUF in transformers", ours(path, ids), theirs(model, ids))
    written = AutoModelForCausalLM.from_pretrained(folder / "smollm")
    check("SmolLM2-135M, written as safetensors", ours(path, ids), theirs(written, ids))


for name in ["tiny-qwen3", "tiny-qwen2", "tiny-llama"]:
    with tempfile.TemporaryDirectory() as folder:
        tiny(name, Path(folder))
gguf = Path("models/smollm2-135m.gguf")
if gguf.exists():
    with tempfile.TemporaryDirectory() as folder:
        smollm(gguf, Path(folder))
else:
    print("*** SKIPPED: scripts/fetch_models.sh fetches SmolLM2 ***")
print("all agree")
