//! verifiers' and prime-rl's `traces.jsonl` (verifiers 0.4): one episode a line, messages as nodes of a graph.
//!
//! Owns the walk: every path from a root to a leaf is a rollout. A node holds the tokens that its message adds; one behind the
//! other they are the path's. Log-probs stand for sampled tokens alone. What has no native column is kept as JSON: of the
//! trace all but its nodes, of the episode all but its traces.

use serde_json::{Map, Value};

use super::messages::joined;
use super::{Row, call, kind, objects, text, text_of};

/// The form of a trace that is read.
const VERSION: u64 = 1;

pub(super) fn is_row(row: &Row) -> bool {
    let first = row.get("traces").and_then(Value::as_array).and_then(|all| all.first());
    first.is_some_and(|trace| trace.get("nodes").is_some())
}

pub(super) fn convert(mut row: Row) -> Result<Vec<Row>, String> {
    let traces = match row.remove("traces") {
        Some(Value::Array(traces)) => traces,
        other => return Err(format!("`traces` is {}, expected a list", kind(other.as_ref()))),
    };
    let group = row.get("group").and_then(|g| g.get("id")).filter(|id| !id.is_null()).map(text_of);
    let episode = Value::Object(row).to_string();
    let mut out = Vec::new();
    for (k, trace) in traces.into_iter().enumerate() {
        let at = |detail: String| format!("trace {k}: {detail}");
        let Value::Object(trace) = trace else {
            return Err(at(format!("it is {}, expected an object", kind(Some(&trace)))));
        };
        out.extend(rollouts(trace, group.as_deref(), &episode).map_err(at)?);
    }
    Ok(out)
}

/// The rollouts of one trace, by their leaves.
fn rollouts(mut trace: Map<String, Value>, group: Option<&str>, episode: &str) -> Result<Vec<Row>, String> {
    if let Some(version) = trace.get("version").filter(|v| v.as_u64() != Some(VERSION)) {
        return Err(format!("its version is {version}, expected {VERSION}"));
    }
    let id = text(&trace, "id")?.to_owned();
    let nodes = trace.remove("nodes").unwrap_or_default();
    let holder: Row = [("nodes".to_owned(), nodes)].into_iter().collect();
    let nodes = objects(&holder, "nodes")?;
    let paths = paths(&nodes)?;
    let reward = reward(&trace)?;
    let several = paths.len() > 1;
    let mut out = Vec::new();
    for (k, path) in paths.iter().enumerate() {
        let on_path: Vec<&Row> = path.iter().map(|&n| nodes[n]).collect();
        let mut row = Row::new();
        row.insert("rollout_id".to_owned(), Value::String(if several { format!("{id}:{k}") } else { id.clone() }));
        if let Some(group) = group {
            row.insert("group_id".to_owned(), Value::String(group.to_owned()));
        }
        let messages = path.iter().zip(&on_path).map(|(n, node)| message(node).map_err(|e| format!("node {n}: {e}")));
        row.insert("messages".to_owned(), Value::Array(messages.collect::<Result<_, _>>()?));
        let tools = [trace.get("tools"), on_path.first().and_then(|root| root.get("tools"))];
        if let Some(tools) = tools.into_iter().flatten().find(|t| t.as_array().is_some_and(|all| !all.is_empty())) {
            row.insert("tools".to_owned(), Value::String(tools.to_string()));
        }
        row.insert("reward".to_owned(), reward.map_or(Value::Null, Value::from));
        row.extend(tokens(path, &on_path)?.unwrap_or_default());
        row.insert("trace".to_owned(), Value::String(Value::Object(trace.clone()).to_string()));
        row.insert("episode".to_owned(), Value::String(episode.to_owned()));
        out.push(row);
    }
    Ok(out)
}

/// Every path from a root to a leaf, as indices of nodes, in order of the leaves.
fn paths(nodes: &[&Row]) -> Result<Vec<Vec<usize>>, String> {
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
fn reward(trace: &Map<String, Value>) -> Result<Option<f64>, String> {
    let Some(Value::Object(rewards)) = trace.get("rewards") else { return Ok(None) };
    let mut sum = None;
    for (name, reward) in rewards.iter().filter(|(_, reward)| !reward.is_null()) {
        let number = |value: Option<&Value>| value.and_then(Value::as_f64);
        let score =
            number(reward.get("score")).ok_or_else(|| format!("reward `{}` has no score", name.escape_debug()))?;
        let weight = reward.get("weight").map_or(Some(1.0), Value::as_f64);
        let weight = weight.ok_or_else(|| format!("the weight of reward `{}` is no number", name.escape_debug()))?;
        sum = Some(sum.unwrap_or(0.0) + score * weight);
    }
    Ok(sum)
}

fn message(node: &Row) -> Result<Value, String> {
    let found = node.get("message");
    let message =
        found.and_then(Value::as_object).ok_or_else(|| format!("`message` is {}, expected an object", kind(found)))?;
    let mut out = super::message(text(message, "role")?, Value::Null);
    if let Some(content) = message.get("content") {
        out.insert("content".to_owned(), joined(content).map_or_else(|| content.clone(), Value::String));
    }
    for name in ["reasoning_content", "name", "tool_call_id"] {
        if let Some(value) = message.get(name).filter(|v| !v.is_null()) {
            out.insert(name.to_owned(), value.clone());
        }
    }
    if message.get("tool_calls").is_some_and(|calls| calls.as_array().is_some_and(|all| !all.is_empty())) {
        let calls = objects(message, "tool_calls")?;
        let calls = calls
            .into_iter()
            .map(|c| Ok(call(c.get("id"), text(c, "name")?, c.get("arguments").unwrap_or(&Value::Null))));
        out.insert("tool_calls".to_owned(), Value::Array(calls.collect::<Result<_, String>>()?));
    }
    Ok(Value::Object(out))
}

/// The tokens of a path; `None` where it has none. The prompt ends before the first sampled token.
fn tokens(path: &[usize], nodes: &[&Row]) -> Result<Option<Row>, String> {
    let (mut ids, mut mask, mut logprobs): (Vec<Value>, Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new(), Vec::new());
    let empty = Vec::new();
    for (k, node) in path.iter().zip(nodes) {
        let list = |name: &str| node.get(name).and_then(Value::as_array).unwrap_or(&empty);
        let (node_ids, node_mask, node_logprobs) = (list("token_ids"), list("mask"), list("logprobs"));
        if node_mask.len() != node_ids.len() {
            let (mask, ids) = (node_mask.len(), node_ids.len());
            return Err(format!("node {k}: `mask` has {mask} entries, expected {ids}, one for each of `token_ids`"));
        }
        let sampled = node_mask.iter().filter(|m| m.as_bool() == Some(true)).count();
        if !node_logprobs.is_empty() && node_logprobs.len() != sampled {
            let found = node_logprobs.len();
            return Err(format!(
                "node {k}: `logprobs` has {found} entries, expected {sampled}, one for each sampled token"
            ));
        }
        let mut next = node_logprobs.iter();
        for flag in node_mask {
            let is_sampled = flag.as_bool() == Some(true);
            mask.push(Value::from(u8::from(is_sampled)));
            logprobs.push(if is_sampled { next.next().cloned().unwrap_or(Value::Null) } else { Value::Null });
        }
        ids.extend_from_slice(node_ids);
    }
    let Some(start) = mask.iter().position(|m| *m == 1) else { return Ok(None) };
    let (response, mask, logprobs) = (ids.split_off(start), mask.split_off(start), logprobs.split_off(start));
    let mut out = Row::new();
    out.insert("prompt_ids".to_owned(), Value::Array(ids));
    out.insert("response_ids".to_owned(), Value::Array(response));
    out.insert("response_mask".to_owned(), Value::Array(mask));
    if logprobs.iter().any(|l| !l.is_null()) {
        out.insert("response_logprobs".to_owned(), Value::Array(logprobs));
    }
    Ok(Some(out))
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
