// Makes fixtures/formats/pi.jsonl with pi's own session manager: the rollout of make_session_fixtures.py, and a branch that was left.
//
// usage: node make_pi_fixture.mjs    (where `npm install @mariozechner/pi-coding-agent` was run)
import { copyFileSync, mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const library = join(process.cwd(), "node_modules", "@mariozechner", "pi-coding-agent", "dist", "index.js");
const { SessionManager } = await import(pathToFileURL(library).href);
const QUESTION = "What is the 10th prime?";
const ANSWER = "The 10th prime is 29.";
const THOUGHTS = ["I list primes.", "The name was misspelt."];
const CODE = ["print(nth_prim(10))", "print(nth_prime(10))"];
const RESULTS = ['Traceback (most recent call last):\n  File "<stdin>", line 1, in <module>\nNameError: name \'nth_prim\' is not defined', "29"];
const text = (said) => [{ type: "text", text: said }];
const usage = { input: 321, output: 12, cacheRead: 0, cacheWrite: 0, totalTokens: 333, cost: { input: 0, output: 0, cacheRead: 0, cacheWrite: 0, total: 0 } };
const said = (content, stopReason) => ({ role: "assistant", content, api: "openai-completions", provider: "local", model: "model-7b", usage, stopReason, timestamp: 1767323045000 });

const session = SessionManager.create("/work", mkdtempSync(join(tmpdir(), "pi-")));
const asked = session.appendMessage({ role: "user", content: text(QUESTION), timestamp: 1767323045000 });
session.appendMessage(said(text("I don't know."), "stop"));
session.branch(asked);
for (let k = 0; k < 2; k++) {
  const call = { type: "toolCall", id: `c${k}`, name: "python", arguments: { code: CODE[k] } };
  session.appendMessage(said([{ type: "thinking", thinking: "Which tool?" }, ...text(THOUGHTS[k]), call], "toolUse"));
  session.appendMessage({ role: "toolResult", toolCallId: `c${k}`, toolName: "python", content: text(RESULTS[k]), isError: k === 0, timestamp: 1767323046000 });
}
session.appendMessage(said(text(ANSWER), "stop"));
copyFileSync(session.getSessionFile(), join(dirname(fileURLToPath(import.meta.url)), "..", "fixtures", "formats", "pi.jsonl"));
