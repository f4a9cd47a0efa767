"""Times updates of `purify train` beside PyTorch: same model, same data, same settings, in one run.

The model is a Qwen3 of about 30 million random weights; a step is forward, backward, clip and AdamW on 8 sequences of
512 tokens, float32, on the CPU. PyTorch runs transformers' own model with its default attention. The two take turns, and
the median of their updates counts; the first of each run warms up and does not.

    python scripts/compare_training.py path/to/purify [--threads 2] [--rounds 3]

Needs: torch, transformers, pyarrow.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

SEQUENCES, LENGTH, UPDATES = 8, 512, 5


def make(folder):
    import pyarrow as pa
    import pyarrow.parquet as pq
    import torch
    from transformers import Qwen3Config, Qwen3ForCausalLM

    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=8192, hidden_size=512, intermediate_size=1536, num_hidden_layers=8, num_attention_heads=8,
        num_key_value_heads=4, head_dim=64, max_position_embeddings=2048, tie_word_embeddings=True, use_cache=False,
    )
    model = Qwen3ForCausalLM(config)
    model.save_pretrained(folder / "model")
    ids = torch.randint(0, config.vocab_size, (SEQUENCES, LENGTH), generator=torch.Generator().manual_seed(1))
    rows = {
        "rollout_id": [f"r{k}" for k in range(SEQUENCES)],
        "prompt_ids": pa.array([row[:1].tolist() for row in ids], pa.list_(pa.int32())),
        "response_ids": pa.array([row[1:].tolist() for row in ids], pa.list_(pa.int32())),
        "response_mask": pa.array([[1] * (LENGTH - 1)] * SEQUENCES, pa.list_(pa.int8())),
    }
    pq.write_table(pa.table(rows), folder / "rows.parquet")
    return model, ids, sum(p.numel() for p in model.parameters())


def time_torch(model, ids):
    import torch

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.01)
    seconds, losses = [], []
    for _ in range(UPDATES):
        start = time.perf_counter()
        loss = model(input_ids=ids, labels=ids).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    return seconds[1:], losses


def time_purify(binary, folder, threads, extra):
    out = Path(tempfile.mkdtemp(dir=folder))
    command = [
        binary, "train", "-q", "--full", "--model", folder / "model", "--data", folder / "rows.parquet", "--objective",
        "sft", "--learning-rate", "1e-4", "--warmup", "0", "--batch-rollouts", "all", "--updates", str(UPDATES),
        "--out", out / "run", *extra,
    ]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    subprocess.run([str(c) for c in command], check=True, stdout=subprocess.DEVNULL, env=environment)
    lines = [json.loads(line) for line in (out / "run" / "metrics.jsonl").read_text().splitlines()]
    return [line["seconds"] for line in lines][1:], [line["loss"] for line in lines]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extra", nargs=argparse.REMAINDER, default=[], help="further options of `purify train`")
    arguments = parser.parse_args()
    import torch
    import transformers

    torch.set_num_threads(arguments.threads)
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        model, ids, parameters = make(folder)
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        ours, theirs = [], []
        for _ in range(arguments.rounds):
            seconds, our_losses = time_purify(arguments.binary, folder, arguments.threads, arguments.extra)
            ours += seconds
            model.load_state_dict(state)
            seconds, their_losses = time_torch(model, ids)
            theirs += seconds
        worst = max(abs(a / b - 1) for a, b in zip(our_losses, their_losses))
        tokens = SEQUENCES * LENGTH
        ours, theirs = statistics.median(ours), statistics.median(theirs)
        print(f"{parameters:,} parameters, {tokens} tokens an update, {arguments.threads} threads,",
              f"torch {torch.__version__}, transformers {transformers.__version__}")
        print(f"purify  {ours:7.3f} s an update, {tokens / ours:8.0f} tokens/s")
        print(f"PyTorch {theirs:7.3f} s an update, {tokens / theirs:8.0f} tokens/s")
        print(f"purify / PyTorch in tokens/s: {theirs / ours:.2f}; losses differ by at most {worst:.1e}")


if __name__ == "__main__":
    main()
