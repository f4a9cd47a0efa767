#!/usr/bin/env python3
"""Makes those of fixtures/formats that assistants' sessions and traces are in: the rollout of make_session_fixtures.py in each.

smolagents' own agents write smolagents.json and smolagents_code.json; the instrumentations of OpenInference and OpenTelemetry write
openinference.jsonl and otlp.jsonl, while a client talks to a model that is a few lines of this script; pi's own session manager writes
pi.jsonl (make_pi_fixture.mjs). The others are put together by hand after their programs' sources (Gemini CLI's chatRecordingTypes.ts,
opencode's message-v2.ts, export.ts and run.ts, the AI SDK's ModelMessage, Gemini's API).

usage: make_agent_fixtures.py [smolagents] [spans]
needs for these: smolagents; openai, openinference-instrumentation-openai, opentelemetry-instrumentation-openai,
opentelemetry-exporter-otlp-proto-common
"""
import base64
import http.server
import json
import sys
import threading

from make_session_fixtures import ANSWER, ARGUMENTS, OUT, QUESTION, RESULTS, SYSTEM, THOUGHTS, document, lines

AT = "2026-01-02T03:04:{:02}.000Z"


def gemini_cli():
    header = {"sessionId": "5e55-10n", "projectHash": "ab" * 32, "startTime": AT.format(0), "lastUpdated": AT.format(9), "kind": "main"}
    messages = [{"id": "m0", "timestamp": AT.format(1), "type": "user", "content": [{"text": QUESTION}]}]
    for k in range(2):
        response = {"error": RESULTS[k]} if k == 0 else {"output": RESULTS[k]}
        call = {"id": f"python-{k}", "name": "python", "args": ARGUMENTS[k], "status": "error" if k == 0 else "success",
                "result": [{"functionResponse": {"id": f"python-{k}", "name": "python", "response": response}}],
                "timestamp": AT.format(k + 2), "displayName": "Python", "description": "Runs code", "renderOutputAsMarkdown": False}
        messages.append({"id": f"m{k + 1}", "timestamp": AT.format(k + 2), "type": "gemini", "content": THOUGHTS[k], "toolCalls": [call],
                         "thoughts": [{"subject": "Primes", "description": "Counting.", "timestamp": AT.format(k + 2)}],
                         "tokens": {"input": 321, "output": 12, "cached": 0, "thoughts": 5, "tool": 0, "total": 338}, "model": "model-7b"})
    messages.append({"id": "m8", "timestamp": AT.format(8), "type": "info", "content": "Update available."})
    messages.append({"id": "m9", "timestamp": AT.format(9), "type": "gemini", "content": ANSWER, "thoughts": [], "tokens": None, "model": "model-7b"})
    document("gemini_cli.json", {**header, "messages": messages})
    # Lines: a message is written again when its call has a result, and one is taken back.
    half = {**messages[1], "toolCalls": []}
    wrong = {"id": "m7", "timestamp": AT.format(5), "type": "user", "content": [{"text": "Never mind."}]}
    lines("gemini_cli.jsonl", header, messages[0], half, *messages[1:3], wrong, {"$rewindTo": "m7"}, *messages[3:], {"$set": {"lastUpdated": AT.format(9)}})


def opencode():
    ids = lambda part, message: {"id": f"prt_{part}", "sessionID": "ses_1", "messageID": f"msg_{message}"}
    time = {"start": 1767323045000, "end": 1767323046000}
    user = {"id": "msg_0", "sessionID": "ses_1", "role": "user", "time": {"created": 1767323045000}, "agent": "build",
            "model": {"providerID": "local", "modelID": "model-7b"}, "system": SYSTEM}
    messages = [{"info": user, "parts": [{**ids(0, 0), "type": "text", "text": QUESTION}]}]
    for k in range(2):
        shown = {"title": "python", "metadata": {}} if k else {}
        state = {"status": "completed" if k else "error", "input": ARGUMENTS[k], "output" if k else "error": RESULTS[k], "time": time, **shown}
        info = {"id": f"msg_{k + 1}", "sessionID": "ses_1", "role": "assistant", "time": {"created": 1767323046000}, "parentID": "msg_0",
                "modelID": "model-7b", "providerID": "local", "mode": "build", "cost": 0.25, "tokens": {"input": 321, "output": 12}}
        parts = [{"type": "step-start"}, {"type": "reasoning", "text": "Which tool?", "time": time}, {"type": "text", "text": THOUGHTS[k]},
                 {"type": "tool", "callID": f"c{k}", "tool": "python", "state": state}, {"type": "step-finish", "reason": "tool-calls", "cost": 0.25}]
        messages.append({"info": info, "parts": [{**ids(10 * k + n + 1, k + 1), **part} for n, part in enumerate(parts)]})
    messages.append({"info": {"id": "msg_3", "sessionID": "ses_1", "role": "assistant", "parentID": "msg_0"}, "parts": [{**ids(99, 3), "type": "text", "text": ANSWER}]})
    document("opencode.json", {"info": {"id": "ses_1", "title": "Primes", "directory": "/work", "version": "1.0.0"}, "messages": messages, "todos": []})
    names = {"step-start": "step_start", "step-finish": "step_finish", "tool": "tool_use"}
    events = [{"type": names.get(part["type"], part["type"]), "timestamp": 1767323046000, "sessionID": "ses_1", "part": part}
              for message in messages[1:] for part in message["parts"]]
    lines("opencode_events.jsonl", *events, {"type": "done", "timestamp": 1767323047000, "sessionID": "ses_1", "reason": "idle", "rejected": []})


def ai_sdk():
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": [{"type": "text", "text": QUESTION}]}]
    for k in range(2):
        asked = {"type": "tool-call", "toolCallId": f"c{k}", "toolName": "python", "input": ARGUMENTS[k]}
        output = {"type": "text" if k else "error-text", "value": RESULTS[k]}
        messages.append({"role": "assistant", "content": [{"type": "reasoning", "text": "Which tool?"}, {"type": "text", "text": THOUGHTS[k]}, asked]})
        messages.append({"role": "tool", "content": [{"type": "tool-result", "toolCallId": f"c{k}", "toolName": "python", "output": output}]})
    return {"messages": [*messages, {"role": "assistant", "content": [{"type": "text", "text": ANSWER}]}], "reward": 1.0}


def gemini():
    contents = [{"role": "user", "parts": [{"text": QUESTION}]}]
    for k in range(2):
        response = {"result": RESULTS[k]} if k else {"error": RESULTS[k]}
        contents.append({"role": "model", "parts": [{"text": THOUGHTS[k]}, {"functionCall": {"name": "python", "args": ARGUMENTS[k]}}]})
        contents.append({"role": "user", "parts": [{"functionResponse": {"name": "python", "response": response}}]})
    return {"systemInstruction": {"parts": [{"text": SYSTEM}]}, "contents": [*contents, {"role": "model", "parts": [{"text": ANSWER}]}], "reward": 1.0}


def smolagents():
    from smolagents import CodeAgent, ToolCallingAgent, tool
    from smolagents.models import ChatMessage, ChatMessageToolCall, ChatMessageToolCallFunction, MessageRole, Model

    @tool
    def nth_prime(n: int) -> int:
        """Gives a prime.

        Args:
            n: its place, from 1
        """
        if n > 100:
            raise ValueError("n is at most 100")
        return 29

    class Script(Model):
        def __init__(self, said):
            super().__init__(model_id="model-7b")
            self.said = list(said)

        def generate(self, messages, **more):
            return self.said.pop(0)

    prompts = {"system_prompt": SYSTEM, "planning": {name: "" for name in ("initial_plan", "update_plan_pre_messages", "update_plan_post_messages")},
               "managed_agent": {"task": "", "report": ""}, "final_answer": {"pre_messages": "", "post_messages": ""}}
    said = lambda thought, code: ChatMessage(role=MessageRole.ASSISTANT, content=f"Thought: {thought}\n<code>\n{code}\n</code>")
    script = [said(THOUGHTS[k], CODE) for k, CODE in enumerate(["print(nth_prim(10))", "print(nth_prime(10))"])] + [said("Done.", f"final_answer({ANSWER!r})")]
    agent = CodeAgent(tools=[nth_prime], model=Script(script), verbosity_level=0, prompt_templates=prompts)
    agent.run(QUESTION)
    document("smolagents_code.json", agent.memory.get_full_steps())

    def asked(k, name, arguments):
        function = ChatMessageToolCallFunction(name=name, arguments=arguments)
        return ChatMessage(role=MessageRole.ASSISTANT, content=THOUGHTS[k] if k < 2 else None,
                           tool_calls=[ChatMessageToolCall(id=f"c{k}", type="function", function=function)])

    script = [asked(0, "nth_prime", {"n": 1000}), asked(1, "nth_prime", {"n": 10}), asked(2, "final_answer", {"answer": ANSWER})]
    agent = ToolCallingAgent(tools=[nth_prime], model=Script(script), verbosity_level=0, prompt_templates=prompts)
    result = agent.run(QUESTION, return_full_result=True)
    document("smolagents.json", result.dict())


class Model(http.server.BaseHTTPRequestHandler):
    """Says the next line of the rollout, whatever it is asked."""

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        k = sum(message["role"] == "tool" for message in asked["messages"])
        message = {"role": "assistant", "content": THOUGHTS[k] if k < 2 else ANSWER}
        if k < 2:
            message["tool_calls"] = [{"id": f"c{k}", "type": "function", "function": {"name": "python", "arguments": json.dumps(ARGUMENTS[k])}}]
        body = {"id": f"chatcmpl-{k}", "object": "chat.completion", "created": 1767323045, "model": "model-7b",
                "choices": [{"index": 0, "message": message, "finish_reason": "tool_calls" if k < 2 else "stop"}],
                "usage": {"prompt_tokens": 321, "completion_tokens": 12, "total_tokens": 333}}
        body = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def spans():
    import openai
    from openinference.instrumentation.openai import OpenAIInstrumentor as OpenInference
    from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
    from google.protobuf.json_format import MessageToDict
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor, SpanExporter, SpanExportResult
    from opentelemetry.trace import Status, StatusCode

    from opentelemetry.instrumentation.openai import OpenAIInstrumentor as GenAi

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"

    class Lines(SpanExporter):
        def __init__(self):
            self.out = []

        def export(self, spans):
            record = MessageToDict(encode_spans(spans))
            # OTLP writes ids in hexadecimal where protobuf's JSON has base 64.
            for scope in record["resourceSpans"][0]["scopeSpans"]:
                for span in scope["spans"]:
                    for name in ("traceId", "spanId", "parentSpanId"):
                        if name in span:
                            span[name] = base64.b64decode(span[name]).hex()
            self.out.append(record)
            return SpanExportResult.SUCCESS

    def agent(tracer, of_tool):
        client = openai.OpenAI(base_url=url, api_key="none")
        messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": QUESTION}]
        tools = [{"type": "function", "function": {"name": "python", "parameters": {"type": "object"}}}]
        with tracer.start_as_current_span("agent"):
            for k in range(3):
                said = client.chat.completions.create(model="model-7b", messages=messages, tools=tools).choices[0].message
                messages.append({"role": "assistant", "content": said.content})
                for call in said.tool_calls or []:
                    messages[-1]["tool_calls"] = [call.model_dump(include={"id", "type", "function"})]
                    with tracer.start_as_current_span("python") as span:
                        span.set_attributes(of_tool(call, RESULTS[k]))
                        span.set_status(Status(StatusCode.ERROR, RESULTS[k].splitlines()[-1]) if k == 0 else Status(StatusCode.OK))
                    messages.append({"role": "tool", "tool_call_id": call.id, "content": RESULTS[k]})

    def by_openinference(call, result):
        return {"openinference.span.kind": "TOOL", "tool.name": call.function.name, "input.value": call.function.arguments, "output.value": result}

    def by_gen_ai(call, result):
        return {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": call.function.name, "gen_ai.tool.call.id": call.id,
                "gen_ai.tool.call.arguments": call.function.arguments, "gen_ai.tool.call.result": result}

    written = []

    class Kept:
        def write(self, text):
            written.append(text)

        def flush(self):
            pass

    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(out=Kept(), formatter=lambda span: span.to_json(indent=None) + "\n")))
    OpenInference().instrument(tracer_provider=provider)
    agent(provider.get_tracer("agent"), by_openinference)
    OpenInference().uninstrument()
    lines("openinference.jsonl", *[json.loads(line) for line in "".join(written).splitlines()])

    exporter, provider = Lines(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    GenAi().instrument(tracer_provider=provider)
    agent(provider.get_tracer("agent"), by_gen_ai)
    lines("otlp.jsonl", *exporter.out)
    server.shutdown()


def main(wanted):
    gemini_cli()
    opencode()
    lines("ai_sdk.jsonl", ai_sdk())
    lines("gemini.jsonl", gemini())
    if "smolagents" in wanted:
        smolagents()
    if "spans" in wanted:
        spans()


if __name__ == "__main__":
    main(sys.argv[1:])
