#!/usr/bin/env python3
"""Writes fixtures/: rollouts by case, broken files, and reference numbers of CPython's difflib.

The conversations are written by hand here; every tool result comes from running the call. Needs pyarrow. The files
are committed: run this only to change them, and say why in the commit.
"""
import difflib
import json
import pathlib
import random
import struct
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq

ROOT = pathlib.Path(__file__).resolve().parent.parent / "fixtures"
CALL = pa.struct([("id", pa.string()), ("type", pa.string()),
                  ("function", pa.struct([("name", pa.string()), ("arguments", pa.string())]))])
MESSAGE = pa.struct([("role", pa.string()), ("content", pa.string()), ("reasoning_content", pa.string()),
                     ("name", pa.string()), ("tool_call_id", pa.string()), ("is_error", pa.bool_()),
                     ("tool_calls", pa.list_(CALL))])
SCHEMA = pa.schema([("rollout_id", pa.string()), ("group_id", pa.string()), ("messages", pa.list_(MESSAGE)),
                    ("tools", pa.string()), ("reward", pa.float64())])
TOOLS = json.dumps([{"type": "function", "function": {"name": "python", "description": "Runs Python.", "parameters": {
    "type": "object", "properties": {"code": {"type": "string"}}, "required": ["code"]}}}])


def run_python(code):
    """What a Python tool says of a piece of code: stdout, then stderr."""
    done = subprocess.run([sys.executable, "-X", "no_debug_ranges", "-c", code], capture_output=True, text=True, timeout=20)
    return done.stdout + done.stderr


def run_shell(command):
    """What a shell tool says of a command, in an empty folder."""
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=20, cwd="/tmp")
    return done.stdout + done.stderr


RUN = {"python": run_python, "bash": run_shell}
ARGUMENT = {"python": "code", "bash": "command"}


def message(role, content=None, **fields):
    return {"role": role, "content": content, **fields}


def call(tool, text, id="call_0"):
    return {"id": id, "type": "function", "function": {"name": tool, "arguments": json.dumps({ARGUMENT[tool]: text})}}


def step(thought, tool, text, id="call_0"):
    """An assistant message with one call, and the result of really making it."""
    return [message("assistant", thought, tool_calls=[call(tool, text, id)]),
            message("tool", RUN[tool](text), tool_call_id=id, name=tool)]


def rollout(id, group, reward, *parts):
    messages = [m for part in parts for m in (part if isinstance(part, list) else [part])]
    return {"rollout_id": id, "group_id": group, "messages": messages, "tools": TOOLS, "reward": reward}


ASK = message("user", "How many primes are there below 1000? Use the tool.")
SYSTEM = message("system", "You solve tasks with a Python tool.")
GOOD = "def is_prime(n):\n    if n < 2:\n        return False\n    return all(n % d for d in range(2, int(n ** 0.5) + 1))\n\nprint(sum(is_prime(n) for n in range(1000)))"
TYPO = GOOD.replace("is_prime(n) for", "is_prim(n) for")
NO_COLON = GOOD.replace("if n < 2:", "if n < 2")
OTHER = "import sympy_of_mine\nprint(sympy_of_mine.primepi(1000))"
DONE = message("assistant", "There are 168 primes below 1000.")

CASES = {
    "no_failure": [rollout("no_failure", "primes", 1.0, SYSTEM, ASK, step("I count them.", "python", GOOD), DONE)],
    "one_failure_shallow": [
        rollout("one_failure_shallow", "primes", 1.0, SYSTEM, ASK, step("I count them with a helper.", "python", TYPO),
                step("The helper's name has a typo.", "python", GOOD, "call_1"), DONE)],
    "one_failure_deep": [
        rollout("one_failure_deep", "primes", 1.0, ASK, step("A library knows the answer.", "python", OTHER),
                step("There is no such library, so I count them by trial division.", "python", GOOD, "call_1"), DONE)],
    "two_failures_then_success": [
        rollout("two_failures_then_success", "primes", 1.0, ASK, step("I try the library.", "python", OTHER),
                step("I count them myself.", "python", TYPO, "call_1"),
                step("A typo; again.", "python", GOOD, "call_2"), DONE)],
    "four_failures_then_success": [
        rollout("four_failures_then_success", "primes", 1.0, ASK, *[step(f"Try {k}.", "python", text, f"call_{k}")
                for k, text in enumerate([OTHER, TYPO, NO_COLON, TYPO, GOOD])], DONE)],
    "failure_at_the_end": [rollout("failure_at_the_end", "primes", 0.0, ASK, step("I count.", "python", TYPO))],
    "talk_between": [
        rollout("talk_between", "primes", 0.0, ASK, step("I count.", "python", TYPO),
                message("assistant", "That failed; let me think."), step("Again.", "python", GOOD, "call_1"), DONE)],
    "user_between": [
        rollout("user_between", "primes", 0.0, ASK, step("I count.", "python", TYPO),
                message("user", "Please try again."), step("Again.", "python", GOOD, "call_1"), DONE)],
    "open_attempt": [
        rollout("open_attempt", "primes", 0.0, ASK, step("I count.", "python", TYPO),
                message("assistant", "Again.", tool_calls=[call("python", GOOD, "call_1")]))],
    "two_runs": [
        rollout("two_runs", "primes", 1.0, ASK, step("I count.", "python", TYPO), step("Fixed.", "python", GOOD, "call_1"),
                step("Now the files.", "bash", "ls /no/such/folder", "call_2"),
                step("It is another folder.", "bash", "ls -d /tmp", "call_3"), DONE)],
    "unrecovered_then_recovered": [
        rollout("unrecovered_then_recovered", "primes", 0.5, ASK, step("I count.", "python", TYPO),
                step("Hm.", "python", NO_COLON, "call_1"), message("assistant", "I give up on this way."),
                step("Another.", "python", OTHER, "call_2"), step("By hand.", "python", GOOD, "call_3"), DONE)],
    "parallel_calls": [
        rollout("parallel_calls", "primes", 1.0, ASK,
                [message("assistant", "Both at once.", tool_calls=[call("python", GOOD, "a"), call("python", TYPO, "b")]),
                 message("tool", run_python(GOOD), tool_call_id="a"), message("tool", run_python(TYPO), tool_call_id="b")],
                [message("assistant", "Once more, both.", tool_calls=[call("python", GOOD, "c"), call("python", GOOD, "d")]),
                 message("tool", run_python(GOOD), tool_call_id="c"), message("tool", run_python(GOOD), tool_call_id="d")],
                DONE)],
    "reasoning_content": [
        rollout("reasoning_content", "primes", 1.0, ASK,
                [{**step("", "python", TYPO)[0], "reasoning_content": "Trial division will do."}, step("", "python", TYPO)[1]],
                [{**step("", "python", GOOD)[0], "reasoning_content": "I mistyped the name."}, step("", "python", GOOD)[1]],
                DONE)],
    "inline_calls": [
        rollout("inline_calls", "primes", 1.0, ASK,
                [message("assistant", 'I count them.\n\n<tool_call>\n{"name": "python", "arguments": '
                         + json.dumps({"code": TYPO}) + "}\n</tool_call>"), message("tool", run_python(TYPO))],
                [message("assistant", 'A typo.\n<tool_call>\n{"name": "python", "arguments": '
                         + json.dumps({"code": GOOD}) + "}\n</tool_call>"), message("tool", run_python(GOOD))], DONE)],
    "odd_shapes": [
        rollout("no_messages", "odd", 0.0),
        rollout("no_assistant", "odd", 0.0, ASK),
        rollout("ids_missing_and_double", "odd", 0.0, ASK,
                [message("assistant", "x", tool_calls=[call("python", TYPO, None)]), message("tool", run_python(TYPO))],
                [message("assistant", "y", tool_calls=[call("python", GOOD, "a")]),
                 message("tool", run_python(GOOD), tool_call_id="a")],
                [message("assistant", "z", tool_calls=[call("python", GOOD, "a")]),
                 message("tool", run_python(GOOD), tool_call_id="a")]),
        rollout("arguments_no_json", "odd", 0.0, ASK,
                [message("assistant", None, tool_calls=[{"id": "a", "type": "function", "function": {
                    "name": "python", "arguments": "{\"code\": print(\"no json\""}}]),
                 message("tool", "Invalid JSON in arguments for 'python'")],
                step(None, "python", "print('json')"), DONE),
        rollout("empty_result_flagged", "odd", 0.0, ASK,
                [message("assistant", "x", tool_calls=[call("python", "pass")]), message("tool", "", is_error=True)],
                step("y", "python", "print(1)"), DONE),
        rollout("control_characters", "odd", 0.0, message("user", "\u001b[31mred\u0007 <script>alert(1)</script>"),
                step("\u001b]0;title\u0007", "python", "print('\\x1b[2J')+1"), step("\u202eabc", "python", "print('ok')"), DONE),
        rollout("timed_out_tool", "odd", 0.0, ASK,
                [message("assistant", "x", tool_calls=[call("bash", "sleep 99")]), message("tool", "Command timed out after 5 seconds")],
                step("y", "bash", "echo done"), DONE),
    ],
    "hard_negatives": [
        rollout("log_read_on_purpose", "negatives", 1.0, ASK,
                step("I look at the log.", "bash", "printf 'start\\nTraceback (most recent call last):\\n  File \"/srv/a.py\", line 1, in f\\nKeyError: 1\\n' > /tmp/run.log; cat /tmp/run.log"), DONE),
        rollout("error_in_a_listing", "negatives", 1.0, ASK, step("I list.", "python", "print('error.log\\nErrors.py\\nexception.txt')"), DONE),
        rollout("printed_on_purpose", "negatives", 1.0, ASK, step("I print.", "python", "print('ValueError: only a text')"), DONE),
        rollout("handled_exception", "negatives", 1.0, ASK,
                step("I handle it.", "python", "import traceback\ntry:\n    1 / 0\nexcept ZeroDivisionError:\n    traceback.print_exc()\nprint('went on')"), DONE),
    ],
}


def as_table(rows):
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def write_rollouts():
    folder = ROOT / "rollouts"
    folder.mkdir(parents=True, exist_ok=True)
    everything = []
    for name, rows in CASES.items():
        with open(folder / f"{name}.jsonl", "w", encoding="utf-8") as out:
            out.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        pq.write_table(as_table(rows), folder / f"{name}.parquet", compression="zstd")
        everything += rows
    pq.write_table(as_table(everything), folder / "all.parquet", compression="zstd")
    return everything


# --- tokens: one token per byte, and the special ones of ChatML ---------------------------------------------------
SPECIAL = ["<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>"]


def byte_characters():
    """The printable stand-ins for bytes that byte-level tokenizers use (GPT-2's table)."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, spare = {b: chr(b) for b in plain}, 256
    for b in range(256):
        if b not in table:
            table[b] = chr(spare)
            spare += 1
    return table


def encode(text):
    ids = []
    while text:
        special = next((s for s in SPECIAL if text.startswith(s)), None)
        if special:
            ids.append(256 + SPECIAL.index(special))
            text = text[len(special):]
        else:
            ids += text[0].encode()
            text = text[1:]
    return ids


def rendered(m):
    calls = "\n".join(f'<tool_call>\n{{"name": "{c["function"]["name"]}", "arguments": {c["function"]["arguments"]}}}\n</tool_call>'
                      for c in m.get("tool_calls") or [])
    content = m["content"] or ""
    return content + ("\n" if content and calls else "") + calls + "<|im_end|>"


def with_tokens(row):
    first = next(k for k, m in enumerate(row["messages"]) if m["role"] == "assistant")
    prompt = "".join(f"<|im_start|>{m['role']}\n{m['content'] or ''}<|im_end|>\n" for m in row["messages"][:first])
    ids, mask, logprobs = [], [], []
    noise = random.Random(row["rollout_id"])
    for k, m in enumerate(row["messages"][first:]):
        if m["role"] == "assistant":
            opening = encode(("\n" if k else "") + "<|im_start|>assistant\n")
            body = encode(rendered(m))
        else:
            opening, body = encode(f"\n<|im_start|>{m['role']}\n{m['content'] or ''}<|im_end|>"), []
        ids += opening + body
        mask += [0] * len(opening) + [1] * len(body)
        logprobs += [0.0] * len(opening) + [-round(noise.random(), 4) for _ in body]
    return {**row, "prompt_ids": encode(prompt), "response_ids": ids, "response_mask": mask, "response_logprobs": logprobs}


def write_tokens():
    schema = SCHEMA
    for name, item in [("prompt_ids", pa.int32()), ("response_ids", pa.int32()), ("response_mask", pa.int8()), ("response_logprobs", pa.float32())]:
        schema = schema.append(pa.field(name, pa.list_(item)))
    names = ["no_failure", "one_failure_shallow", "one_failure_deep", "two_failures_then_success", "two_runs", "failure_at_the_end", "parallel_calls"]
    rows = [with_tokens(row) for name in names for row in CASES[name]]
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), ROOT / "rollouts" / "tokens.parquet", compression="zstd")
    table = byte_characters()
    tokenizer = {
        "version": "1.0", "truncation": None, "padding": None, "normalizer": None, "post_processor": None,
        "added_tokens": [{"id": 256 + k, "content": s, "single_word": False, "lstrip": False, "rstrip": False,
                          "normalized": False, "special": True} for k, s in enumerate(SPECIAL)],
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "decoder": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False},
        "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": None,
                  "end_of_word_suffix": None, "fuse_unk": False, "byte_fallback": False,
                  "vocab": {table[b]: b for b in range(256)}, "merges": []},
    }
    folder = ROOT / "models" / "bytes"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False, indent=1) + "\n")


# --- broken files ------------------------------------------------------------------------------------------------
def write_bad():
    folder = ROOT / "bad"
    folder.mkdir(parents=True, exist_ok=True)
    table = as_table(CASES["no_failure"])
    pq.write_table(table, folder / "cut_off.parquet", compression="zstd")
    whole = (folder / "cut_off.parquet").read_bytes()
    (folder / "cut_off.parquet").write_bytes(whole[:len(whole) // 2])
    (folder / "not_parquet.parquet").write_text("rollout_id,messages\n1,hello\n")
    (folder / "empty_file.parquet").write_bytes(b"")
    (folder / "broken_footer.parquet").write_bytes(whole[:-40] + bytes(32) + whole[-8:])
    broken = bytearray(whole)
    broken[40:400] = bytes(360)
    (folder / "broken_page.parquet").write_bytes(bytes(broken))

    def parquet(name, columns):
        pq.write_table(pa.table(columns), folder / f"{name}.parquet", compression="zstd")

    parquet("no_message_column", {"prompt": ["a"], "answer": ["b"]})
    parquet("messages_are_text", {"messages": ["no list"]})
    parquet("mask_missing", {"messages": pa.array([[{"role": "user", "content": "a"}]]), "response_ids": [[1, 2]]})
    good = CASES["no_failure"][0]
    rows = [good, {**good, "rollout_id": "bad", "messages": None}]
    pq.write_table(as_table(rows), folder / "null_messages.parquet", compression="zstd")
    rows = [good, {**good, "rollout_id": "bad", "messages": [message("critic\u001b[31m", "x")]}]
    pq.write_table(as_table(rows), folder / "unknown_role.parquet", compression="zstd")
    rows = [good, {**good, "rollout_id": "bad", "messages": [message(None, "x")]}]
    pq.write_table(as_table(rows), folder / "null_role.parquet", compression="zstd")
    base = {"messages": [[message("user", "a"), message("assistant", "b")]] * 2}
    parquet("mask_of_another_length", {**base, "response_ids": [[1, 2], [1, 2]], "response_mask": [[1, 1], [1]]})
    parquet("more_runs_than_messages", {
        "messages": [[*CASES["one_failure_shallow"][0]["messages"]]],
        "response_ids": [[1] * 9], "response_mask": [[1, 0, 1, 0, 1, 0, 1, 0, 1]]})
    deep = '{"a":' * 10_000 + "1" + "}" * 10_000
    (folder / "deep_json.jsonl").write_text(
        json.dumps({"messages": [message("user", "a")]}) + "\n" + '{"messages": [], "extra": ' + deep + "}\n")
    pq.write_table(as_table([rollout("deep", "g", 0.0, ASK,
        [message("assistant", "x", tool_calls=[{"id": "a", "type": "function", "function": {"name": "f", "arguments": deep}}]),
         message("tool", "Error: too deep")], step("y", "python", "print(1)"))]), folder / "deep_arguments.parquet", compression="zstd")
    (folder / "invalid_utf8.jsonl").write_bytes(
        json.dumps({"messages": [message("user", "a")]}).encode() + b'\n{"messages": [{"role": "user", "content": "\xff\xfe"}]}\n')
    (folder / "no_json.jsonl").write_text('{"messages": []}\n{"messages": [\n[1, 2]\n\n{"messages": []}\n')
    (folder / "no_objects.jsonl").write_text("hello\nworld\n")
    write_bad_formats(folder)


def write_bad_formats(folder):
    """Of each form of scripts/make_format_fixtures.py: cut off, of another version, with wrong types."""
    call = {"name": "python", "arguments": "{}"}
    atif = {"schema_version": "ATIF-v1.8", "agent": {"name": "a", "version": "1"}, "steps": [
        {"step_id": 1, "source": "user", "message": "q"}, {"step_id": 2, "source": "agent", "message": "a"}]}
    node = {"parent": None, "message": {"role": "user", "content": "q"}, "token_ids": [1, 2], "mask": [False, False]}
    step = {"action": "ls", "observation": "a.py", "response": "ls", "thought": ""}
    # A row that can be read, and what it is with a wrong type in it.
    rows = {
        "sharegpt": ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]},
                     {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": call}]}),
        "prompt_completion": ({"prompt": "q", "completion": "a"}, {"prompt": "q", "completion": {"role": "assistant"}}),
        "chat_text": ({"text": "<|im_start|>user\nq<|im_end|>\n"}, {"text": ["<|im_start|>user\nq<|im_end|>\n"]}),
        "verl": ({"input": "user\nq\nassistant\n", "output": "a", "score": 1.0}, {"input": "user\nq", "output": ["a"], "score": 1.0}),
        "nemo_gym": ({"response": {"output": [{"type": "message", "role": "assistant", "content": "a"}]}, "reward": 1.0},
                     {"response": {"output": [{"type": "function_call", "call_id": "c", "arguments": "{}"}]}, "reward": 1.0}),
        "traces": ({"traces": [{"version": 1, "id": "t", "nodes": [node]}]},
                   {"traces": [{"version": 1, "id": "t", "nodes": [{**node, "mask": [False]}]}]}),
    }
    for name, (good, wrong) in rows.items():
        line = json.dumps(good)
        (folder / f"{name}_cut_off.jsonl").write_text(line + "\n" + line[:len(line) // 2])
        (folder / f"{name}_types.jsonl").write_text(line + "\n" + json.dumps(wrong) + "\n")
    traces = {"traces": [{"version": 2, "id": "t", "nodes": [node]}]}
    (folder / "traces_version.jsonl").write_text(json.dumps(traces) + "\n")
    documents = {
        "atif": (atif, {**atif, "steps": [{"source": "agent", "message": "a", "observation": "done"}]}, "json"),
        "swe_agent": ({"trajectory": [step], "history": [], "info": {}}, {"trajectory": [{**step, "response": None}]}, "traj"),
    }
    for name, (good, wrong, end) in documents.items():
        text = json.dumps(good, indent=1)
        (folder / f"{name}_cut_off.{end}").write_text(text[:len(text) // 2])
        (folder / f"{name}_types.{end}").write_text(json.dumps(wrong, indent=1))
    (folder / "atif_version.json").write_text(json.dumps({**atif, "schema_version": "ATIF-v2.0"}))
    (folder / "atif_odd_version.json").write_text(json.dumps({**atif, "schema_version": "1.8"}))
    (folder / "atif_no_version.json").write_text(json.dumps({name: value for name, value in atif.items() if name != "schema_version"}))
    large = {**atif, "steps": [{"source": "user", "message": "q", "extra": {"n": -2**63 - 1}}]}
    (folder / "atif_large_number.json").write_text(json.dumps(large))
    call = {"role": "assistant", "tool_calls": [{"id": "c", "function": {"name": "f", "arguments": {"n": 2**64}}}]}
    (folder / "large_number.jsonl").write_text('{"messages": []}\n' + json.dumps({"messages": [call]}) + "\n")
    (folder / "huge_number.jsonl").write_text('{"messages": []}\n{"messages": [], "reward": 1e400}\n')
    (folder / "unknown_form.jsonl").write_text('{"question": "q", "answer": "a"}\n')
    (folder / "unknown_form.json").write_text('[{"question": "q", "answer": "a"}]\n')


# --- CPython's ratio ---------------------------------------------------------------------------------------------
def write_ratios():
    """Pairs with the bits of SequenceMatcher(None, a, b).ratio(), junk heuristic on and off."""
    rng = random.Random(20260115)
    letters = "abcdefghijklmnopqrstuvwxyz_() =:.\n0123456789"
    wide = "äöü漢字かな😀🦀é"
    pairs = [("", ""), ("", "a"), ("a", ""), ("tide", "diet"), ("diet", "tide"), (TYPO, GOOD), (OTHER, GOOD), (GOOD, GOOD)]
    for size in [5, 60, 199, 200, 201, 450, 900]:
        for alphabet in ["ab", "abcdef", letters, letters + wide]:
            a = "".join(rng.choice(alphabet) for _ in range(size))
            pairs.append((a, "".join(rng.choice(alphabet) for _ in range(size + rng.randrange(-4, 5)))))
            b = list(a)
            for _ in range(1 + size // 40):
                at = rng.randrange(len(b))
                b[at:at + rng.randrange(6)] = rng.choice(["", "x", "self.", "try:\n    ", "漢"])
                b = b or ["x"]
            pairs.append((a, "".join(b)))
    code = [GOOD, TYPO, NO_COLON, OTHER, pathlib.Path(__file__).read_text()[:3000]]
    pairs += [(x, y) for x in code for y in code]
    cycle = [chr(0x4E00 + k) for k in range(150)]
    pairs += [("".join(cycle * 4), "".join(cycle[::-1] * 4)), ("".join(cycle * 4), "".join(cycle[75:] + cycle * 3)),
              ("a" * 400, "a" * 300), ("ab" * 200, "ba" * 180)]
    bits = lambda x: struct.pack(">d", x).hex()
    with open(ROOT / "reference" / "ratios.jsonl", "w", encoding="utf-8") as out:
        for a, b in pairs:
            on = difflib.SequenceMatcher(None, a, b).ratio()
            off = difflib.SequenceMatcher(None, a, b, autojunk=False).ratio()
            out.write(json.dumps({"a": a, "b": b, "automatic": bits(on), "off": bits(off)}, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    (ROOT / "reference").mkdir(parents=True, exist_ok=True)
    write_rollouts()
    write_tokens()
    write_bad()
    write_ratios()
