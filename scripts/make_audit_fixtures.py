#!/usr/bin/env python3
"""Makes fixtures/audit: labelled rollouts, and every number of their audit, counted by a program of its own.

Nothing here is shared with purify: the repairs are made with CPython's difflib, the counts by plain loops. Needs pyarrow and
blake3. The purified side is computed here as well; purify's own file must lead to the same numbers.
"""
import ast
import builtins
import json
import pathlib
import random
from collections import Counter, defaultdict
from difflib import SequenceMatcher

import blake3
import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).resolve().parent.parent / "fixtures" / "audit"
GAMMA, RETRIES, LONGEST, POSITIONS, STREAK = 0.5, 3, 5, 32, 4
MARKER = 7
WORDS = "alpha beta gamma delta total prime value count theta sigma kappa lambda omega zeta mu nu".split()
ERRORS = ["NameError: name 'x' is not defined", "TypeError: unsupported operand", "ValueError: bad value"]
TOOLS = json.dumps([{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ["python", "solve"]])


# ---------------------------------------------------------------- rollouts

def generate(draw):
    rows = []
    for k in range(160):
        messages = [{"role": "system", "content": "Use tools."}, {"role": "user", "content": f"Question {k // 4}?"}]
        ids, helpers, wanted = iter(range(10_000)), iter(range(10_000)), []
        for _ in range(draw.randint(0, 5)):
            run = draw.choice([0, 0, 0, 1, 1, 1, 2, 3, 4, 5, 6])
            words = [draw.choice(WORDS) for _ in range(draw.choice([4, 30, 80]))]
            kind, helper = draw.choice([None, None, None, "needs", "makes", "later", "broken"]), f"helper_{next(helpers)}"
            if kind == "later":
                wanted.append(helper)
            for attempt in range(run + draw.choice([0, 1, 1, 1])):
                failed = attempt < run
                tool = draw.choice(["python", "python", "solve", "compute"])
                for _ in range(draw.choice([0, 1, 2, len(words)])):
                    words[draw.randrange(len(words))] = draw.choice(WORDS)
                said = {"code": code_of(kind, helper, failed)} if kind else {"text": " ".join(words)}
                calls = [{"id": f"c{next(ids)}", "type": "function", "function": {"name": "python" if kind else tool, "arguments": json.dumps(said)}}]
                if draw.random() < 0.15:
                    calls.append({"id": f"c{next(ids)}", "type": "function", "function": {"name": "solve", "arguments": "{}"}})
                if draw.random() < 0.05:
                    calls[0]["id"] = "c0"
                messages.append({"role": "assistant", "content": f"Step {draw.choice(WORDS)}.", "tool_calls": calls})
                for n, call in enumerate(calls):
                    error = failed and n == len(calls) - 1
                    text = draw.choice(ERRORS) if error else f"fine {draw.randint(0, 99)}"
                    messages.append({"role": "tool", "content": text, "is_error": error, "tool_call_id": call["id"] if draw.random() > 0.03 else "nobody"})
            if draw.random() < 0.3:
                messages.append({"role": "assistant", "content": f"The {draw.choice(ERRORS + ['KeyError: 1']).split(':')[0]} is gone."})
            if draw.random() < 0.3:
                messages.append({"role": draw.choice(["user", "assistant"]), "content": "Go on."})
        if wanted and draw.random() < 0.7:
            call = {"id": "use", "type": "function", "function": {"name": "python", "arguments": json.dumps({"code": f"print({wanted[0]})"})}}
            messages += [{"role": "user", "content": "And?"}, {"role": "assistant", "content": "Look.", "tool_calls": [call]},
                         {"role": "tool", "content": "1", "is_error": False, "tool_call_id": "use"}]
        if draw.random() < 0.1:
            messages.append({"role": "assistant", "content": "Open.", "tool_calls": [{"id": "open", "type": "function", "function": {"name": "python", "arguments": "{}"}}]})
        reward = draw.choice([1.0, 1.0, 0.0, -0.5, None])
        if draw.random() < 0.6:
            add_tokens(messages, draw)
        rows.append({"rollout_id": f"r{k}", "group_id": f"g{k // 4}", "messages": messages, "tools": TOOLS, "reward": reward,
                     "data_source": draw.choice(["math", "code", None])})
    return rows


def code_of(kind, helper, failed):
    """Code whose correction needs what the failed attempt made, makes it again, leaves it to later, or can't be parsed."""
    if failed:
        return f"{helper} = 1\nboom({helper})"
    return {"needs": f"print({helper})", "makes": f"{helper} = 2\nprint({helper})", "later": "print(1)", "broken": "print((1"}[kind]


def add_tokens(messages, draw):
    """How many tokens a message has: of its header, the reasoning and the call of an assistant, or what others say."""
    for message in messages[2:]:
        if message["role"] == "assistant":
            called = 1 + draw.randint(0, 5) if message.get("tool_calls") else 0
            message["size"] = {"header": 2, "reasoning": draw.randint(1, 6), "call": called}
        else:
            message["size"] = {"header": draw.randint(1, 4), "reasoning": 0, "call": 0}


def tokens_of(messages):
    if "size" not in messages[-1]:
        return {"response_ids": None, "response_mask": None}
    ids, mask = [], []
    for size in (message["size"] for message in messages[2:]):
        ids += [1] * size["header"] + [2] * size["reasoning"] + ([MARKER] + [3] * (size["call"] - 1) if size["call"] else [])
        mask += [0] * size["header"] + [1] * (size["reasoning"] + size["call"])
    return {"response_ids": ids, "response_mask": mask}


def write(rows):
    text = pa.string()
    function = pa.struct({"name": text, "arguments": text})
    call = pa.struct({"id": text, "type": text, "function": function})
    message = pa.struct({"role": text, "content": text, "tool_call_id": text, "is_error": pa.bool_(), "tool_calls": pa.list_(call)})
    schema = pa.schema({"rollout_id": text, "group_id": text, "messages": pa.list_(message), "tools": text, "reward": pa.float64(), "data_source": text,
                        "response_ids": pa.list_(pa.int32()), "response_mask": pa.list_(pa.int8())})
    rows = [{**row, **tokens_of(row["messages"])} for row in rows]
    pq.write_table(pa.Table.from_pylist(rows, schema), OUT / "raw.parquet", compression="zstd")


# ---------------------------------------------------------------- the method

def steps_of(messages):
    steps = []
    for k, message in enumerate(messages):
        if message["role"] != "assistant":
            continue
        end = k + 1
        while end < len(messages) and messages[end]["role"] == "tool":
            end += 1
        outcome = None
        if message.get("tool_calls"):
            results = messages[k + 1:end]
            outcome = "open" if not results else "failed" if any(r["is_error"] for r in results) else "ok"
        steps.append({"at": k, "end": end, "outcome": outcome})
    return steps


def runs_of(steps):
    """(first step, length, step of the correction or None)."""
    runs, k = [], 0
    while k < len(steps):
        if steps[k]["outcome"] != "failed":
            k += 1
            continue
        first = k
        while k + 1 < len(steps) and steps[k + 1]["at"] == steps[k]["end"] and steps[k + 1]["outcome"] == "failed":
            k += 1
        behind = k + 1 if k + 1 < len(steps) and steps[k + 1]["at"] == steps[k]["end"] else None
        runs.append((first, k - first + 1, behind if behind is not None and steps[behind]["outcome"] == "ok" else None))
        k += 1
    return runs


def segment(message):
    call = lambda c: f'<tool_call>\n{{"name": "{c["function"]["name"]}", "arguments": {c["function"]["arguments"]}}}\n</tool_call>'
    return "\n".join(call(c) for c in message["tool_calls"]) + "<|im_end|>"


def ratios(messages, steps, first, last, junk=True):
    texts = [segment(messages[steps[s]["at"]]) for s in range(first, last + 1)]
    return [SequenceMatcher(None, a, b, autojunk=junk).ratio() for a, b in zip(texts, texts[1:])]


def error_type(messages, step):
    results = messages[step["at"] + 1:step["end"]]
    return next(r["content"].split(":")[0] for r in results if r["is_error"])


def purify(messages):
    steps = steps_of(messages)
    repairs, out, behind = [], [], 0
    spans = [(first, correction) for first, length, correction in runs_of(steps) if correction is not None and length <= RETRIES]
    for first, correction in spans:
        found = ratios(messages, steps, first, correction)
        reasoning = first
        for k, similarity in enumerate(found):
            if similarity < GAMMA:
                reasoning = first + k + 1
        start, step = steps[first]["at"], steps[correction]
        out += messages[behind:start]
        merged = {**messages[step["at"]], "content": messages[steps[reasoning]["at"]]["content"]}
        if "size" in merged:
            merged["size"] = {"header": messages[start]["size"]["header"], "reasoning": messages[steps[reasoning]["at"]]["size"]["reasoning"],
                              "call": merged["size"]["call"]}
        out.append(merged)
        out += messages[step["at"] + 1:step["end"]]
        behind = step["end"]
        calls = messages[step["at"]]["tool_calls"]
        same = any([(c["function"]["name"], c["function"]["arguments"]) for c in messages[steps[s]["at"]]["tool_calls"]]
                   == [(c["function"]["name"], c["function"]["arguments"]) for c in calls] for s in range(first, correction))
        types = [error_type(messages, steps[s]) for s in range(first, correction)]
        follows = messages[step["end"]] if step["end"] < len(messages) else {"role": "nobody"}
        residue = follows["role"] == "assistant" and any(name in follows["content"] for name in types)
        before, after = (sum(sum(m["size"].values()) for m in part if "size" in m) for part in (messages[start:step["end"]], [merged, *messages[step["at"] + 1:step["end"]]]))
        repairs.append({"residue": residue, "depends": depends(messages, steps, spans, first, correction), "removed_tokens": before - after,
                        "similarity": found, "deep": reasoning != first, "tool": calls[0]["function"]["name"], "same": same,
                        "errors": types, "removed": step["at"] - start})
    return out + messages[behind:], repairs


def code_at(messages, step):
    """The Python of an attempt; None if it calls no Python."""
    calls = messages[step["at"]].get("tool_calls") or []
    codes = [c["function"]["arguments"] for c in calls if c["function"]["name"] == "python"]
    codes = [json.loads(code).get("code", code) for code in codes]
    return "\n".join(codes) if codes else None


def names(code):
    """(names it makes, names it needs from before), of flat code; None if it can't be parsed."""
    made, needed = set(), set()
    try:
        body = ast.parse(code).body
    except SyntaxError:
        return None
    for statement in body:
        found = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
        needed |= {n.id for n in found if isinstance(n.ctx, ast.Load)} - made - set(dir(builtins))
        made |= {n.id for n in found if isinstance(n.ctx, ast.Store)}
    return made, needed


def depends(messages, steps, spans, first, correction):
    """Whether what stays needs a name that only removed attempts have made; None: can't be told."""
    if all(code_at(messages, steps[s]) is None for s in range(first, correction)):
        return None
    removed = {s for span in spans for s in range(*span)}
    known, gone, murky = set(), set(), ""
    for s, step in enumerate(steps):
        code = code_at(messages, step)
        if code is None:
            continue
        found = names(code)
        if first <= s < correction:
            gone |= found[0]
        elif s not in removed and found is None:
            # It may make any name that stands in it, and what it needs nobody knows.
            murky += "\n" + code
            if s == correction:
                return None
        elif s not in removed:
            needed = found[1] & gone - known
            if s >= correction and step["outcome"] == "ok" and needed:
                return True if any(name not in murky for name in needed) else None
            known |= found[0]
    return False


# ---------------------------------------------------------------- the numbers

def tally(pairs):
    pairs = list(pairs)
    return {"attempts": len(pairs), "failed": sum(pairs)}


def rate(counts):
    return counts["failed"] / counts["attempts"] if counts["attempts"] else None


def characters(message):
    calls = message.get("tool_calls") or []
    return len(message["content"] or "") + sum(len(c["function"]["name"]) + len(c["function"]["arguments"]) for c in calls)


def side(rollouts):
    tools, positions, streaks = defaultdict(list), defaultdict(list), defaultdict(list)
    types, lengths, outcomes = Counter(), defaultdict(Counter), Counter()
    sizes = [m["size"] for messages in rollouts for m in messages if "size" in m]
    policy = 0
    spent = corrected = uncorrected = 0
    firsts = []
    for messages in rollouts:
        steps = steps_of(messages)
        position, streak = 0, None
        for step in steps:
            outcomes[step["outcome"]] += 1
            if step["outcome"] not in ("ok", "failed"):
                continue
            failed = step["outcome"] == "failed"
            if failed:
                types[error_type(messages, step)] += 1
                spent += sum(characters(m) for m in messages[step["at"]:step["end"]])
                size = messages[step["at"]].get("size", {"reasoning": 0, "call": 0})
                policy += size["reasoning"] + size["call"]
            calls, by_name = messages[step["at"]]["tool_calls"], {}
            for k, result in enumerate(messages[step["at"] + 1:step["end"]]):
                name = calls[k if k < len(calls) else 0]["function"]["name"]
                by_name[name] = by_name.get(name, False) or result["is_error"]
            for name, is_error in by_name.items():
                tools[name].append(is_error)
            positions[min(position, POSITIONS - 1)].append(failed)
            if position == 0:
                firsts.append(failed)
            streaks["first" if streak is None else min(streak, STREAK)].append(failed)
            streak = (streak or 0) + 1 if failed else 0
            position += 1
        for _, length, correction in runs_of(steps):
            name = "uncorrected" if correction is None else "corrected"
            lengths[length][name] += 1
            corrected += correction is not None
            uncorrected += correction is None
    after_ok, after_failures = tally(streaks[0]), [tally(streaks[k]) for k in range(1, STREAK + 1)]
    after_failure = tally(x for k in range(1, STREAK + 1) for x in streaks[k])
    attempts = outcomes["ok"] + outcomes["failed"]
    return {
        "rollouts": len(rollouts), "messages": sum(map(len, rollouts)), "steps": sum(outcomes.values()),
        "attempts": attempts + outcomes["open"], "ok": outcomes["ok"], "failed": outcomes["failed"], "open": outcomes["open"],
        "error_rate": outcomes["failed"] / attempts if attempts else None, "characters": sum(characters(m) for ms in rollouts for m in ms),
        "characters_on_failures": spent, "tokens": sum(sum(size.values()) for size in sizes) if sizes else None,
        "tokens_on_failures": policy if sizes else None, "first_attempts": tally(firsts),
        "first_attempt_success_rate": 1 - rate(tally(firsts)) if firsts else None, "by_tool": {k: tally(v) for k, v in tools.items()},
        "error_types": dict(types), "by_position": [tally(positions[k]) for k in range(max(positions, default=-1) + 1)],
        "failure_runs": {str(k): {"corrected": v["corrected"], "uncorrected": v["uncorrected"]} for k, v in lengths.items()},
        "corrected": corrected, "uncorrected": uncorrected,
        "cascade": {"first": tally(streaks["first"]), "after_ok": after_ok, "after_failures": after_failures,
                    "rate_after_ok": rate(after_ok), "rate_after_failure": rate(after_failure),
                    "ratio": rate(after_failure) / rate(after_ok) if rate(after_failure) is not None and rate(after_ok) else None},
    }


def all_repairs(rows, done):
    repairs = [r for _, found in done for r in found]
    bins = [0] * 20
    for repair in repairs:
        bins[min(int(min(repair["similarity"]) * 20), 19)] += 1
    recovered = unrecovered = 0
    for row in rows:
        for _, length, correction in runs_of(steps_of(row["messages"])):
            recovered += correction is not None and length <= RETRIES
            unrecovered += correction is None or length > RETRIES
    deep = sum(r["deep"] for r in repairs)
    return {"rollouts_repaired": sum(bool(found) for _, found in done), "recovered": recovered, "unrecovered": unrecovered,
            "repairs": len(repairs), "shallow": len(repairs) - deep, "deep": deep, "collapsed": 0, "deep_rate": deep / len(repairs) if repairs else None,
            "removed_messages": sum(r["removed"] for r in repairs), "removed_tokens": sum(r["removed_tokens"] for r in repairs), "similarity": bins,
            "by_tool": dict(Counter(r["tool"] for r in repairs)), "error_types": dict(Counter(e for r in repairs for e in r["errors"])),
            "skipped": {}}


def reference(rows, replaced):
    calls = calls_ok = first = first_ok = triggered = recovered = 0
    reasons = Counter()
    for row in rows:
        messages, retried = row["messages"], None
        steps = steps_of(messages)
        for step in steps:
            results = messages[step["at"] + 1:step["end"]] if step["outcome"] in ("ok", "failed") else []
            for result in results:
                calls += 1
                calls_ok += not result["is_error"]
                first += retried != step["at"]
                first_ok += retried != step["at"] and not result["is_error"]
                if result["is_error"]:
                    reasons[result["content"].split(":")[0]] += 1
            retried = step["end"] if step["outcome"] == "failed" else None
        for _, length, correction in runs_of(steps):
            triggered += 1
            recovered += correction is not None and length <= RETRIES
    out = {"tool_call_total": calls, "tool_call_success": calls_ok, "first_attempt_total": first, "first_attempt_success": first_ok,
           "global_rollback_triggered": triggered, "global_rollback_recovered": recovered, "global_rollback_failed": triggered - recovered,
           "rollback_replace_count": replaced, "rollback_append_count": 0, "tool_call_success_rate": calls_ok / calls,
           "first_attempt_success_rate": first_ok / first, **{f"tool_failure_reasons/{k}": v for k, v in reasons.items()}}
    return {name: float(value) for name, value in out.items()}


def sensitivity(rows):
    found = []
    for row in rows:
        steps = steps_of(row["messages"])
        for first, length, correction in runs_of(steps):
            if correction is not None and length <= LONGEST:
                pair = [min(ratios(row["messages"], steps, first, correction, junk)) for junk in (True, False)]
                found.append((length, *pair))
    def curve(retries, column):
        values = [f[column] for f in found if f[0] <= retries]
        return {"max_retries": retries, "repairs": len(values), "deep": [sum(v < t / 100 for v in values) for t in range(101)]}
    now = [f for f in found if f[0] <= RETRIES]
    changed = lambda other: sum((f[1] < GAMMA) != other(f) for f in now)
    return {"threshold": GAMMA, "max_retries": RETRIES, "by_retries": [curve(k, 1) for k in range(1, LONGEST + 1)],
            "without_junk": curve(RETRIES, 2), "semantic": None, "changed_without_junk": changed(lambda f: f[2] < GAMMA),
            "changed_by_meaning": None, "changed_at_lower": changed(lambda f: f[1] < GAMMA - 0.1),
            "changed_at_higher": changed(lambda f: f[1] < GAMMA + 0.1)}


def advantages(members, picks):
    groups, out, kinds = defaultdict(list), {}, Counter()
    for member in members:
        groups[member["group"]].append(member)
    for group in groups.values():
        kept = resampled(group) if picks else group
        rewards = [m["reward"] for m in kept]
        if len(kept) < 2:
            kinds["single"] += 1
        elif len(set(rewards)) == 1:
            kinds["equal"] += 1
        else:
            mean = sum(rewards) / len(rewards)
            deviation = (sum((r - mean) ** 2 for r in rewards) / (len(rewards) - 1)) ** 0.5
            out.update({m["id"]: (m["reward"] - mean) / (deviation + 1e-6) for m in kept})
    return out, len(groups), kinds


def resampled(group):
    mean = sum(m["reward"] for m in group) / len(group)
    draw = lambda m: blake3.blake3((0).to_bytes(8, "little") + m["id"].encode()).digest()
    better = sorted((m for m in group if m["reward"] > mean), key=lambda m: (m["failed"], draw(m)))
    others = sorted((m for m in group if m["reward"] <= mean), key=draw)
    return better[:-(-len(better) // 2)] + others[:-(-len(others) // 2)]


def slice_of(row, purified, repairs):
    before, after = steps_of(row["messages"]), steps_of(purified)
    return Counter(rollouts=1, attempts=sum(s["outcome"] is not None for s in before),
                   failed_before=sum(s["outcome"] == "failed" for s in before), failed_after=sum(s["outcome"] == "failed" for s in after),
                   repairs=len(repairs), deep=sum(r["deep"] for r in repairs), uncorrected=sum(c is None for _, _, c in runs_of(after)),
                   removed_messages=sum(r["removed"] for r in repairs))


FIELDS = ["rollouts", "attempts", "failed_before", "failed_after", "repairs", "deep", "uncorrected", "removed_messages"]


def summed(slices):
    total = Counter()
    for one in slices:
        total.update(one)
    return {name: total[name] for name in FIELDS}


def by(rows, slices, key):
    groups = defaultdict(list)
    for row, one in zip(rows, slices):
        groups[key(row)].append(one)
    return {name: summed(ones) for name, ones in groups.items()}


def groups(rows, slices):
    graded = [(row, one) for row, one in zip(rows, slices) if row["reward"] is not None]
    sides, picked = {}, {}
    for name, failed in [("before", "failed_before"), ("after", "failed_after")]:
        members = [{"id": r["rollout_id"], "group": r["group_id"], "reward": r["reward"], "failed": s[failed]} for r, s in graded]
        found, count, kinds = advantages(members, False)
        picked[name] = set(advantages(members, True)[0])
        sides[name] = {"groups": count, "rollouts": len(members), "mixed": count - kinds["equal"] - kinds["single"], "equal": kinds["equal"],
                       "single": kinds["single"], "mean_absolute_advantage": sum(map(abs, found.values())) / len(found),
                       "failures_rewarded": sum(m["failed"] for m in members if found.get(m["id"], 0) > 0)}
    worst = by([r for r, _ in graded], [s for _, s in graded], lambda r: r["group_id"])
    worst = sorted(((n, s) for n, s in worst.items() if s["failed_before"]), key=lambda x: (-x[1]["failed_before"], x[0]))[:20]
    both = picked["before"] & picked["after"]
    return {**sides, "picked_on_both": len(both), "picked_before_only": len(picked["before"] - both),
            "picked_after_only": len(picked["after"] - both), "worst": [{"group": n, "slice": s} for n, s in worst]}


def faults(rows):
    orphans = doubles = unlisted = 0
    for row in rows:
        seen = set()
        for message in row["messages"]:
            for call in message.get("tool_calls") or []:
                doubles += call["id"] in seen
                seen.add(call["id"])
                unlisted += call["function"]["name"] not in ("python", "solve")
            if message["role"] == "tool":
                orphans += message["tool_call_id"] not in seen
    return orphans, doubles, unlisted


def part(rows, done):
    repairs = all_repairs(rows, done)
    orphans, doubles, unlisted = faults(rows)
    found = [r for _, found in done for r in found]
    verdicts = lambda name: {"yes": sum(r[name] is True for r in found), "no": sum(r[name] is False for r in found),
                             "unknown": sum(r[name] is None for r in found)}
    guards = {"residue": verdicts("residue"), "depends_on_removed": verdicts("depends"), "identical_retry": verdicts("same"),
              "orphan_call_ids": orphans, "duplicate_call_ids": doubles, "unlisted_tools": unlisted}
    share = lambda counts: counts["yes"] / (counts["yes"] + counts["no"]) if counts["yes"] + counts["no"] else None
    guards |= {"residue_rate": share(guards["residue"]), "dependency_rate": share(guards["depends_on_removed"])}
    return {"before": side([row["messages"] for row in rows]), "after": side([after for after, _ in done]), "repairs": repairs, "guards": guards}


def parts(rows, done, key):
    of = defaultdict(lambda: ([], []))
    for row, one in zip(rows, done):
        of[key(row)][0].append(row)
        of[key(row)][1].append(one)
    return {name: part(*both) for name, both in of.items()}


def main():
    rows = generate(random.Random(7))
    OUT.mkdir(parents=True, exist_ok=True)
    write(rows)
    done = [purify(row["messages"]) for row in rows]
    slices = [slice_of(row, after, repairs) for row, (after, repairs) in zip(rows, done)]
    sign = lambda row: "none" if row["reward"] is None else "positive" if row["reward"] > 0 else "negative" if row["reward"] < 0 else "zero"
    golden = {
        "rows": {"raw": len(rows), "unreadable": {}, "left_out": 0},
        **part(rows, done),
        "reference": reference(rows, sum(len(found) for _, found in done)), "sensitivity": sensitivity(rows), "groups": groups(rows, slices),
        "by_reward": parts(rows, done, sign),
        "by_column": {"column": "data_source", "values": parts(rows, done, lambda row: row["data_source"] or "(none)")},
    }
    (OUT / "golden.json").write_text(json.dumps(golden, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
