"""Holds what purify exports against those who read it; run by interop.sh.

`readers`: datasets, polars, duckdb, pyarrow, anthropic and atif; jsonschema and OpenLineage's client for reports. `trl`: its SFT, DPO and KTO trainers, on the CPU with a tiny random
checkpoint. `verl`: its multi-turn SFT data set.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

PURIFY, PART = sys.argv[1:3]
ROLLOUTS = Path("fixtures/rollouts/all.parquet")
FORMATS = Path("fixtures/formats")
MODEL = Path("fixtures/models/tiny-qwen3")
TOKENIZER, TEMPLATE = Path("fixtures/models/bytes/tokenizer.json"), Path("fixtures/models/chat_template.jinja")


def run(*command):
    done = subprocess.run([str(c) for c in (PURIFY, *command)], capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.stderr}"
    return json.loads(done.stdout.splitlines()[-1])


def said(what, fact):
    print(f"{what}: {fact}")


def exports(folder):
    """The rollouts of the fixtures in every form; (name, path)."""
    run("--in", ROLLOUTS, "--out", folder / "hub", "--to", "folder")
    run("--in", ROLLOUTS, "--out", folder / "p.parquet", "--pairs")
    targets = ["trl-sft", "trl-dpo", "trl-kto", "verl-sft", "openai", "anthropic"]
    return {target: Path(run("export", folder / "p.parquet", "--to", target)["outputs"][0]) for target in targets}


def native(path):
    return pq.read_table(path).to_pylist()


def read_everywhere(folder, files):
    import datasets
    import duckdb
    import polars

    for config in ["rl", "sft", "dpo", "audit"]:
        loaded = datasets.load_dataset(str(folder / "hub"), config, split="train", cache_dir=str(folder / "cache"))
        rows = pq.read_metadata(next((folder / "hub" / {"rl": "data"}.get(config, config)).glob("*.parquet"))).num_rows
        assert loaded.num_rows == rows > 0, config
        loaded[0]
        said(f"datasets, configuration {config}", f"{loaded.num_rows} rows, columns {', '.join(loaded.column_names[:6])} ...")
    sft = datasets.load_dataset(str(folder / "hub"), "sft", split="train", cache_dir=str(folder / "cache"))
    calls = [call for row in sft for message in row["messages"] for call in message.get("tool_calls") or []]
    objects = sum(isinstance(call["function"]["arguments"], dict) for call in calls)
    assert objects > 0, "arguments are decoded to objects"
    said("datasets, arguments of calls", f"{objects} of {len(calls)} objects, the others are no JSON objects")
    for target, path in files.items():
        if target == "anthropic":
            continue
        if target == "openai":
            lines = [json.loads(line) for line in path.read_text().splitlines()]
            assert all(isinstance(line["messages"], list) for line in lines)
            loaded = datasets.load_dataset("json", data_files=str(path), split="train", cache_dir=str(folder / "cache"))
            assert loaded.num_rows == len(lines)
            said("openai, as JSON lines", f"{len(lines)} lines; datasets and polars: {polars.read_ndjson(path, infer_schema_length=None).height} rows")
            continue
        arrow, frame = pq.read_table(path), polars.read_parquet(path)
        count = duckdb.sql(f"select count(*) from read_parquet('{path}')").fetchall()[0][0]
        assert arrow.num_rows == frame.height == count > 0, target
        said(target, f"{count} rows in pyarrow, polars and duckdb alike")


def texts_are_kept(folder, files):
    """What was written stands in each form byte for byte."""
    # A rollout without messages is rejected: no trainer takes it.
    rows = [row for row in native(folder / "p.parquet") if row["messages"]]
    openai = [json.loads(line)["messages"] for line in files["openai"].read_text().splitlines()]
    verl = native(files["verl-sft"])
    checked = 0
    for row, lines, turns in zip(rows, openai, verl, strict=True):
        text = "".join(turn["content"] for turn in turns["messages"])
        for message, line in zip(row["messages"], lines, strict=True):
            # An assistant may say nothing; all others say at least an empty text.
            content = message["content"] if message["role"] == "assistant" else message["content"] or ""
            assert line["content"] == content and (content or "") in text
            for call, other in zip(message.get("tool_calls") or [], line.get("tool_calls") or [], strict=True):
                assert call["function"]["arguments"] == other["function"]["arguments"]
                assert call["function"]["arguments"] in text
                checked += 1
    said("argument strings in openai and verl-sft, byte for byte", checked)


def anthropic(folder, files):
    """Anthropic's own types take every line, and what came from them goes back to them."""
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from pydantic import TypeAdapter

    takes = TypeAdapter(MessageCreateParamsNonStreaming).validate_python
    given = FORMATS / "anthropic.jsonl"
    run("--in", given, "--out", folder / "anthropic.parquet", "--repair-probability", "0", "--to", "anthropic")
    (back,) = [json.loads(line) for line in (folder / "anthropic.anthropic.jsonl").read_text().splitlines()]
    (before,) = [json.loads(line) for line in given.read_text().splitlines()]
    blocks = [(before["messages"], back["messages"]), (before["system"], back["system"])]
    # A message of one block of text is the text.
    plain = lambda m: {**m, "content": m["content"][0]["text"]} if isinstance(m["content"], list) and [b["type"] for b in m["content"]] == ["text"] else m
    assert [plain(m) for m in blocks[0][0]] == [plain(m) for m in blocks[0][1]] and blocks[1][0] == blocks[1][1]
    lines = [json.loads(line) for line in files["anthropic"].read_text().splitlines()]
    assert lines
    for line in [*lines, back]:
        takes({"model": "any", "max_tokens": 1, **line})
    said("anthropic's types", f"{len(lines)} lines, and the fixture's own blocks come back")


def atif(folder):
    """The atif package takes the trajectory that purify reads, and counts what purify counts."""
    from atif import Trajectory

    path = FORMATS / "atif" / "agent" / "trajectory.json"
    trajectory = Trajectory.model_validate_json(path.read_text())
    run("--in", FORMATS / "atif", "--out", folder / "atif.parquet", "--repair-probability", "0", "--tokens", "drop")
    (row,) = native(folder / "atif.parquet")
    agents = [step for step in trajectory.steps if step.source == "agent"]
    results = [r for step in trajectory.steps if step.observation for r in step.observation.results]
    roles = [m["role"] for m in row["messages"]]
    assert roles.count("assistant") == len(agents) and roles.count("tool") == len(results)
    arguments = [c["function"]["arguments"] for m in row["messages"] for c in m["tool_calls"] or []]
    assert [json.loads(a) for a in arguments] == [c.arguments for s in agents for c in s.tool_calls or []]
    said("atif", f"{len(trajectory.steps)} steps, {len(arguments)} calls and {len(results)} results alike in {path}")


def records(folder):
    """The audit's report as its schema says, and lineage as OpenLineage's own client takes it."""
    import check_lineage
    import jsonschema

    raw, events = Path("fixtures/audit/raw.parquet"), folder / "events.jsonl"
    run("--in", raw, "--out", folder / "a.parquet", "--pairs", "--call-marker-ids", "7", "--openlineage", events)
    schema = json.loads(Path("schemas/audit.json").read_text())
    for purified in [[], [folder / "a.parquet"]]:
        run("audit", raw, *purified, "--call-marker-ids", "7", "--json", folder / "a.json", "--openlineage", events)
        jsonschema.validate(json.loads((folder / "a.json").read_text()), schema)
    said("jsonschema", "two reports are what schemas/audit.json says")
    said("openlineage-python", f"{check_lineage.check_all(events)} events are what it takes")


def trained(trainer, steps):
    trainer.train()
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert trainer.state.global_step == steps and len(losses) == steps, losses
    return ", ".join(f"{loss:.4f}" for loss in losses)


def bytes_tokenizer():
    from transformers import PreTrainedTokenizerFast

    tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(TOKENIZER), eos_token="<|im_end|>", pad_token="<|im_end|>")
    tokenizer.chat_template = TEMPLATE.read_text()
    return tokenizer


def trl(folder, files):
    import torch
    from datasets import load_dataset
    from transformers import AutoModelForCausalLM
    from trl import DPOConfig, DPOTrainer, KTOConfig, KTOTrainer, SFTConfig, SFTTrainer

    tokenizer = bytes_tokenizer()
    model = lambda: AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    load = lambda path: load_dataset("parquet", data_files=str(path), split="train", cache_dir=str(folder / "cache"))
    common = dict(max_steps=2, logging_steps=1, per_device_train_batch_size=2, report_to=[], use_cpu=True, save_strategy="no", max_length=512)
    sft = SFTTrainer(model(), SFTConfig(str(folder / "o1"), **common), train_dataset=load(files["trl-sft"]), processing_class=tokenizer)
    said("TRL SFTTrainer on messages, losses of two steps", trained(sft, 2))
    ids = sft.train_dataset[0]["input_ids"]
    assert "prime" in tokenizer.decode(ids) or len(ids) > 20
    tokens = folder / "tokens.parquet"
    run("export", write_tokens(folder), "--to", "trl-sft", "--out", tokens)
    assert pq.read_schema(tokens).names[-2:] == ["input_ids", "labels"]
    sft = SFTTrainer(model(), SFTConfig(str(folder / "o2"), **common), train_dataset=load(tokens), processing_class=tokenizer)
    said("TRL SFTTrainer on input_ids and labels, losses of two steps", trained(sft, 2))
    assert sft.train_dataset[0]["labels"] == load(tokens)[0]["labels"], "labels are used as they are"
    dpo = DPOTrainer(model(), args=DPOConfig(str(folder / "o3"), **common), train_dataset=load(files["trl-dpo"]), processing_class=tokenizer)
    said("TRL DPOTrainer, losses of two steps", trained(dpo, 2))
    kto = KTOTrainer(model(), args=KTOConfig(str(folder / "o4"), **common), train_dataset=load(files["trl-kto"]), processing_class=tokenizer)
    said("TRL KTOTrainer, losses of two steps", trained(kto, 2))


def write_tokens(folder):
    import pyarrow as pa

    rows = json.loads((MODEL / "golden.json").read_text())["rows"]
    ints = lambda name, kind: pa.array([row[name] for row in rows], pa.list_(kind))
    path = folder / "token_rows.parquet"
    pq.write_table(pa.table({
        "rollout_id": [row["rollout_id"] for row in rows],
        "prompt_ids": ints("prompt_ids", pa.int32()),
        "response_ids": ints("response_ids", pa.int32()),
        "response_mask": ints("response_mask", pa.int8()),
    }), path)
    return path


def verl(files):
    from omegaconf import OmegaConf
    from verl.utils.dataset.multiturn_sft_dataset import MultiTurnSFTDataset

    tokenizer = bytes_tokenizer()
    config = OmegaConf.create({"max_length": 8192, "truncation": "error", "pad_mode": "no_padding", "ignore_input_ids_mismatch": True})
    data = MultiTurnSFTDataset(str(files["verl-sft"]), tokenizer, config)
    # Each message is rendered alone, so that a template which looks at its neighbours may differ; ours does.
    learnt = total = 0
    for k in range(len(data)):
        row = data[k]
        learnt += int(row["loss_mask"].sum())
        total += len(row["input_ids"])
    assert 0 < learnt < total
    said("verl MultiTurnSFTDataset", f"{len(data)} rows, {total} tokens, {learnt} of them in the loss")


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    files = exports(folder)
    if PART == "readers":
        read_everywhere(folder, files)
        texts_are_kept(folder, files)
        anthropic(folder, files)
        atif(folder)
        records(folder)
    elif PART == "trl":
        trl(folder, files)
    else:
        verl(files)
print(f"{PART}: all of it holds")
