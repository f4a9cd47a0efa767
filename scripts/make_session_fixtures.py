#!/usr/bin/env python3
"""Makes those of fixtures/formats that agents and evaluations write: sessions, logs, trajectories.

The same rollout in each: a user asks, the model's first call fails, its second works, it answers. langchain-core's and
inspect_ai's own classes write langchain.jsonl and inspect_ai.eval / .json; the others are put together by hand after the field
lists of their programs' sources (Claude Code's and Codex's sessions, mini-swe-agent 1 and 2, OpenHands 0.x and its SDK, tau2-bench).

usage: make_session_fixtures.py [langchain] [inspect]
"""
import gzip
import json
import pathlib
import sys

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "formats"
SYSTEM, QUESTION, ANSWER = "You have a tool: python.", "What is the 10th prime?", "The 10th prime is 29."
THOUGHTS = ["I list primes.", "The name was misspelt."]
CODE = ["print(nth_prim(10))", "print(nth_prime(10))"]
RESULTS = ['Traceback (most recent call last):\n  File "<stdin>", line 1, in <module>\nNameError: name \'nth_prim\' is not defined', "29"]
ARGUMENTS = [{"code": code} for code in CODE]


def lines(name, *rows):
    (OUT / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def document(name, value):
    (OUT / name).write_text(json.dumps(value, indent=1) + "\n")


def blocks(k):
    asked = [{"type": "text", "text": THOUGHTS[k]}, {"type": "tool_use", "id": f"t{k}", "name": "python", "input": ARGUMENTS[k]}]
    answer = {"type": "tool_result", "tool_use_id": f"t{k}", "content": RESULTS[k], "is_error": k == 0}
    return asked, answer


def anthropic():
    messages = [{"role": "user", "content": QUESTION}]
    for k in range(2):
        asked, answer = blocks(k)
        if k == 0:
            asked.insert(0, {"type": "thinking", "thinking": "Which tool?", "signature": "sig-1"})
        messages += [{"role": "assistant", "content": asked}, {"role": "user", "content": [answer]}]
    return {"system": SYSTEM, "messages": [*messages, {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}], "reward": 1.0}


def claude_code():
    """Each block is a record of its own; a side chain stands among them."""
    session, out, parent = "5e55-10n", [], None

    def record(of_type, message, **more):
        nonlocal parent
        uuid = f"u{len(out)}"
        out.append({"parentUuid": parent, "isSidechain": False, "userType": "external", "cwd": "/work", "sessionId": session,
                    "version": "2.0.14", "gitBranch": "main", "type": of_type, "message": message, "uuid": uuid,
                    "timestamp": f"2026-01-02T03:04:{len(out):02}.000Z", **more})
        parent = uuid

    out.append({"type": "summary", "summary": "Primes", "leafUuid": "u1"})
    record("user", {"role": "user", "content": QUESTION})
    for k in range(2):
        asked, answer = blocks(k)
        for block in asked:
            record("assistant", {"id": f"msg_{k}", "type": "message", "role": "assistant", "model": "model-7b", "content": [block],
                                 "stop_reason": "tool_use", "usage": {"input_tokens": 321, "output_tokens": 12}}, requestId=f"req_{k}")
        record("user", {"role": "user", "content": [answer]}, toolUseResult={"stdout": "", "stderr": RESULTS[k], "interrupted": False})
    record("user", {"role": "user", "content": "Look for primes."}, isSidechain=True, agentId="a1")
    record("assistant", {"id": "msg_s", "type": "message", "role": "assistant", "model": "model-7b",
                         "content": [{"type": "text", "text": "There are some."}]}, isSidechain=True, agentId="a1")
    record("assistant", {"id": "msg_9", "type": "message", "role": "assistant", "model": "model-7b",
                         "content": [{"type": "text", "text": ANSWER}]})
    return out


def items(prefix=""):
    out = []
    for k in range(2):
        out.append({"type": "reasoning", "id": f"rs_{k}", "summary": [{"type": "summary_text", "text": THOUGHTS[k]}]})
        out.append({"type": "function_call", "id": f"fc_{k}", "call_id": f"c{k}", "name": "python", "arguments": json.dumps(ARGUMENTS[k])})
        out.append({"type": "function_call_output", "call_id": f"c{k}", "output": RESULTS[k]})
    return [*out, {"type": "message", "id": "msg_1", "role": "assistant", "content": [{"type": "output_text", "text": ANSWER}]}]


def responses():
    return {"id": "resp_1", "instructions": SYSTEM, "input": [{"role": "user", "content": QUESTION}], "output": items(), "model": "model-7b"}


def codex():
    at = lambda k: f"2026-01-02T03:04:{k:02}.000Z"
    user = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": QUESTION}]}
    out = [{"timestamp": at(0), "type": "session_meta", "payload": {"id": "0199-aa", "cwd": "/work", "originator": "codex_cli_rs",
            "cli_version": "0.50.0", "instructions": SYSTEM, "git": {"branch": "main"}}},
           {"timestamp": at(1), "type": "turn_context", "payload": {"cwd": "/work", "approval_policy": "never", "model": "model-7b"}},
           {"timestamp": at(2), "type": "event_msg", "payload": {"type": "user_message", "message": QUESTION}}]
    for k, item in enumerate([user, *items()]):
        out.append({"timestamp": at(k + 3), "type": "response_item", "payload": item})
    return out


def mini_swe_agent(version):
    fence = "bash" if version == 1 else "mswea_bash_command"
    messages = [{"role": "system", "content": "You have a shell."}, {"role": "user", "content": QUESTION}]
    for k in range(2):
        command = f"python -c '{CODE[k]}'"
        result = f"<returncode>{1 - k}</returncode>\n<output>\n{RESULTS[k]}\n</output>"
        if version == 1:
            messages.append({"role": "assistant", "content": f"THOUGHT: {THOUGHTS[k]}\n\n```{fence}\n{command}\n```", "extra": {"cost": 0.25 + k}})
            messages.append({"role": "user", "content": result})
        else:
            call = {"id": f"c{k}", "type": "function", "function": {"name": "bash", "arguments": json.dumps({"command": command})}}
            messages.append({"role": "assistant", "content": f"THOUGHT: {THOUGHTS[k]}", "tool_calls": [call], "extra": {"cost": 0.25 + k}})
            messages.append({"role": "tool", "tool_call_id": f"c{k}", "content": result, "extra": {"returncode": 1 - k}})
    messages.append({"role": "exit", "content": ANSWER, "extra": {"exit_status": "Submitted"}})
    info = {"exit_status": "Submitted", "submission": ANSWER, "model_stats": {"instance_cost": 1.5, "api_calls": 3}, "mini_version": f"{version}.1.0"}
    return {"trajectory_format": f"mini-swe-agent-{version}", "instance_id": "prime__prime-10", "info": info, "messages": messages}


def openhands():
    out = [{"id": 0, "timestamp": "2026-01-02T03:04:05", "source": "agent", "message": SYSTEM, "action": "system", "args": {"content": SYSTEM}},
           {"id": 1, "timestamp": "2026-01-02T03:04:06", "source": "user", "message": QUESTION, "action": "message", "args": {"content": QUESTION}}]
    for k in range(2):
        call = {"id": f"c{k}", "type": "function", "function": {"name": "execute_ipython_cell", "arguments": json.dumps(ARGUMENTS[k])}}
        response = {"id": f"chatcmpl-{k}", "model": "model-7b", "choices": [{"index": 0, "finish_reason": "tool_calls", "message":
                    {"role": "assistant", "content": THOUGHTS[k], "tool_calls": [call]}}]}
        metadata = {"function_name": "execute_ipython_cell", "tool_call_id": f"c{k}", "total_calls_in_response": 1}
        out.append({"id": 2 * k + 2, "timestamp": "2026-01-02T03:04:07", "source": "agent", "action": "run_ipython",
                    "args": {"code": CODE[k], "thought": THOUGHTS[k]}, "tool_call_metadata": {**metadata, "model_response": response}})
        out.append({"id": 2 * k + 3, "timestamp": "2026-01-02T03:04:08", "source": "agent", "observation": "run_ipython", "cause": 2 * k + 2,
                    "content": RESULTS[k], "extras": {"code": CODE[k]}, "tool_call_metadata": metadata})
    out.append({"id": 6, "timestamp": "2026-01-02T03:04:09", "source": "agent", "action": "finish", "args": {"final_thought": ANSWER}})
    return {"instance_id": "prime-10", "instruction": QUESTION, "history": out, "report": {"resolved": True}, "metrics": {"accumulated_cost": 0.75}}


def openhands_events():
    text = lambda said: [{"type": "text", "text": said}]
    out = [{"id": "e0", "timestamp": "2026-01-02T03:04:05", "source": "agent", "kind": "SystemPromptEvent",
            "system_prompt": {"type": "text", "text": SYSTEM}, "tools": []},
           {"id": "e1", "timestamp": "2026-01-02T03:04:06", "source": "user", "kind": "MessageEvent",
            "llm_message": {"role": "user", "content": text(QUESTION)}}]
    for k in range(2):
        call = {"id": f"c{k}", "name": "python", "arguments": json.dumps(ARGUMENTS[k]), "origin": "completion"}
        out.append({"id": f"a{k}", "timestamp": "2026-01-02T03:04:07", "source": "agent", "kind": "ActionEvent", "thought": text(THOUGHTS[k]),
                    "action": {"kind": "PythonAction", **ARGUMENTS[k]}, "tool_name": "python", "tool_call_id": f"c{k}", "tool_call": call,
                    "llm_response_id": f"chatcmpl-{k}"})
        out.append({"id": f"o{k}", "timestamp": "2026-01-02T03:04:08", "source": "environment", "kind": "ObservationEvent",
                    "tool_name": "python", "tool_call_id": f"c{k}", "action_id": f"a{k}",
                    "observation": {"kind": "PythonObservation", "content": text(RESULTS[k])}})
    out.append({"id": "e9", "timestamp": "2026-01-02T03:04:09", "source": "agent", "kind": "MessageEvent",
                "llm_message": {"role": "assistant", "content": text(ANSWER)}})
    return out


def tau2():
    messages = [{"role": "user", "content": QUESTION, "turn_idx": 0}]
    for k in range(2):
        call = {"id": f"c{k}", "name": "python", "arguments": ARGUMENTS[k], "requestor": "assistant"}
        messages.append({"role": "assistant", "content": None, "tool_calls": [call], "turn_idx": 2 * k + 1, "cost": 0.25})
        messages.append({"role": "tool", "id": f"c{k}", "content": RESULTS[k], "requestor": "assistant", "error": k == 0, "turn_idx": 2 * k + 2})
    own = {"id": "u0", "name": "check_status", "arguments": {}, "requestor": "user"}
    messages += [{"role": "user", "content": None, "tool_calls": [own]}, {"role": "tool", "id": "u0", "content": "Airplane mode: on", "requestor": "user", "error": False},
                 {"role": "assistant", "content": ANSWER}]
    one = lambda trial: {"id": f"sim-{trial}", "task_id": "task_7", "trial": trial, "termination_reason": "agent_stop", "seed": 300,
                         "reward_info": {"reward": float(trial), "info": {}}, "messages": messages}
    return {"timestamp": "2026-01-02T03:04:05", "info": {"num_trials": 2}, "tasks": [{"id": "task_7", "description": "x" * 3000}],
            "simulations": [one(0), one(1)]}


def ms_swift():
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
    for k in range(2):
        messages.append({"role": "tool_call", "content": json.dumps({"name": "python", "arguments": ARGUMENTS[k]})})
        messages.append({"role": "tool_response", "content": RESULTS[k]})
    return {"messages": [*messages, {"role": "assistant", "content": ANSWER}], "tools": "[]"}


def langchain():
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage, ToolMessage

    messages = [SystemMessage(SYSTEM), HumanMessage(QUESTION)]
    for k in range(2):
        messages.append(AIMessage(THOUGHTS[k], tool_calls=[{"name": "python", "args": ARGUMENTS[k], "id": f"c{k}"}]))
        messages.append(ToolMessage(RESULTS[k], tool_call_id=f"c{k}", name="python", status="success" if k else "error"))
    messages.append(AIMessage(ANSWER))
    lines("langchain.jsonl", {"messages": [message.model_dump(mode="json") for message in messages]})


def inspect():
    from inspect_ai.log import EvalConfig, EvalDataset, EvalLog, EvalResults, EvalSample, EvalSpec, write_eval_log
    from inspect_ai.model import ChatMessageAssistant, ChatMessageSystem, ChatMessageTool, ChatMessageUser
    from inspect_ai.scorer import Score
    from inspect_ai.tool import ToolCall, ToolCallError

    def messages():
        out = [ChatMessageSystem(id="m0", content=SYSTEM), ChatMessageUser(id="m1", content=QUESTION, source="input")]
        for k in range(2):
            out.append(ChatMessageAssistant(id=f"a{k}", content=THOUGHTS[k], tool_calls=[ToolCall(id=f"c{k}", function="python", arguments=ARGUMENTS[k])]))
            error = ToolCallError("unknown", RESULTS[k]) if k == 0 else None
            out.append(ChatMessageTool(id=f"t{k}", content="" if k == 0 else RESULTS[k], tool_call_id=f"c{k}", function="python", error=error))
        return [*out, ChatMessageAssistant(id="m9", content=ANSWER)]

    samples = [EvalSample(id="prime-10", epoch=epoch, input=QUESTION, target="29", messages=messages(),
                          scores={"match": Score(value="C" if epoch == 1 else "I", answer="29")}) for epoch in (1, 2)]
    spec = EvalSpec(created="2026-01-02T03:04:05+00:00", task="primes", dataset=EvalDataset(), model="mock/model", config=EvalConfig(),
                    eval_id="eval1", run_id="run1", task_id="task1")
    log = EvalLog(status="success", eval=spec, results=EvalResults(), samples=samples)
    for name in ("inspect_ai.json", "inspect_ai.eval"):
        write_eval_log(log, str(OUT / name))


def main(wanted):
    lines("anthropic.jsonl", anthropic())
    lines("claude_code.jsonl", *claude_code())
    lines("responses.jsonl", responses())
    lines("codex.jsonl", *codex())
    document("mini_swe_agent.traj.json", mini_swe_agent(1))
    document("mini_swe_agent_2.traj.json", mini_swe_agent(2))
    lines("openhands.jsonl", openhands())
    document("openhands_events.json", openhands_events())
    document("tau2_bench.json", tau2())
    lines("ms_swift.jsonl", ms_swift())
    for name in ("anthropic.jsonl", "claude_code.jsonl"):
        (OUT / f"{name}.gz").write_bytes(gzip.compress((OUT / name).read_bytes(), mtime=0))
    if "langchain" in wanted:
        langchain()
    if "inspect" in wanted:
        inspect()


if __name__ == "__main__":
    main(sys.argv[1:])
