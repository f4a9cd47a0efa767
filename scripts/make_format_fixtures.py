#!/usr/bin/env python3
"""Makes fixtures/formats: the same rollout as each supported program writes it.

A user asks, the model's first call raises a NameError, its second works, it answers. Needs verifiers (0.4) for traces.jsonl
and atif (1.8) for atif/ and atif_continued.json, whose classes write them; pyarrow (26) and datasets (5.2) for the Parquet files.
The other forms are put together from their field lists (SWE-agent 1.1's by sweagent/types.py and agent/agents.py; its package
on PyPI is of 2024 and another one).

usage: make_format_fixtures.py [parquet]
"""
import datetime
import decimal
import json
import pathlib
import sys

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "formats"
SYSTEM, QUESTION, ANSWER = "You have a tool: python.", "What is the 10th prime?", "The 10th prime is 29."
THOUGHTS = ["I list primes.\n", "The name was misspelt.\n"]
CODE = ["print(nth_prim(10))", "print(nth_prime(10))"]
RESULTS = ["Traceback (most recent call last):\n  File \"<stdin>\", line 1, in <module>\nNameError: name 'nth_prim' is not defined", "29"]
ARGUMENTS = [json.dumps({"code": code}) for code in CODE]
TOOLS = [{"type": "function", "function": {"name": "python", "parameters": {"type": "object"}}}]


def call_text(k):
    return f'<tool_call>\n{{"name": "python", "arguments": {ARGUMENTS[k]}}}\n</tool_call>'


def lines(name, *rows):
    OUT.mkdir(parents=True, exist_ok=True)
    (OUT / name).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def native():
    out = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    for k in range(2):
        call = {"id": f"c{k}", "type": "function", "function": {"name": "python", "arguments": ARGUMENTS[k]}}
        out.append({"role": "assistant", "content": THOUGHTS[k], "tool_calls": [call]})
        out.append({"role": "tool", "tool_call_id": f"c{k}", "content": RESULTS[k]})
    return [*out, {"role": "assistant", "content": ANSWER}]


def with_parts(message):
    return {**message, "content": [{"type": "text", "text": message["content"]}]}


def sharegpt():
    turns = [{"from": "human", "value": QUESTION}]
    for k in range(2):
        turns.append({"from": "gpt", "value": THOUGHTS[k]})
        turns.append({"from": "function_call", "value": json.dumps({"name": "python", "arguments": ARGUMENTS[k]})})
        turns.append({"from": "observation", "value": RESULTS[k]})
    return {"conversations": [*turns, {"from": "gpt", "value": ANSWER}], "system": SYSTEM, "tools": json.dumps(TOOLS)}


def chat_text():
    turn = lambda role, text: f"<|im_start|>{role}\n{text}<|im_end|>\n"
    out = turn("system", SYSTEM) + turn("user", QUESTION)
    for k in range(2):
        out += turn("assistant", THOUGHTS[k] + call_text(k)) + turn("user", f"<tool_response>\n{RESULTS[k]}\n</tool_response>")
    return out + turn("assistant", ANSWER)


def verl(before="\n"):
    """Up to 0.9.0 nothing stands before the tools' turn: the end-of-turn token, which was there, is skipped."""
    output = ""
    for k in range(2):
        output += f"{THOUGHTS[k]}{call_text(k)}{before}user\n<tool_response>\n{RESULTS[k]}\n</tool_response>\nassistant\n"
    return {"input": f"system\n{SYSTEM}\nuser\n{QUESTION}\nassistant\n", "output": output + ANSWER, "gts": "29", "score": 1.0, "step": 5}


def nemo_gym():
    items = []
    for k in range(2):
        items.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": THOUGHTS[k]}]})
        items.append({"type": "function_call", "call_id": f"c{k}", "name": "python", "arguments": ARGUMENTS[k]})
        items.append({"type": "function_call_output", "call_id": f"c{k}", "output": RESULTS[k]})
    items.append({"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]})
    for k, item in enumerate(items):
        item |= {"id": f"item_{k}", "status": "completed"}
    given = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    response = {"id": "resp_1", "model": "model-7b", "output": items, "usage": {"input_tokens": 4321, "output_tokens": 123}}
    return {"responses_create_params": {"input": given, "tools": TOOLS, "temperature": 0.875}, "response": response,
            "reward": 1.0, "_ng_task_index": 3, "_ng_rollout_index": 0}


def traces():
    from verifiers.v1.graph import MessageNode
    from verifiers.v1.types import AssistantMessage, SystemMessage, ToolCall, ToolMessage, UserMessage

    messages = [SystemMessage(content=SYSTEM), UserMessage(content=QUESTION)]
    for k in range(2):
        messages.append(AssistantMessage(
            content=THOUGHTS[k], tool_calls=[ToolCall(id=f"c{k}", name="python", arguments=ARGUMENTS[k])]))
        messages.append(ToolMessage(tool_call_id=f"c{k}", content=RESULTS[k]))
    messages.append(AssistantMessage(content=ANSWER))
    nodes = []
    for k, message in enumerate(messages):
        sampled = message.role == "assistant"
        # A token of the template, then two of the message; between them the call's marker, as Qwen has it.
        asks = sampled and message.tool_calls
        ids = [10 * k, 10 * k + 1, *([151657] if asks else []), 10 * k + 2]
        nodes.append(MessageNode(
            parent=k - 1 if k else None, message=message, sampled=sampled, timestamp=0.0, token_ids=ids,
            mask=[False, *[sampled] * (len(ids) - 1)],
            logprobs=[-0.5, -0.25, -0.125][:len(ids) - 1] if sampled else []).model_dump(mode="json"))
    trace = {"version": 1, "id": "trace-1", "nodes": nodes, "tools": [], "rewards": {"right": {"score": 1.0, "weight": 1.0}},
             "metrics": {"turns": 3.0}, "is_completed": True, "ok": True, "stop_condition": "done"}
    return {"id": "episode-1", "env": {"id": "primes"}, "group": {"id": "group-1"}, "ok": True, "traces": [trace]}


def trial():
    from atif import Agent, Observation, ObservationResult, Step, ToolCall, Trajectory

    steps = [Step(step_id=1, source="system", message=SYSTEM), Step(step_id=2, source="user", message=QUESTION)]
    for k in range(2):
        steps.append(Step(
            step_id=3 + k, source="agent", message=THOUGHTS[k],
            tool_calls=[ToolCall(tool_call_id=f"c{k}", function_name="python", arguments={"code": CODE[k]})],
            observation=Observation(results=[ObservationResult(source_call_id=f"c{k}", content=RESULTS[k])])))
    steps.append(Step(step_id=5, source="agent", message=ANSWER))
    trajectory = Trajectory(
        schema_version="ATIF-v1.8", trajectory_id="trial-1", agent=Agent(name="agent", version="1"), steps=steps)
    folder = OUT / "atif" / "agent"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "trajectory.json").write_text(json.dumps(trajectory.model_dump(mode="json", exclude_none=True), indent=2) + "\n")
    result = {"task_name": "primes/tenth", "verifier_result": {"rewards": {"reward": 1.0}}}
    (OUT / "atif" / "result.json").write_text(json.dumps(result, indent=2) + "\n")


def continued():
    """A trajectory that goes on where an earlier one ended: its first call, which fails, is copied from there."""
    from atif import Agent, FinalMetrics, Metrics, Observation, ObservationResult, Step, ToolCall, Trajectory

    def asks(step_id, k, **more):
        return Step(
            step_id=step_id, source="agent", message=THOUGHTS[k], model_name="model-7b", reasoning_effort="high",
            timestamp=f"2026-01-02T03:04:0{k}Z",
            tool_calls=[ToolCall(tool_call_id=f"c{k}", function_name="python", arguments={"code": CODE[k]}, extra={"timeout": 17})],
            observation=Observation(results=[ObservationResult(source_call_id=f"c{k}", content=RESULTS[k], extra={"seconds": 0.375})]),
            **more)

    call = 151657
    copied, own = [1, 2, 3, 4, call, 6], [8, call, 9]
    prompts = [copied[:3], [*copied, 7], [*copied, 7, *own, 10]]
    metrics = lambda k, ids: Metrics(
        prompt_tokens=101 + k, completion_tokens=201 + k, cost_usd=0.0625, prompt_token_ids=prompts[k], completion_token_ids=ids,
        logprobs=[-0.5] * len(ids), extra={"reasoning_tokens": 301 + k})
    steps = [
        Step(step_id=1, source="system", message=SYSTEM, is_copied_context=True),
        Step(step_id=2, source="user", message=QUESTION, is_copied_context=True),
        asks(3, 0, is_copied_context=True, metrics=metrics(0, copied[3:])),
        asks(4, 1, metrics=metrics(1, own)),
        Step(step_id=5, source="agent", message=ANSWER, llm_call_count=1, metrics=metrics(2, [11, 12]), extra={"note": "last"}),
    ]
    trajectory = Trajectory(
        schema_version="ATIF-v1.8", session_id="session-1", trajectory_id="trial-2",
        agent=Agent(name="agent", version="1", tool_definitions=TOOLS), steps=steps, notes="goes on behind a summary",
        final_metrics=FinalMetrics(total_prompt_tokens=1234, total_cost_usd=0.1875))
    text = json.dumps(trajectory.model_dump(mode="json", exclude_none=True), indent=2)
    (OUT / "atif_continued.json").write_text(text + "\n")


def swe_agent():
    shown = [{"role": "system", "content": SYSTEM, "agent": "main", "message_type": "system_prompt"},
             {"role": "user", "content": QUESTION, "agent": "main", "message_type": "observation"}]
    steps, history = [], list(shown)
    for k in range(2):
        call = {"function": {"arguments": ARGUMENTS[k], "name": "python"}, "id": f"c{k}", "type": "function"}
        steps.append({
            "action": f"python -c '{CODE[k]}'", "observation": RESULTS[k], "response": THOUGHTS[k], "thought": THOUGHTS[k],
            "execution_time": 0.625 + k, "state": {"working_dir": "/primes", "diff": ""}, "query": list(history), "extra_info": {}})
        history.append({"role": "assistant", "content": THOUGHTS[k], "thought": THOUGHTS[k], "action": steps[-1]["action"],
                        "agent": "main", "tool_calls": [call], "message_type": "action", "thinking_blocks": []})
        history.append({"role": "tool", "content": f"OBSERVATION:\n{RESULTS[k]}", "agent": "main", "message_type": "observation",
                        "tool_call_ids": [f"c{k}"]})
    steps.append({"action": "", "observation": "", "response": ANSWER, "thought": ANSWER, "execution_time": 0.0,
                  "state": {"working_dir": "/primes", "diff": ""}, "query": list(history), "extra_info": {}})
    info = {"exit_status": "submitted", "submission": "diff --git a/primes.py", "swe_agent_version": "1.1.0",
            "model_stats": {"instance_cost": 0.0625, "tokens_sent": 4321, "tokens_received": 123, "api_calls": 3}}
    document = {"trajectory": steps, "history": history, "info": info, "replay_config": json.dumps({"env": {"name": "main"}}),
                "environment": "main"}
    (OUT / "swe_agent.traj").write_text(json.dumps(document, indent=2) + "\n")


def parquet(name, rows, **options):
    """As pyarrow writes rows by default: structs are padded with nulls."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(rows if isinstance(rows, pa.Table) else pa.Table.from_pylist(rows), OUT / f"{name}.parquet", **options)


def with_objects(messages, extra):
    """The calls of `native()` with arguments as objects, one of which has a field that the other has not."""
    out = json.loads(json.dumps(messages))
    calls = [call for message in out for call in message.get("tool_calls", [])]
    for k, call in enumerate(calls):
        call["function"]["arguments"] = {**json.loads(call["function"]["arguments"]), **(extra if k == 0 else {})}
    return out


def odd_columns():
    """Types that JSON does not have."""
    import pyarrow as pa

    return {
        "when": pa.array([datetime.datetime(2026, 1, 2, 3, 4, 5, 678901)], pa.timestamp("us", "UTC")),
        "cost": pa.array([decimal.Decimal("0.10")], pa.decimal128(10, 2)),
        "blob": pa.array([b"\xff\x00"], pa.binary()),
        "weight": pa.array([0.1], pa.float32()),
        "source": pa.array(["a"]).dictionary_encode(),
    }


def json_arguments():
    """Arguments as `arrow.json`: objects with the spacing that a model wrote, and one that is text."""
    import pyarrow as pa

    messages = native()
    for message, text in zip([m for m in messages if "tool_calls" in m], [json.dumps(ARGUMENTS[0]), '{ "code":"print(nth_prime(10))", "n":1.50 }']):
        message["tool_calls"][0]["function"]["arguments"] = text
    def column(arguments):
        function = pa.struct({"name": pa.string(), "arguments": arguments})
        call = pa.struct({"id": pa.string(), "type": pa.string(), "function": function})
        message = {"role": pa.string(), "content": pa.string(), "tool_call_id": pa.string(), "tool_calls": pa.list_(call)}
        return pa.list_(pa.struct(message))

    return pa.table({"messages": pa.array([messages], column(pa.string())).cast(column(pa.json_()))})


def json_features(messages, features):
    from datasets import Dataset, Features

    return Dataset.from_list([{"messages": messages, "tools": TOOLS}], features=Features(features))


def parquet_files():
    import pyarrow as pa
    from datasets import Json, List, Value

    parquet("sharegpt", [sharegpt()])
    both = pa.Table.from_pylist([{"prompt": native()[:2], "completion": native()[2:], "reward": 1.0}])
    for name, column in odd_columns().items():
        both = both.append_column(name, column)
    parquet("prompt_completion", both)
    parquet("chat_text", [{"text": chat_text(), "reward": 1.0}])
    parquet("verl", [verl(), {**verl(), "score": 0.0}])
    parquet("nemo_gym", [nemo_gym()])
    parquet("parts", [{"messages": [with_parts(m) for m in native()], "reward": 1.0}])
    parquet("arguments_struct", [{"messages": with_objects(native(), {"timeout": 5})}])
    parquet("json_arguments", json_arguments())
    calls = [{"tool_calls": None, **message} for message in with_objects(native(), {"timeout": 5})]
    message = {"role": Value("string"), "content": Value("string"), "tool_call_id": Value("string"), "tool_calls": List(Json())}
    calls = [{name: row.get(name) for name in message} for row in calls]
    json_features(calls, {"messages": List(message), "tools": List(Json())}).to_parquet(OUT / "json_calls.parquet")
    whole = json_features(with_objects(native(), {"timeout": 5}), {"messages": List(Json()), "tools": List(Json())})
    whole.to_parquet(OUT / "json_messages.parquet")
    # Only Parquet's own types say that it is JSON.
    parquet("json_logical", whole.data.table.replace_schema_metadata(None), store_schema=False)


if __name__ == "__main__":
    parquet_files()
    if sys.argv[1:] == ["parquet"]:
        sys.exit()
    trial()
    continued()
    swe_agent()
    lines("messages.jsonl", {"messages": native(), "reward": 1.0})
    lines("parts.jsonl", {"messages": [with_parts(m) for m in native()], "reward": 1.0})
    lines("sharegpt.jsonl", sharegpt())
    lines("prompt_completion.jsonl", {"prompt": native()[:2], "completion": native()[2:], "reward": 1.0})
    lines("chat_text.jsonl", {"text": chat_text(), "reward": 1.0})
    lines("verl.jsonl", verl(), {**verl(), "score": 0.0})
    lines("verl_classic.jsonl", verl(before=""), {**verl(before=""), "score": 0.0})
    lines("verl_uid.jsonl", {**verl(), "uid": "q7_0_0"})
    lines("nemo_gym.jsonl", nemo_gym())
    lines("traces.jsonl", traces())
