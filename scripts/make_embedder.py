#!/usr/bin/env python3
"""Makes fixtures/models/tiny-bert and the numbers that vectors are held to: scripts/make_embedder.py

tiny-bert is a random BERT whose tokenizer spells every word; its vectors come from transformers. With models/minilm and
models/minilm-int8 (scripts/fetch_models.sh embed) it also writes the reference of the real model, from PyTorch and from
Python's onnxruntime. Needs torch, transformers, tokenizers, onnx, onnxruntime, safetensors.
"""
import json
import pathlib
import string
import subprocess
import sys
import tempfile

import numpy as np
import torch
from onnxruntime import InferenceSession
from onnxruntime.quantization import QuantType, quantize_dynamic
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

ROOT = pathlib.Path(__file__).resolve().parent.parent
TINY = ROOT / "fixtures" / "models" / "tiny-bert"
REFERENCE = ROOT / "fixtures" / "reference"
TEXTS = [
    "x",
    "print(sum(range(10)))",
    "print(summ(range(10)))",
    "import math\nprint(math.sqrt(2))",
    "Let me look at the table first.",
    "SELECT name FROM users WHERE id = 7;",
    "SELECT nmae FROM users WHERE id = 7;",
    "ls -la /tmp | grep log",
    "Grüße, 漢字 🦀 and [SEP] in the middle",
    "def f(n):\n    return n if n < 2 else f(n - 1) + f(n - 2)\n" * 12,
    "<tool_call>\n{\"name\": \"python\", \"arguments\": {\"code\": \"1 + 1\"}}\n</tool_call><|im_end|>",
    " ",
]


def tiny_tokenizer():
    signs = string.ascii_lowercase + string.digits + string.punctuation
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *signs, *(f"##{s}" for s in signs)]
    found = Tokenizer(models.WordPiece({w: k for k, w in enumerate(words)}, unk_token="[UNK]", max_input_chars_per_word=100))
    found.normalizer = normalizers.BertNormalizer(lowercase=True)
    found.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    found.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    # As whoever saved it left it: neither counts.
    found.enable_truncation(8)
    found.enable_padding(length=8)
    return found, len(words)


def make_tiny():
    TINY.mkdir(parents=True, exist_ok=True)
    tokenizer, words = tiny_tokenizer()
    tokenizer.save(str(TINY / "tokenizer.json"))
    torch.manual_seed(7)
    model = BertModel(BertConfig(
        vocab_size=words, hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, type_vocab_size=2, attn_implementation="eager"), add_pooling_layer=False)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.25)
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        for name in ("config.json", "model.safetensors"):
            (TINY / name).write_bytes((pathlib.Path(folder) / name).read_bytes())
    modules = [("Transformer", ""), ("Pooling", "1_Pooling"), ("Normalize", "2_Normalize")]
    write(TINY / "modules.json", [
        {"idx": k, "name": str(k), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for k, (kind, path) in enumerate(modules)])
    (TINY / "1_Pooling").mkdir(exist_ok=True)
    write(TINY / "1_Pooling" / "config.json", {
        "word_embedding_dimension": 32, "pooling_mode_cls_token": False, "pooling_mode_mean_tokens": True,
        "pooling_mode_max_tokens": False, "pooling_mode_mean_sqrt_len_tokens": False})
    write(TINY / "sentence_bert_config.json", {"max_seq_length": 48, "do_lower_case": False})
    subprocess.run([sys.executable, ROOT / "scripts" / "export_onnx.py", TINY, TINY], check=True)
    quantize_dynamic(TINY / "model.onnx", TINY / "dynamic.onnx", weight_type=QuantType.QInt8)
    tokenizer.no_padding()
    tokenizer.enable_truncation(48)
    return {**{pooling: torch_vectors(model, tokenizer, pooling) for pooling in ("mean", "cls")},
            "dynamic": onnx_vectors(TINY / "dynamic.onnx", tokenizer)}


def write(path, value):
    path.write_text(json.dumps(value, indent=2) + "\n")


def unit(vector):
    return [round(float(v), 7) for v in vector / np.linalg.norm(vector)]


def torch_vectors(model, tokenizer, pooling):
    model.eval()
    out = []
    for text in TEXTS:
        ids = torch.tensor([tokenizer.encode(text).ids])
        with torch.no_grad():
            hidden = model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0].numpy()
        out.append(unit(hidden.mean(0) if pooling == "mean" else hidden[0]))
    return out


def onnx_vectors(path, tokenizer):
    session = InferenceSession(str(path), providers=["CPUExecutionProvider"])
    out = []
    for text in TEXTS:
        ids = np.array([tokenizer.encode(text).ids], dtype=np.int64)
        given = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        out.append(unit(session.run(None, given)[0][0].mean(0)))
    return out


def minilm():
    real = ROOT / "models" / "minilm"
    tokenizer = Tokenizer.from_file(str(real / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(256)
    model = BertModel.from_pretrained(real, attn_implementation="eager", add_pooling_layer=False)
    return {"mean": torch_vectors(model, tokenizer, "mean"),
            "int8": onnx_vectors(ROOT / "models" / "minilm-int8" / "model.onnx", tokenizer)}


if __name__ == "__main__":
    reference = {"texts": TEXTS, "tiny": make_tiny(), "minilm": minilm()}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in reference.items())
    (REFERENCE / "embeddings.json").write_text("{\n" + lines + "\n}\n")
