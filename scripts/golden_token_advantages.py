"""Writes what PyTorch computes for `grpo` with an advantage for each token, on the tiny Qwen3 of the fixtures.

Rows and behaviour log-probs are those of `golden.json`. The first half of each response counts as a failed attempt: its tokens
get minus the absolute advantage, the others the rollout's own. Three updates of AdamW over the whole set, float32, on the CPU.

    python scripts/golden_token_advantages.py

Needs: torch, transformers.
"""

import json
from pathlib import Path

import torch
import transformers

MODEL = Path(__file__).parent.parent / "fixtures" / "models" / "tiny-qwen3"
LOW, HIGH, DUAL = 0.2, 0.28, 10.0


def token_advantages(row, advantage):
    half = len(row["response_ids"]) // 2
    values = [-abs(advantage) if at < half else advantage for at in range(len(row["response_ids"]))]
    return [value if mask else 0.0 for value, mask in zip(values, row["response_mask"])]


def loss_of(model, rows, advantages):
    total, count = 0.0, 0
    for row, own in zip(rows, advantages):
        ids = torch.tensor([row["prompt_ids"] + row["response_ids"]])
        start = len(row["prompt_ids"])
        log_probs = torch.log_softmax(model(input_ids=ids).logits[0, start - 1 : -1].float(), -1)
        new = log_probs.gather(1, ids[0, start:, None])[:, 0]
        mask = torch.tensor(row["response_mask"], dtype=torch.bool)
        old, own = torch.tensor(row["response_logprobs"])[mask], torch.tensor(own)[mask]
        ratio = (new[mask] - old).clamp(-20, 20).exp()
        loss = torch.maximum(-own * ratio, -own * ratio.clamp(1 - LOW, 1 + HIGH))
        loss = torch.where(own < 0, torch.minimum(loss, -own * DUAL), loss)
        total, count = total + loss.sum(), count + int(mask.sum())
    return total / count


def main():
    torch.manual_seed(0)
    torch.set_num_threads(1)
    golden = json.loads((MODEL / "golden.json").read_text())
    rows = golden["rows"]
    advantages = [token_advantages(row, own) for row, own in zip(rows, golden["advantages"])]
    model = transformers.AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32, attn_implementation="eager")
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.999), weight_decay=0.01)
    steps = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = loss_of(model, rows, advantages)
        loss.backward()
        step = {"loss": loss.item()}
        if not steps:
            step["grad_norms"] = {name: p.grad.norm().item() for name, p in model.named_parameters()}
        step["grad_norm"] = torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0).item()
        optimizer.step()
        steps.append(step)
    with torch.no_grad():
        after = loss_of(model, rows, advantages).item()
    made_by = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
    found = {"made_by": made_by, "token_advantages": advantages, "steps": steps, "loss_after": after}
    (MODEL / "golden_token_advantages.json").write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
