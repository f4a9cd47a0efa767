//! verifiers' and prime-rl's `traces.jsonl` (verifiers 0.4): one episode a line, messages as nodes of a graph.
//!
//! Owns the walk: every path from a root to a leaf is a rollout. A node holds the tokens that its message adds; one after the
//! other they are the path's. Log-probs stand for sampled tokens alone. An assistant's message that no model sampled is context.
//! What has no native column is kept as JSON: of the
//! trace all but its nodes, of the episode all but its traces.

use serde_json::Value;

use super::form::{Consumed, Form, Need};
use super::messages::take_content;
use super::native::{
    Row, keep_rest, kind, mark_context, message, put_back, take_calls, take_objects, take_text, text, text_of,
};
use super::token_ids::{TokenIds, list};

/// The form of a trace that is read.
const VERSION: u64 = 1;
/// What becomes token columns, and what says where a node stands: the path does.
const READ: [&str; 4] = ["token_ids", "mask", "logprobs", "parent"];
/// What else is said of each token. A repair moves tokens, so that it would soon be false.
const OF_TOKENS: &[&str] = &[
    "traces[].nodes[].is_content",
    "traces[].nodes[].advantages",
    "traces[].nodes[].reference_logprobs",
    "traces[].nodes[].trainer_logprobs",
    "traces[].nodes[].entropies",
    "traces[].nodes[].loss_weights",
    "traces[].nodes[].routed_experts",
    "traces[].nodes[].sampling_mask",
];

pub(super) static FORM: Form = Form {
    not_kept: OF_TOKENS,
    token_ids: Some("traces[].nodes[].token_ids"),
    parts: Some(one_by_one),
    also_lost: Some(|row| lacks_nodes(row).then_some("traces without nodes")),
    ..Form::new(
        "traces",
        "`traces` of `nodes`: verifiers and prime-rl",
        &[Need::any(&["traces"], "a list of traces with `nodes`", |traces| {
            traces.get(0).is_some_and(|trace| trace.get("nodes").is_some())
        })],
        convert,
        Consumed::All,
    )
};

/// Whether one of its traces gives no rollout.
fn lacks_nodes(row: &Row) -> bool {
    let is_empty = |trace: &Value| trace.get("nodes").and_then(Value::as_array).is_some_and(Vec::is_empty);
    row.get("traces").and_then(Value::as_array).is_some_and(|all| all.iter().any(is_empty))
}

/// Its episode with each trace alone: what is not kept of one says nothing of the others.
fn one_by_one(row: &Row) -> Vec<Row> {
    let traces = row.get("traces").and_then(Value::as_array);
    let alone = |trace: &Value| Row::from_iter([("traces".to_owned(), Value::Array(vec![trace.clone()]))]);
    traces.into_iter().flatten().map(alone).collect()
}

fn convert(mut row: Row) -> Result<Vec<Row>, String> {
    let traces = take_objects(&mut row, "traces")?;
    let is_without_traces = traces.is_empty();
    let group = row.get("group").and_then(|g| g.get("id")).filter(|id| !id.is_null()).map(text_of);
    let episode = Value::Object(row).to_string();
    let mut out = Vec::new();
    for (k, trace) in traces.into_iter().enumerate() {
        out.extend(rollouts(trace, group.as_deref(), &episode).map_err(|detail| format!("trace {k}: {detail}"))?);
    }
    if out.is_empty() {
        return Err(match is_without_traces {
            true => "`traces` is empty, expected a trace".to_owned(),
            false => "`nodes` of each trace is empty, expected a message".to_owned(),
        });
    }
    Ok(out)
}

/// The rollouts of one trace, by their leaves.
fn rollouts(mut trace: Row, group: Option<&str>, episode: &str) -> Result<Vec<Row>, String> {
    if let Some(version) = trace.get("version").filter(|v| v.as_u64() != Some(VERSION)) {
        return Err(format!("its version is {version}, expected {VERSION}"));
    }
    let id = text(&trace, "id")?.to_owned();
    let nodes = take_objects(&mut trace, "nodes")?;
    let paths = paths(&nodes)?;
    let reward = reward(&trace)?;
    let several = paths.len() > 1;
    let trace_text = Value::Object(trace.clone()).to_string();
    let mut out = Vec::new();
    for (k, path) in paths.iter().enumerate() {
        let mut row = Row::new();
        row.insert("rollout_id".to_owned(), Value::String(if several { format!("{id}:{k}") } else { id.clone() }));
        if let Some(group) = group {
            row.insert("group_id".to_owned(), Value::String(group.to_owned()));
        }
        let messages = path.iter().map(|&n| said(nodes[n].clone()).map_err(|e| format!("node {n}: {e}")));
        row.insert("messages".to_owned(), Value::Array(messages.collect::<Result<_, _>>()?));
        let tools = [trace.get("tools"), path.first().and_then(|&root| nodes[root].get("tools"))];
        if let Some(tools) = tools.into_iter().flatten().find(|t| t.as_array().is_some_and(|all| !all.is_empty())) {
            row.insert("tools".to_owned(), Value::String(tools.to_string()));
        }
        row.insert("reward".to_owned(), reward.map_or(Value::Null, Value::from));
        let mut tokens = TokenIds::default();
        for &n in path {
            add_tokens(&nodes[n], &mut tokens).map_err(|e| format!("node {n}: {e}"))?;
        }
        row.extend(tokens.columns().unwrap_or_default());
        row.insert("trace".to_owned(), Value::String(trace_text.clone()));
        row.insert("episode".to_owned(), Value::String(episode.to_owned()));
        out.push(row);
    }
    Ok(out)
}

/// Every path from a root to a leaf, as indices of nodes, in order of the leaves.
fn paths(nodes: &[Row]) -> Result<Vec<Vec<usize>>, String> {
    let mut parents: Vec<Option<usize>> = Vec::with_capacity(nodes.len());
    let mut is_leaf = vec![true; nodes.len()];
    for (k, node) in nodes.iter().enumerate() {
        let parent = match node.get("parent") {
            None | Some(Value::Null) => None,
            Some(value) => {
                // A parent is always made first, so that a walk to the root ends.
                let before = value.as_u64().and_then(|p| usize::try_from(p).ok()).filter(|&p| p < k);
                Some(before.ok_or_else(|| format!("node {k}: its parent is {value}, expected a node before it"))?)
            }
        };
        if let Some(parent) = parent {
            is_leaf[parent] = false;
        }
        parents.push(parent);
    }
    let path = |leaf: usize| {
        let mut path: Vec<usize> = std::iter::successors(Some(leaf), |&node| parents[node]).collect();
        path.reverse();
        path
    };
    Ok((0..nodes.len()).filter(|&k| is_leaf[k]).map(path).collect())
}

/// The sum of scores by their weights; `None` where nothing was scored.
fn reward(trace: &Row) -> Result<Option<f64>, String> {
    let Some(Value::Object(rewards)) = trace.get("rewards") else { return Ok(None) };
    let mut sum = None;
    for (name, reward) in rewards.iter().filter(|(_, reward)| !reward.is_null()) {
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let score =
            number(reward.get("score")).ok_or_else(|| format!("reward `{}` has no score", name.escape_debug()))?;
        let weight = reward.get("weight").map_or(Some(1.0), Value::as_f64);
        let weight = weight.ok_or_else(|| format!("the weight of reward `{}` is not a number", name.escape_debug()))?;
        sum = Some(sum.unwrap_or(0.0) + score * weight);
    }
    Ok(sum)
}

/// The message of a node.
fn said(mut node: Row) -> Result<Value, String> {
    let mut said = match node.shift_remove("message") {
        Some(Value::Object(said)) => said,
        found => return Err(format!("`message` is {}, expected an object", kind(found.as_ref()))),
    };
    let role = take_text(&mut said, "role")?;
    let mut out = message(&role, take_content(&mut said, "content")?);
    for name in ["reasoning_content", "name", "tool_call_id"] {
        if let Some(Value::String(_)) = said.get(name) {
            out.extend(said.shift_remove_entry(name));
        }
    }
    let calls = take_calls(&mut said, ["id", "name", "arguments"])?;
    out.extend(calls.map(|calls| ("tool_calls".to_owned(), calls)));
    if role == "assistant" && node.get("sampled") == Some(&Value::Bool(false)) {
        mark_context(&mut out);
    }
    for name in READ.iter().chain(OF_TOKENS).map(|path| path.rsplit('.').next().unwrap_or(path)) {
        node.shift_remove(name);
    }
    put_back(&mut node, "message", Value::Object(said));
    keep_rest(&mut out, [node]);
    Ok(Value::Object(out))
}

/// The tokens that a node adds.
fn add_tokens(node: &Row, out: &mut TokenIds) -> Result<(), String> {
    let list = |name: &str| list(node, name).map(Option::unwrap_or_default);
    let (ids, mask, logprobs) = (list("token_ids")?, list("mask")?, list("logprobs")?);
    if mask.len() != ids.len() {
        let (found, expected) = (mask.len(), ids.len());
        return Err(format!("`mask` has {found} entries, expected {expected}, one for each of `token_ids`"));
    }
    let flag =
        |flag: &Value| flag.as_bool().ok_or_else(|| format!("`mask` holds {}, expected flags", kind(Some(flag))));
    let mask: Vec<bool> = mask.iter().map(flag).collect::<Result<_, _>>()?;
    let sampled = mask.iter().filter(|&&m| m).count();
    if !logprobs.is_empty() && logprobs.len() != sampled {
        let found = logprobs.len();
        return Err(format!("`logprobs` has {found} entries, expected {sampled}, one for each sampled token"));
    }
    let mut next = logprobs.iter();
    for (id, is_sampled) in ids.iter().zip(mask) {
        match is_sampled {
            true => out.wrote(id.clone(), next.next().cloned().unwrap_or_default()),
            false => out.read(std::slice::from_ref(id)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn converted(row: Value) -> Result<Vec<Value>, String> {
        let Value::Object(row) = row else { panic!("a row is an object") };
        convert(row).map(|rows| rows.into_iter().map(Value::Object).collect())
    }

    fn node(parent: Value, message: Value, ids: Value, mask: Value, logprobs: Value) -> Value {
        json!({"parent": parent, "message": message, "token_ids": ids, "mask": mask, "logprobs": logprobs})
    }

    fn episode() -> Value {
        let asked = json!({"role": "assistant", "content": null, "tool_calls":
            [{"id": "c", "type": "function", "name": "f", "arguments": "{\"x\":  1}"}]});
        json!({"id": "e", "group": {"id": "g"}, "traces": [{"version": 1, "id": "t", "rewards":
            {"right": {"score": 1.0, "weight": 2.0}, "short": {"score": 0.5}, "none": null}, "nodes": [
                node(Value::Null, json!({"role": "user", "content": [{"type": "text", "text": "q"}]}), json!([1, 2]), json!([false, false]), json!([])),
                node(json!(0), asked, json!([3, 4, 5]), json!([false, true, true]), json!([-0.5, -0.25])),
                node(json!(1), json!({"role": "tool", "tool_call_id": "c", "content": "Error: no"}), json!([6]), json!([false]), json!([])),
                node(json!(2), json!({"role": "assistant", "content": "done"}), json!([7]), json!([true]), json!([-1.0])),
                node(json!(0), json!({"role": "assistant", "content": "other"}), json!([8]), json!([true]), json!([]))]}]})
    }

    #[test]
    fn every_path_from_root_to_leaf_is_a_rollout_with_its_tokens() {
        let found = converted(episode()).expect("an episode");
        assert_eq!(found.len(), 2);
        let first = &found[0];
        assert_eq!(
            (&first["rollout_id"], &first["group_id"], &first["reward"]),
            (&json!("t:0"), &json!("g"), &json!(2.5))
        );
        let messages = json!([{"role": "user", "content": "q"},
            {"role": "assistant", "content": null, "tool_calls":
                [{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{\"x\":  1}"}}]},
            {"role": "tool", "content": "Error: no", "tool_call_id": "c"}, {"role": "assistant", "content": "done"}]);
        assert_eq!(first["messages"], messages);
        let tokens =
            ["prompt_ids", "response_ids", "response_mask", "response_logprobs"].map(|name| first[name].clone());
        assert_eq!(
            tokens,
            [json!([1, 2, 3]), json!([4, 5, 6, 7]), json!([1, 1, 0, 1]), json!([-0.5, -0.25, null, -1.0])]
        );
        assert_eq!(found[1]["response_ids"], json!([8]));
        assert!(found[1].get("response_logprobs").is_none());
    }

    #[test]
    fn what_a_node_says_beside_its_message_is_kept_as_json() {
        let mut row = episode();
        row["traces"][0]["nodes"][1]["sampled"] = json!(true);
        row["traces"][0]["nodes"][1]["advantages"] = json!([0.5, 0.5]);
        row["traces"][0]["nodes"][1]["message"]["tool_calls"][0]["namespace"] = json!("n");
        let found = converted(row).expect("an episode");
        let rest = r#"{"sampled":true,"message":{"tool_calls":[{"namespace":"n"}]}}"#;
        assert_eq!(found[0]["messages"][1]["other_fields"], rest);
    }

    #[test]
    fn assistant_that_no_model_sampled_is_context() {
        let mut row = episode();
        row["traces"][0]["nodes"][1]["sampled"] = json!(false);
        row["traces"][0]["nodes"][3]["sampled"] = json!(true);
        let found = converted(row).expect("an episode");
        let messages = found[0]["messages"].as_array().expect("messages");
        let loss: Vec<_> = messages.iter().map(|m| m.get("loss").cloned()).collect();
        assert_eq!(loss, [None, Some(json!(false)), None, None]);
    }

    #[test]
    fn what_has_no_native_column_is_kept_as_json() {
        let found = converted(episode()).expect("an episode");
        let trace: Value = serde_json::from_str(found[0]["trace"].as_str().expect("text")).expect("JSON");
        assert_eq!(trace["rewards"]["right"]["weight"], 2.0);
        assert!(trace.get("nodes").is_none());
        assert!(found[0]["episode"].as_str().expect("text").contains("\"id\":\"e\""));
    }

    #[test]
    fn rollout_without_tokens_or_rewards_has_none() {
        let row =
            json!({"traces": [{"id": "t", "nodes": [{"parent": null, "message": {"role": "user", "content": "q"}}]}]});
        let found = converted(row).expect("an episode");
        assert_eq!(found[0]["rollout_id"], "t");
        assert!(found[0].get("response_ids").is_none() && found[0]["reward"].is_null());
    }

    #[test]
    fn trace_without_token_ids_beside_one_with_them_loses_none() {
        let not_kept = |row: &Value| FORM.not_kept(row.as_object().expect("an object"));
        let mut row = episode();
        let traces = row["traces"].as_array_mut().expect("traces");
        traces.push(json!({"id": "u", "nodes": [{"parent": null, "message": {"role": "user", "content": "q"}}]}));
        assert_eq!(not_kept(&row), Vec::<&str>::new());
        // Ids of a prompt that no policy goes on from have no columns.
        row["traces"][1]["nodes"][0]["token_ids"] = json!([1]);
        row["traces"][1]["nodes"][0]["mask"] = json!([false]);
        assert_eq!(not_kept(&row), ["token ids"]);
    }

    #[test]
    fn damaged_traces_are_refused_with_what_is_wrong() {
        let broken = |edit: fn(&mut Value)| {
            let mut row = episode();
            edit(&mut row["traces"][0]);
            converted(row).expect_err("it is damaged")
        };
        assert_eq!(broken(|t| t["version"] = json!(2)), "trace 0: its version is 2, expected 1");
        assert_eq!(
            broken(|t| t["nodes"][1]["parent"] = json!(4)),
            "trace 0: node 1: its parent is 4, expected a node before it"
        );
        let mask = "trace 0: node 1: `mask` has 1 entries, expected 3, one for each of `token_ids`";
        assert_eq!(broken(|t| t["nodes"][1]["mask"] = json!([true])), mask);
        let logprobs = "trace 0: node 1: `logprobs` has 1 entries, expected 2, one for each sampled token";
        assert_eq!(broken(|t| t["nodes"][1]["logprobs"] = json!([-1.0])), logprobs);
        assert_eq!(broken(|t| t["rewards"]["right"] = json!({})), "trace 0: reward `right` has no score");
        assert_eq!(broken(|t| t["nodes"] = json!(7)), "trace 0: `nodes` is a number, expected a list");
    }
}
