//! What harnesses say of a call that they did not run, cut short, or could not read.

use super::rule::{Find, Gives, Harness, Rule, example};

pub(super) const UNREADABLE_TURN: &str = "harness.unreadable-turn";

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "harness.unknown-tool",
        harness: Harness::Any,
        reason: "the call names a tool that is not there",
        find: Find::First(
            r"^(?i:(?:<?(?:tool_use_error|error)>?[:!]? ?)?(?:\(\w+\): ?)?(?:(?:unknown|no such|invalid|unrecognized|unsupported) (?:function|tool|action)(?: name)?\b|(?:the )?(?:tool|function|action)\b.*?(?:(?:is |was )?not (?:found|available|defined|registered|recognized|supported|valid|exist)|does(?: not|n't) exist|is unknown)|model tried to call unavailable tool|\S+ is not a valid (?:tool|function|action)|no (?:tool|function) (?:named|called) ))",
        ),
        gives: Gives::Error("unknown_tool"),
        decides: example("run_query", "{}", "Error: Tool 'db__run_query_select' not found."),
        spares: example("list", "{}", "Tools: hammer, saw, drill"),
    },
    Rule {
        name: "harness.invalid-arguments",
        harness: Harness::FunctionCalling,
        reason: "the arguments do not fit the tool's schema, in pydantic's, MCP's or a parser's words",
        find: Find::Heading(
            r"^(?i:(?:<tool_use_error>)?(?:error: ?)?(?:error (?:calling|executing|in) (?:tool|function).{0,80}?: ?)?(?:\d+ validation errors? (?:for|in) |(?:\w+ )?validation error\b|inputvalidationerror|invalid (?:json|arguments?|parameters?|params|input)\b|invalid type for |(?:mcp error )?-3260[0-3]\b|mcp error -3260[0-3]|missing (?:\d+ )?required (?:argument|parameter|field|property|positional)|required (?:argument|parameter|property|field)|unexpected keyword argument|(?:failed|unable) to (?:parse|decode) (?:the )?(?:tool |function )?(?:arguments|json|input|call)|arguments? .{1,60} (?:is|are) (?:required|missing|invalid)|(?:params|data|input|arguments|body)\S{0,40} must (?:have|be|not|match)\b|expecting (?:value|property name|',' delimiter|':' delimiter)|jsondecodeerror))",
        ),
        gives: Gives::Error("invalid_arguments"),
        decides: example(
            "search",
            "{}",
            "1 validation error for call[search]\nquery\n  Missing required argument [type=missing_argument, input_value={}, input_type=dict]",
        ),
        spares: example("validate", "{}", "0 errors, 12 fields checked"),
    },
    Rule {
        name: "harness.refused",
        harness: Harness::Any,
        reason: "a person or a policy did not let the call run",
        find: Find::First(
            r"^(?i:(?:<?(?:tool_use_error|error)>?[:!]? ?)?(?:permission (?:to (?:use|read|write|edit|run|access|execute).{0,120}?(?:not granted|denied|has been denied|was denied)|not granted|denied by|was denied|request (?:was )?denied)|permissions? (?:is |are )?required|the user (?:doesn't|does not|did not|didn't) (?:want|allow|approve)|(?:the )?user (?:has )?(?:rejected|denied|declined|cancelled|canceled|refused|aborted)|tool (?:use|call|execution) (?:was |has been )?(?:rejected|denied|cancelled|canceled|blocked)|.{1,80} (?:requires|needs) (?:user |your |explicit |manual )?(?:approval|permission|confirmation)|.{0,120}(?:haven't|have not) granted it|(?:this )?(?:command|operation|action|tool|path) (?:is |was |has been )?(?:not (?:allowed|permitted)|blocked|forbidden|rejected|disallowed)|access (?:to .{1,120} )?(?:is )?(?:denied|forbidden|restricted)|sandbox (?:denied|blocked|error)|blocked by ))",
        ),
        gives: Gives::Error("permission_denied"),
        decides: example(
            "write_file",
            r#"{"path": "/etc/x"}"#,
            "Permission to use write_file has been denied because it is outside of the workspace.",
        ),
        spares: example("read_policy", "{}", "Permission levels: read, write, admin"),
    },
    Rule {
        name: "harness.aborted",
        harness: Harness::Any,
        reason: "the call was stopped before it was done",
        find: Find::First(
            r"^(?i:[\[(<]?(?:error: ?)?(?:(?:command|request|execution|operation|process|tool|call|run|task)(?: execution| call)? (?:was |has been |got )?(?:aborted|interrupted|cancelled|canceled|terminated|killed)|(?:request|conversation|execution) interrupted|interrupted by |aborted\b|cancell?ed(?: by |: )|killed$|segmentation fault|core dumped|bus error|out of memory|the operation was (?:aborted|cancelled|canceled)|keyboardinterrupt))",
        ),
        gives: Gives::Error("aborted"),
        decides: example("shell", r#"{"command": "sleep 9"}"#, "Command aborted"),
        spares: example("bash", r#"{"command": "git log -1"}"#, "commit 1a2b\n\n    Aborted runs are kept"),
    },
    Rule {
        name: "harness.timeout",
        harness: Harness::Any,
        reason: "the call took longer than it may",
        find: Find::First(
            r"^(?i:[\[(<]?(?:error: |the |your |tool |code |query |script |python |operation )*(?:command|execution|request|process|operation|program|connection|call|read|query|code|script|tool|search|task)?\s*(?:timed[ -]?out|timeout|time limit exceeded|timeout expired|timeout error|timeout after|exceeded (?:the )?(?:time|timeout))\b)",
        ),
        gives: Gives::Named("timeout"),
        decides: example("terminal", "sleep 999", "Command timed out after 30 seconds"),
        spares: example("get_config", "{}", r#"{"timeout": 30, "retries": 2}"#),
    },
    Rule {
        name: "harness.timeout-note",
        harness: Harness::Any,
        reason: "the harness adds in brackets that it stopped waiting",
        find: Find::Error(|evidence| {
            let is_note = |line: &&str| line.starts_with(['[', '(', '<']) && TIMEOUT_NOTE.is_match(line);
            let found = evidence.last.filter(is_note).is_some();
            (found && !evidence.asked.is_reading_tool()).then_some(std::borrow::Cow::Borrowed("timeout"))
        }),
        gives: Gives::Error("timeout"),
        decides: example(
            "execute_bash",
            "sleep 500",
            "[The command has no new output after 10 seconds.]\n[The command timed out after 120 seconds.]",
        ),
        spares: example("execute_bash", "ls", "a\n[The command completed with exit code 0.]"),
    },
    Rule {
        name: UNREADABLE_TURN,
        harness: Harness::Any,
        reason: "the harness could not find or read a call in what the model wrote",
        find: Find::First(
            r"^(?i:(?:error: ?)?(?:i (?:don't|do not|can't|cannot|could not|couldn't) (?:understand|parse|process|recognize) |format your \w+ (?:command|code|action|response|answer)|please (?:format|provide|use) (?:your|a valid|the (?:correct|following)) .*(?:format|command|action|code|tool)|your (?:response|output|action|answer) (?:should|must) be |your (?:last |previous )?(?:response|output|message|answer|reply) (?:did not|does not|doesn't|didn't|could not be|couldn't be|cannot be|can't be|was not|has no|contains no|is not valid)|(?:could not|couldn't|unable to|failed to) parse (?:your|the (?:response|output|action|message|model))|no (?:valid )?(?:\w+ )?(?:code|action|command|tool call|function call)(?: block)?s? (?:was |were |is )?(?:found|detected|provided|given|parsed)|.{0,60}(?:response|message|output) could not be parsed|(?:previous|last) response had (?:parsing|parse) errors|malformed (?:tool|function) call|error in code parsing))",
        ),
        gives: Gives::Error("invalid_format"),
        decides: example(
            "answer",
            "",
            "I don't understand your input. \nIf you want to execute code, please use <execute>.",
        ),
        spares: example("read_mail", "{}", "Your response was sent to the customer."),
    },
    Rule {
        name: "harness.nothing-done",
        harness: Harness::Any,
        reason: "the environment says that the action had no effect or is none that it knows",
        find: Find::First(
            r"^(?i:nothing happens\b|no known action|action failed\b|invalid action|that'?s not a (?:verb|command) i|no such action)",
        ),
        gives: Gives::Error("tool_error"),
        decides: example("alfworld", "go to 1", "Nothing happens."),
        spares: example("alfworld", "look", "You see a desk. Nothing else is here."),
    },
];

crate::pattern::pattern!(
    TIMEOUT_NOTE,
    r"(?i)\b(?:timed out|timeout (?:expired|after|reached|exceeded)|time limit exceeded)\b"
);
