//! Browsers, searches and web services: statuses, limits, and tools that name themselves in their errors.

use super::rule::{Find, Gives, Harness, Rule, example};

pub(super) const RULES: &[Rule] = &[
    Rule {
        name: "web.rate-limit",
        harness: Harness::Web,
        reason: "the service takes no more requests for now",
        find: Find::First(
            r"^(?i:(?:(?:http|api|request|client|server)? ?error:? ?(?:code:? ?)?|error \w+ing .{0,80}?: ?|failed to .{0,80}?: ?)?(?:429\b(?: |:|$)|rate.?limit|too many requests|quota exceeded|you (?:have )?exceeded your (?:current )?quota))",
        ),
        gives: Gives::Error("rate_limit"),
        decides: example("search", r#"{"query": "x"}"#, "Rate limit exceeded. Try again in 20 s."),
        spares: example("docs", "{}", r#"{"title": "Rate limits", "text": "60 calls a minute"}"#),
    },
    Rule {
        name: "web.server-error",
        harness: Harness::Web,
        reason: "the service failed, or can't be reached",
        find: Find::First(
            r"^(?i:(?:<html>\s*)?(?:http/[\d.]+ )?(?:(?:http|api|request|server|internal|service|mcp|network)? ?error(?: \([A-Z_]+\))?:? ?(?:code:? ?)?|status(?: code)?:? ?|\w+ service )?(?:5\d\d(?: server error\b|: (?:internal|bad|service|gateway)|\s+(?:internal server|service unavailable|bad gateway|gateway))|internal server error|service (?:is )?(?:temporarily )?unavailable|bad gateway|gateway time-?out|server (?:is )?overloaded|the server (?:is|was) (?:currently )?(?:unavailable|unable)|.{0,60}\bservice (?:is )?temporarily unavailable))",
        ),
        gives: Gives::Error("server_error"),
        decides: example("fetch", r#"{"url": "https://e.x"}"#, "HTTP error 503: Service Unavailable"),
        spares: example("python", "print(t)", "500 internal combustion engines were counted in 2020"),
    },
    Rule {
        name: "web.no-connection",
        harness: Harness::Web,
        reason: "no connection came about",
        find: Find::First(
            r"^(?i:(?:\w+ ){0,2}(?:error:? ?)?(?:connection (?:refused|reset|aborted|error|timed out|failed|closed)|network is unreachable|(?:temporary failure in )?name resolution|could not resolve|failed to (?:connect|establish a)|(?:could|can) ?not connect|unable to connect|no route to host|net::err_|econnrefused|ssl: ?certificate|getaddrinfo )|(?:could not|failed to|unable to) (?:retrieve|fetch|get|load) .{1,80} (?:due to|because of) a (?:connection|network) )",
        ),
        gives: Gives::Error("connection_error"),
        decides: example("get_storms", "{}", "Could not retrieve data due to a connection error."),
        spares: example("status", "{}", "Connections: 3 open, 0 refused"),
    },
    Rule {
        name: "web.status",
        harness: Harness::Web,
        reason: "an HTTP status of 4xx in the words of a client or a server; a number and a colon alone are a line of grep",
        find: Find::First(
            r"^(?i:(?:(?:http(?:/[\d.]+)?|api|request|client|error)(?: error)?(?: \([A-Z_]+\))?:? ?(?:http )?(?:error:? ?)?(?:status(?: code)?:? ?)?(?:code:? ?)?4\d\d\b|status(?: code)?:? ?4\d\d\b|4\d\d(?::)? (?:client error|not found|forbidden|unauthorized|bad request|too many|method not|page not found|error\b|gone\b|payment required)|(?:page|url|resource) (?:could )?not (?:be )?found\b|request failed with status(?: code)? [45]\d\d))",
        ),
        gives: Gives::Worded,
        decides: example("fetch", "{}", "404 Client Error: Not Found for url: https://e.x/a"),
        spares: example("bash", r#"{"command": "grep -n settings app.ts"}"#, "424:  settings: Settings;"),
    },
    Rule {
        name: "web.named-tool",
        harness: Harness::Web,
        reason: "a tool that puts its own name before `Error` or `Timeout`, and has nothing else to say",
        find: Find::Brief(
            r"^[\[(]?(?:[A-Z][\w.()-]*\]? ){1,4}(?:[Tt]ime-?[Oo]ut|Error|ERROR|Exception|Failure|[Ff]ailed)\b[\])]?(?:\s*$|\s*[.,!]|\s*:\s*[^\d\s])",
        ),
        gives: Gives::Worded,
        decides: example("web_search", r#"{"query": "x"}"#, "[Google Search] Timeout, try again later."),
        spares: example("python", "print(rmse)", "Mean Squared Error: 0.25"),
    },
];
