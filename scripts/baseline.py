#!/usr/bin/env python3
"""The two baselines of scripts/compare_baseline.sh: a copy by pyarrow, and the job as a Python user would write it.

usage: baseline.py copy IN OUT
       baseline.py purify IN OUT [ROWS]     one process, pyarrow + difflib; with ROWS the first ROWS rollouts only
"""
import difflib
import re
import sys
import time

import pyarrow as pa
import pyarrow.parquet as pq

ERROR = re.compile(r"Traceback \(most recent call last\)|^(Error|ERROR|error)\b|command not found|No such file or directory", re.M)
GAMMA, MAX_RETRIES = 0.5, 3


def segment(message):
    calls = [f'<tool_call>\n{{"name": "{c["function"]["name"]}", "arguments": {c["function"]["arguments"]}}}\n</tool_call>'
             for c in message["tool_calls"]]
    return "\n".join(calls) + "<|im_end|>"


def steps_of(messages):
    steps, k = [], 0
    while k < len(messages):
        end = k + 1
        if messages[k]["role"] == "assistant":
            while end < len(messages) and messages[end]["role"] == "tool":
                end += 1
        results = messages[k + 1:end]
        is_attempt = messages[k]["role"] == "assistant" and messages[k]["tool_calls"] and results
        failed = is_attempt and any(r["is_error"] or (r["is_error"] is None and ERROR.search(r["content"] or "")) for r in results)
        steps.append((k, end, "failed" if failed else "ok" if is_attempt else None))
        k = end
    return steps


def purify(messages):
    steps, out, k = steps_of(messages), [], 0
    while k < len(steps):
        last = k
        while last < len(steps) and steps[last][2] == "failed":
            last += 1
        if last > k and last - k <= MAX_RETRIES and last < len(steps) and steps[last][2] == "ok":
            thought = messages[steps[k][0]]
            call = thought
            for step in steps[k + 1:last + 1]:
                new = messages[step[0]]
                if difflib.SequenceMatcher(None, segment(call), segment(new)).ratio() < GAMMA:
                    thought = new
                call = new
            out.append({**call, "content": thought["content"], "reasoning_content": thought.get("reasoning_content")})
            out += messages[steps[last][0] + 1:steps[last][1]]
            k = last + 1
        else:
            out += messages[steps[k][0]:steps[k][1]]
            k += 1
    return out


def main():
    what, source, target = sys.argv[1:4]
    start = time.perf_counter()
    if what == "copy":
        pq.write_table(pq.read_table(source), target, compression="zstd")
    else:
        table = pq.read_table(source)
        if len(sys.argv) > 4:
            table = table.slice(0, int(sys.argv[4]))
        start = time.perf_counter()
        at = table.column_names.index("messages")
        messages = [purify(row) for row in table["messages"].to_pylist()]
        table = table.set_column(at, table.schema.field(at), pa.array(messages, type=table.schema.field(at).type))
        pq.write_table(table, target, compression="zstd")
    print(f"{time.perf_counter() - start:.3f}")


if __name__ == "__main__":
    main()
