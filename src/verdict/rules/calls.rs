//! Function calls, JSON and MCP: errors that a tool announces in words, and the fields of JSON objects.

use super::code;
use super::rule::{Find, Gives, Harness, Rule, example};
use crate::pattern::pattern;

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "json.flag",
        harness: Harness::FunctionCalling,
        reason: "`is_error` or `isError` is true",
        find: Find::Elsewhere,
        gives: Gives::Named("tool_error"),
        decides: example("book", "{}", r#"{"isError": true, "content": [{"type": "text", "text": "boom"}]}"#),
        spares: example("book", "{}", r#"{"isError": false, "content": [{"type": "text", "text": "Error: no"}]}"#),
    },
    Rule {
        name: "json.error-field",
        harness: Harness::FunctionCalling,
        reason: "an `error` field says something; a number, an empty list or null says nothing",
        find: Find::Elsewhere,
        gives: Gives::Worded,
        decides: example("book", "{}", r#"{"error": "Invalid date"}"#),
        spares: example("fit", "{}", r#"{"mean": 3, "error": 0.02}"#),
    },
    Rule {
        name: "json.no-success",
        harness: Harness::FunctionCalling,
        reason: "`success` or `ok` is false",
        find: Find::Elsewhere,
        gives: Gives::Worded,
        decides: example("book", "{}", r#"{"success": false, "reason": "seat taken"}"#),
        spares: example("lint", "{}", r#"{"success": true, "reason": "no errors"}"#),
    },
    Rule {
        name: "json.status",
        harness: Harness::FunctionCalling,
        reason: "`status` is an error's word, in an object small enough to be a report of the call",
        find: Find::Elsewhere,
        gives: Gives::Worded,
        decides: example("book", "{}", r#"{"status": "error", "message": "seat taken"}"#),
        spares: example(
            "get_payment",
            "{}",
            r#"{"id": 1, "user": "a", "amount": 3, "status": "failed", "method": "card", "at": "x", "ref": "y"}"#,
        ),
    },
    Rule {
        name: "json.stand-in",
        harness: Harness::FunctionCalling,
        reason: "a stand-in answers in the tool's place: nothing was done",
        find: Find::Elsewhere,
        gives: Gives::Error("not_available"),
        decides: example("run", "{}", r#"{"status": "mock", "message": "The runtime is not installed."}"#),
        spares: example("list", "{}", r#"{"name": "mock", "version": "5.1"}"#),
    },
    Rule {
        name: "json.http-status",
        harness: Harness::FunctionCalling,
        reason: "a code of 400 to 599 beside words that explain it",
        find: Find::Elsewhere,
        gives: Gives::Error("http_error"),
        decides: example("api", "{}", r#"{"code": 429, "message": "Too many requests"}"#),
        spares: example("get_flight", "{}", r#"{"status": "delayed", "code": 404, "gate": "A1"}"#),
    },
    Rule {
        name: "json.detail",
        harness: Harness::FunctionCalling,
        reason: "an object that holds nothing but `detail` is a web framework's error",
        find: Find::Elsewhere,
        gives: Gives::Worded,
        decides: example("api", "{}", r#"{"detail": "Not Found"}"#),
        spares: example("api", "{}", r#"{"detail": "Two rooms", "id": 4}"#),
    },
    Rule {
        name: "calls.announced-error",
        harness: Harness::FunctionCalling,
        reason: "the message begins with the word error, a label or a tag of one",
        find: Find::First(
            r"^(?:\x1b\[[\d;]*m|[\s\[(<*#>!-])*(?:(?:(?i:fatal|runtime|internal|execution|tool|api|http|server|request|syntax|compilation|validation|parse|parsing|query|sql|database|function|code|command|unexpected|critical|an?|the|python|script|mcp|input|network|type|value|key|import|name|unhandled|uncaught)) )*(?i:error|exception)s?\b[\])>*]*(?: code)?(?: -?\d+)?(?: \([\w -]+\))?(?:\s*(?:[:!-]|–|—)|\s*$|[\])>] |\s+(?:(?:has )?occurred|executing|calling|running|while|when|during|invoking|from|response from|in|at line|at or near)\b)|^<(?:tool_use_error|error|exception|tool_error)>|^\[(?:ERROR|Error|error)\] ",
        ),
        gives: Gives::Worded,
        decides: example("book", "{}", "Error: item is not available"),
        spares: example("python", "x", "Error rate after 10 epochs is 0.12"),
    },
    Rule {
        name: "calls.error-doing",
        harness: Harness::FunctionCalling,
        reason: "`Error retrieving ...`, `Error computing ...`: what went wrong was being done",
        find: Find::First(r"^(?:An? )?(?i:error|exception|failure|problem) [a-z]+ing\b(?:[^:\n]{0,200}:.|.{0,200}$)"),
        gives: Gives::Worded,
        decides: example("dot", "{}", "Error computing dot product:shapes (1,3) and (1,3) not aligned"),
        spares: example(
            "read_file",
            r#"{"path": "notes.md"}"#,
            "Error handling\n\n1. Never swallow\n2. Log\n3. Retry\n4. Fail\n5. Alert\n",
        ),
    },
    Rule {
        name: "calls.announced-failure",
        harness: Harness::FunctionCalling,
        reason: "the message begins with what could not be done, or with what is wrong with the request",
        find: Find::First(
            r"^(?:\[[\w -]{1,30}\] )?(?i:fail(?:ed|ure)?: |fatal: |failed to |failed (?:in|while|with) |unable to |could not |couldn't |cannot |can't |invalid (?:tool|function|action|command|argument|arguments|input|json|parameter|parameters|syntax|request|api|`\w+`|column|query|path|url|format|id|option|operation|date|value|type|name)\b|unknown (?:function|tool|command|action|argument|parameter|column|table|database|error|option|key|field|type)\b|unrecognized |malformed |no such |permission denied|access denied|unauthorized|forbidden|not found\b|bad request|unsupported (?:tool|action|operation|command|type|format)|illegal |(?:the )?(?:tool|function|action|api|command) .{1,80}? (?:failed|raised an?|could not be)|your (?:proposed )?(?:edit|command|action) (?:failed|was not|could not|is not|did not pass the)|(?:the )?(?:file|path|directory|folder|url|file content)\b.{0,200}? (?:not found|does not exist|doesn't exist|must be (?:an )?(?:absolute|relative)|exceeds (?:the )?max)|\S+ verification failed|the term .{1,80} is not recognized|e: unable|\S+ ?: the term |assertion failed|(?:request|call) failed|code execution failed|execution failed|compilation failed)",
        ),
        gives: Gives::Worded,
        decides: example("deploy", "{}", "Failed to deploy: the bucket is gone"),
        spares: example("bash", "git log -1", "commit 1a2b\n\n    fix: ValueError: bad input\n"),
    },
    Rule {
        name: "calls.impossible",
        harness: Harness::FunctionCalling,
        reason: "a short message that says that the thing asked for can't be had",
        find: Find::Brief(
            r"^(?i:.{1,100} (?:cannot|can not|can't|could not|couldn't) be (?:read|retrieved|found|loaded|accessed|opened|downloaded|processed|parsed|executed|completed|performed|fetched|resolved|reached)\b|.{1,100} (?:is|are) (?:currently |temporarily )?(?:not (?:available|supported|implemented|accessible)|unavailable)\b.{0,80}$|(?:the )?(?:\w+ ){1,3}(?:with (?:id|name|number|\w+ number) )?\S{1,60} (?:was )?(?:not found|does not exist|doesn't exist)\.?$)",
        ),
        gives: Gives::Worded,
        decides: example("read_paper", "{}", "Papers of this kind cannot be read directly through this tool."),
        spares: example("bash", r#"{"command": "cat README"}"#, "Batteries are not included."),
    },
    Rule {
        name: "calls.not-found",
        harness: Harness::FunctionCalling,
        reason: "a short message that says that what the call names is not there; of a search it is an answer",
        find: Find::Error(|evidence| {
            let line = evidence.first?;
            let is_message = evidence.is_within(1) && NOT_FOUND.is_match(line) && !(evidence.table.is_told)(line);
            let is_answer = || evidence.asked.command().is_some() || evidence.asked.is_reading_tool();
            (is_message && !is_answer() && !evidence.asked.spells(line))
                .then_some(std::borrow::Cow::Borrowed("not_found"))
        }),
        gives: Gives::Error("not_found"),
        decides: example("multiply", "{}", "One or both matrices not found in the store."),
        spares: example("search_code", "{}", "Definition not found in the index."),
    },
    Rule {
        name: "calls.result-repr",
        harness: Harness::FunctionCalling,
        reason: "MCP's result as Python prints it, with isError",
        find: Find::Heading(r"^\x22?meta=.{0,200} isError=True\b"),
        gives: Gives::Worded,
        decides: example("delete", "{}", "\"meta=None content=[] structuredContent=None isError=True\""),
        spares: example("delete", "{}", "\"meta=None content=[] structuredContent=None isError=False\""),
    },
    Rule {
        name: "calls.validation-report",
        harness: Harness::FunctionCalling,
        reason: "the output ends in pydantic's report of what does not fit",
        find: Find::Error(|evidence| {
            let ends = evidence.last.is_some_and(|line| line.contains("https://errors.pydantic.dev/"));
            // Where the message begins with it, the first line says more.
            let is_told = || evidence.first.is_some_and(|line| (evidence.table.is_told)(line));
            (ends && !evidence.asked.reads() && !is_told()).then_some(std::borrow::Cow::Borrowed("ValidationError"))
        }),
        gives: Gives::Error("ValidationError"),
        decides: example(
            "bash",
            r#"{"command": "python model.py"}"#,
            "Reading the model\nError: 1 validation error for Model\nname\n  Field required [type=missing]\n    For further information visit https://errors.pydantic.dev/2.11/v/missing",
        ),
        spares: example(
            "bash",
            r#"{"command": "cat run.log"}"#,
            "1 validation error for Model\nname\n  Field required\nreading the next\n2 validation errors for Model\nage\n    For further information visit https://errors.pydantic.dev/2.11/v/missing",
        ),
    },
    Rule {
        name: "calls.exception-name",
        harness: Harness::FunctionCalling,
        reason: "the message begins with an exception's class",
        find: Find::Error(|evidence| {
            let first = evidence.first?;
            let is_told = code::is_exception_line(first) && !evidence.asked.reads() && !evidence.asked.spells(first);
            let name = || super::rule::exception_anywhere(first).unwrap_or(std::borrow::Cow::Borrowed("exception"));
            (is_told && !evidence.is_document()).then(name)
        }),
        gives: Gives::Named("exception"),
        decides: example(
            "browser",
            "click('12')",
            "TimeoutError: locator.click: Timeout 30000ms exceeded.\nCall log:\n  - waiting for locator\n  - retrying",
        ),
        spares: example("search", r#"{"query": "python error"}"#, "[{\"title\": \"TypeError: explained\"}]"),
    },
];

pattern!(NOT_FOUND, r"^(?i).{1,100} (?:was |were |is |are )?not found(?: in (?:the )?[\w -]{1,40})?\.?$");
pattern!(RATE_LIMITED, r"(?i)rate.?limit|too many requests|quota exceeded|\b429\b");
pattern!(
    SERVER_FAILED,
    r"(?i)internal server error|service (?:temporarily )?unavailable|temporarily unavailable|bad gateway|gateway time-?out|\b50[0234]\b|overloaded"
);
pattern!(
    NO_CONNECTION,
    r"(?i)connection (?:refused|reset|aborted|error)|network is unreachable|name resolution|could not resolve"
);
pattern!(
    NO_TOOL,
    r"(?i)(?:unknown|no such|invalid|unrecognized) (?:function|tool|action)|(?:function|tool|action) .*(?:not found|does not exist|doesn't exist|not available|not defined|is not (?:a )?valid)"
);
pattern!(SQL, r"(?i)\b(?:column|table|sql|database|relation|group by|syntax to use|subquery)\b");
pattern!(
    BAD_ARGUMENTS,
    r"(?i)argument|parameter|(?:invalid|malformed|bad|parse|parsing|decode) (?:\w+ )?json|json (?:decode|parse|is|was)|schema|required|validation|unexpected keyword|unknown (?:command|option|field)"
);
pattern!(NOT_THERE, r"(?i)not found|no such|does(?: not|n't) exist|unknown|missing");

/// The type of an error that is told in words.
pub(super) fn type_of(line: &str) -> &'static str {
    if NO_TOOL.is_match(line) {
        "unknown_tool"
    } else if RATE_LIMITED.is_match(line) {
        "rate_limit"
    } else if SERVER_FAILED.is_match(line) {
        "server_error"
    } else if NO_CONNECTION.is_match(line) {
        "connection_error"
    } else if line.contains("imed out") || line.contains("imeout") {
        "timeout"
    } else if line.contains("executing query") || (SQL.is_match(line) && line.contains('\'')) {
        "sql_error"
    } else if BAD_ARGUMENTS.is_match(line) {
        "invalid_arguments"
    } else if line.contains("ermission") || line.contains("nauthorized") || line.contains("orbidden") {
        "permission_denied"
    } else if NOT_THERE.is_match(line) {
        "not_found"
    } else {
        "tool_error"
    }
}
