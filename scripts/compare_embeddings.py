#!/usr/bin/env python3
"""Vectors and speed of `purify embed` beside what a Python user would take, in one run on one machine.

    scripts/compare_embeddings.py equal ROLLOUTS...     # cosines to onnxruntime and PyTorch with the same weights
    scripts/compare_embeddings.py speed ROLLOUTS...     # the engine beside onnxruntime, with the same batches
    scripts/compare_embeddings.py whole ROLLOUTS...     # the whole command beside a loop of Python's fastembed

Needs models/ (scripts/fetch_models.sh embed), models/minilm-onnx (scripts/export_onnx.py), the release binary with
`--features full`, and torch, transformers, onnxruntime, fastembed, pyarrow, tokenizers.
"""
import argparse
import json
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import tempfile
import time

import numpy as np
import pyarrow.parquet as pq
from tokenizers import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
MODELS = ROOT / "models"
BINARY = pathlib.Path(os.environ.get("PURIFY", ROOT / "target" / "release" / "purify"))
LIMIT = 256
BATCH_TOKENS = 2048
MARKER = "<tool_call>"


def step_texts(paths):
    """All reasoning texts and code arguments of real rollouts, repeats included, in order."""
    for path in paths:
        for messages in pq.read_table(path, columns=["messages"])["messages"].to_pylist():
            for message in messages:
                if message["role"] != "assistant":
                    continue
                yield (message.get("reasoning_content") or "") + (message.get("content") or "")
                for call in message.get("tool_calls") or []:
                    arguments = call["function"]["arguments"]
                    try:
                        parsed = json.loads(arguments)
                        yield next((v for v in parsed.values() if isinstance(v, str)), arguments)
                    except (ValueError, AttributeError):
                        yield arguments


def sample(paths, count):
    """Distinct texts, picked by a seed of their own; none that would be read as a call."""
    distinct = sorted({t for t in step_texts(paths) if t and MARKER not in t})
    return random.Random(0).sample(distinct, min(count, len(distinct)))


def as_rollouts(texts, folder):
    path = pathlib.Path(folder) / "texts.jsonl"
    with open(path, "w") as out:
        for text in texts:
            out.write(json.dumps({"messages": [{"role": "assistant", "content": text}]}) + "\n")
    return path


def embed(source, out, model, *options):
    command = [BINARY, "embed", "--in", source, "--out", out, "--kinds", "reasoning", "--embed-model", model, *options]
    runtime = sorted((MODELS / "onnxruntime").glob("libonnxruntime.so*"))[-1]
    environment = {**os.environ, "ORT_DYLIB_PATH": str(runtime)}
    done = subprocess.run([str(c) for c in command], env=environment, stdout=subprocess.PIPE, check=True, text=True)
    return json.loads(done.stdout)


def vectors(path):
    table = pq.read_table(path)
    values = np.stack(table["embedding"].to_numpy(zero_copy_only=False))
    return dict(zip(table["text_hash"].to_pylist(), values))


def text_hash(text):
    import blake3  # the same hash, from another author

    return blake3.blake3(text.encode()).hexdigest()


def tokenizer():
    found = Tokenizer.from_file(str(MODELS / "minilm" / "tokenizer.json"))
    found.no_padding()
    found.enable_truncation(LIMIT)
    return found


def batches(texts):
    """Longest first, one length a batch, at most BATCH_TOKENS tokens: as purify does it."""
    encoded = [e.ids for e in tokenizer().encode_batch(texts)]
    order = sorted(range(len(texts)), key=lambda k: -len(encoded[k]))
    batch = []
    for k in order:
        length = len(encoded[k])
        if batch and (len(encoded[batch[0]]) != length or (len(batch) + 1) * length > BATCH_TOKENS):
            yield batch, np.array([encoded[j] for j in batch], dtype=np.int64)
            batch = []
        batch.append(k)
    if batch:
        yield batch, np.array([encoded[j] for j in batch], dtype=np.int64)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def by_onnxruntime(path, texts):
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    out = np.empty((len(texts), 384), dtype=np.float32)
    for batch, ids in batches(texts):
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        out[batch] = unit(session.run(None, given)[0].mean(axis=1))
    return out


def by_torch(texts):
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(MODELS / "minilm", attn_implementation="eager").eval()
    out = np.empty((len(texts), 384), dtype=np.float32)
    with torch.no_grad():
        for batch, ids in batches(texts):
            ids = torch.from_numpy(ids)
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
            out[batch] = unit(hidden.mean(1).numpy())
    return out


def equal(paths):
    texts = sample(paths, 1000)
    hashes = [text_hash(t) for t in texts]
    with tempfile.TemporaryDirectory() as folder:
        source = as_rollouts(texts, folder)

        def ours(name, model, *options):
            out = pathlib.Path(folder) / f"{name}.parquet"
            card = embed(source, out, MODELS / model, *options)["model"]
            found = vectors(out)
            return np.stack([found[h] for h in hashes]), out.read_bytes(), card

        cpu = ("--embed-device", "cpu")
        onnx, onnx_bytes, _ = ours("onnx", "minilm-onnx", *cpu)
        _, alone_bytes, _ = ours("alone", "minilm-onnx", *cpu, "--embed-batch-tokens", "1")
        int8, int8_bytes, _ = ours("int8", "minilm-int8", *cpu)
        _, int8_alone, _ = ours("int8alone", "minilm-int8", *cpu, "--embed-batch-tokens", "1")
        candle, candle_bytes, _ = ours("candle", "minilm", *cpu)
        candle_alone, candle_alone_bytes, _ = ours("candlealone", "minilm", *cpu, "--embed-batch-tokens", "1")
        half, _, _ = ours("half", "minilm", *cpu, "--embed-precision", "float16")
    torch_float = by_torch(texts)
    python_float = by_onnxruntime(MODELS / "minilm-onnx" / "model.onnx", texts)
    python_int8 = by_onnxruntime(MODELS / "minilm-int8" / "model.onnx", texts)
    print(f"{len(texts)} texts; cosine: least, mean")
    for name, a, b in [
        ("onnx float32 | Python onnxruntime float32", onnx, python_float),
        ("onnx float32 | PyTorch float32", onnx, torch_float),
        ("candle float32 | PyTorch float32", candle, torch_float),
        ("candle float16 | PyTorch float32", half, torch_float),
        ("onnx int8 | Python onnxruntime int8", int8, python_int8),
        ("onnx int8 | PyTorch float32", int8, torch_float),
        ("candle one by one | in batches", candle_alone, candle),
    ]:
        cosine = (unit(a.astype(np.float64)) * unit(b.astype(np.float64))).sum(axis=1)
        print(f"  {name:<44} {cosine.min():.9f} {cosine.mean():.9f}")
    print("  one by one and in batches, same bytes of the file:")
    print(f"    onnx {onnx_bytes == alone_bytes}, int8 {int8_bytes == int8_alone}, candle {candle_bytes == candle_alone_bytes}")


def speed(paths, count, repeats):
    texts = sample(paths, count)
    ours, python = [], []
    with tempfile.TemporaryDirectory() as folder:
        source = as_rollouts(texts, folder)
        for k in range(repeats):
            out = pathlib.Path(folder) / f"{k}.parquet"
            ours.append(embed(source, out, MODELS / "minilm-onnx", "--embed-device", "cpu")["embedded_per_second"])
            import onnxruntime

            session = onnxruntime.InferenceSession(str(MODELS / "minilm-onnx" / "model.onnx"), providers=["CPUExecutionProvider"])
            started = time.perf_counter()
            for _, ids in batches(texts):
                given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
                unit(session.run(None, given)[0].mean(axis=1))
            python.append(len(texts) / (time.perf_counter() - started))
        out = pathlib.Path(folder) / "candle.parquet"
        candle = embed(source, out, MODELS / "minilm", "--embed-device", "cpu")["embedded_per_second"]
    a, b = statistics.median(ours), statistics.median(python)
    print(f"{len(texts)} texts, batches of {BATCH_TOKENS} tokens of one length, medians of {repeats}, texts/s")
    print(f"  purify, onnx    {a:8.1f}   {[round(x, 1) for x in ours]}")
    print(f"  onnxruntime     {b:8.1f}   {[round(x, 1) for x in python]}")
    print(f"  ratio           {a / b:8.3f}")
    print(f"  purify, candle  {candle:8.1f}")


def whole(paths, slice_of):
    import fastembed
    from fastembed.common.model_description import ModelSource, PoolingType

    with tempfile.TemporaryDirectory() as folder:
        out = pathlib.Path(folder) / "steps.parquet"
        command = [BINARY, "embed", "--in", *paths, "--out", out, "--kinds", "reasoning,code"]
        command += ["--embed-model", MODELS / "minilm-onnx", "--embed-device", "cpu"]
        runtime = sorted((MODELS / "onnxruntime").glob("libonnxruntime.so*"))[-1]
        started = time.perf_counter()
        done = subprocess.run(
            [str(c) for c in command], env={**os.environ, "ORT_DYLIB_PATH": str(runtime)}, stdout=subprocess.PIPE, check=True
        )
        ours = time.perf_counter() - started
        summary = json.loads(done.stdout)
    fastembed.TextEmbedding.add_custom_model(
        model="local/minilm", pooling=PoolingType.MEAN, normalization=True, sources=ModelSource(url="http://unused.invalid/x"),
        dim=384, model_file="model.onnx",
    )
    texts = [t for t in step_texts(paths) if t][::slice_of]
    with tempfile.TemporaryDirectory() as folder:
        # The same limit: by itself fastembed takes the tokenizer's 512 tokens.
        given = pathlib.Path(folder) / "minilm"
        shutil.copytree(MODELS / "minilm-onnx", given)
        config = json.loads((given / "tokenizer_config.json").read_text())
        (given / "tokenizer_config.json").write_text(json.dumps({**config, "model_max_length": LIMIT}))
        model = fastembed.TextEmbedding("local/minilm", specific_model_path=str(given))
        started = time.perf_counter()
        list(model.embed(texts))
        python = (time.perf_counter() - started) * slice_of
    print(f"purify embed, whole: {ours:.1f} s for {summary['texts']} texts, {summary['distinct']} of them different")
    print(f"Python fastembed {fastembed.__version__}, loop over 1 in {slice_of} of {len(texts) * slice_of} texts, scaled: {python:.1f} s")
    print(f"ratio {python / ours:.2f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equal", "speed", "whole"])
    parser.add_argument("rollouts", nargs="+")
    parser.add_argument("--texts", type=int, default=3000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--slice", type=int, default=10)
    given = parser.parse_args()
    if given.what == "equal":
        equal(given.rollouts)
    elif given.what == "speed":
        speed(given.rollouts, given.texts, given.repeats)
    else:
        whole(given.rollouts, given.slice)
