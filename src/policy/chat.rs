//! Chat text: the model's own template, its tokenizer, and which tokens the policy wrote.
//!
//! Owns rendering as `transformers`' `apply_chat_template` does it, and the loss mask of rendered messages. The mask
//! follows the rendered text: a template may show a message differently by what comes after it (Qwen3 drops the
//! reasoning of earlier answers). A message's place is found by rendering the conversation again with another text in
//! its stead; where that does not show it beyond doubt, the row is refused.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use candle_core::quantized::gguf_file;
use candle_core::quantized::tokenizer::TokenizerFromGguf;
use minijinja::{Environment, Error as TemplateError, ErrorKind, Value as Jinja};
use serde_json::{Map, Value, json};
use tokenizers::Tokenizer;

pub use super::error::ChatError;
use super::error::PolicyError;
use super::files;
use crate::python_json;

const TEMPLATE: &str = "chat";
const TOOL_TEMPLATE: &str = "chat_with_tools";
/// What stands in for a message while its place is looked for; no common letter at either end.
const STAND_INS: [&str; 2] = ["0 purify", "1 yfiruP"];

/// Text and tokens of one conversation.
#[derive(Clone, Debug, PartialEq)]
pub struct Rendered {
    pub ids: Vec<u32>,
    /// Whether the policy wrote the token.
    pub mask: Vec<bool>,
    /// Tokens of each message that the policy wrote, by message.
    pub places: Vec<Option<Range<usize>>>,
    /// Messages whose calls the template does not show.
    pub hidden_calls: usize,
}

/// A model's template and tokenizer.
pub struct Chat {
    environment: Environment<'static>,
    has_tool_template: bool,
    tokenizer: Arc<Tokenizer>,
    /// Ids of special tokens, sorted.
    special: Vec<u32>,
    tokens: Map<String, Value>,
}

impl Chat {
    /// From a model's folder, or a GGUF file's metadata.
    pub fn load(model: &Path, vocabulary: usize) -> Result<Self, PolicyError> {
        let (tokenizer, templates, tokens) = match model.is_dir() {
            true => of_folder(model)?,
            false => of_gguf(model)?,
        };
        let size = tokenizer.get_vocab_size(true);
        // Embeddings are often padded to a round number; they are never smaller than the vocabulary.
        if size > vocabulary {
            return Err(ChatError::Vocabulary { tokenizer: size, model: vocabulary }.into());
        }
        let [template, tool_template] = templates;
        let mut environment = environment();
        let add = |environment: &mut Environment<'static>, name: &'static str, text: String| {
            environment.add_template_owned(name, text).map_err(|e| ChatError::Template { detail: detail_of(&e) })
        };
        let template = template.ok_or_else(|| ChatError::NoTemplate { path: model.to_owned() })?;
        add(&mut environment, TEMPLATE, template)?;
        let has_tool_template = tool_template.is_some();
        if let Some(text) = tool_template {
            add(&mut environment, TOOL_TEMPLATE, text)?;
        }
        let added = tokenizer.get_added_tokens_decoder();
        let mut special: Vec<u32> = added.iter().filter(|(_, t)| t.special).map(|(&id, _)| id).collect();
        special.sort_unstable();
        Ok(Chat { environment, has_tool_template, tokenizer: Arc::new(tokenizer), special, tokens })
    }

    pub(super) fn tokenizer(&self) -> &Arc<Tokenizer> {
        &self.tokenizer
    }

    /// The text of a conversation, as `apply_chat_template` renders it.
    pub fn render(&self, messages: &[Value], tools: Option<&Value>, opens_answer: bool) -> Result<String, ChatError> {
        let refused = |e: TemplateError| ChatError::Render { detail: detail_of(&e) };
        let name = if self.has_tool_template && tools.is_some() { TOOL_TEMPLATE } else { TEMPLATE };
        let mut context: Map<String, Value> = self.tokens.clone();
        context.insert("messages".to_owned(), Value::Array(messages.to_vec()));
        context.insert("tools".to_owned(), tools.cloned().unwrap_or(Value::Null));
        context.insert("documents".to_owned(), Value::Null);
        context.insert("add_generation_prompt".to_owned(), Value::Bool(opens_answer));
        let template = self.environment.get_template(name).map_err(refused)?;
        template.render(Jinja::from_serialize(&context)).map_err(refused)
    }

    /// Ids of a text; nothing is added to it.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, ChatError> {
        Ok(self.encoding(text)?.get_ids().to_vec())
    }

    fn encoding(&self, text: &str) -> Result<tokenizers::Encoding, ChatError> {
        self.tokenizer.encode(text, false).map_err(|e| ChatError::Encode { detail: e.to_string() })
    }

    /// Tokens of a conversation, and which of them the policy wrote: the assistant's messages from after the words
    /// that open an answer up to the end-of-turn token, itself included.
    pub fn tokens(&self, messages: &[Value], tools: Option<&Value>) -> Result<Rendered, ChatError> {
        let text = self.render(messages, tools, false)?;
        let encoding = self.encoding(&text)?;
        let (ids, offsets) = (encoding.get_ids(), encoding.get_offsets());
        let mut places = vec![None; messages.len()];
        let (mut behind, mut hidden_calls) = (0, 0);
        for (k, message) in messages.iter().enumerate().filter(|(_, m)| m.get("role") == Some(&json!("assistant"))) {
            let span = self.span(messages, tools, &text, k)?;
            if span.start < behind {
                return Err(ChatError::Place { message: k });
            }
            behind = span.end;
            hidden_calls += usize::from(hides_calls(message, &text[span.clone()]));
            // A token that reaches into the span from before it was not the policy's alone.
            let start = offsets.partition_point(|o| o.0 < span.start);
            let mut end = offsets.partition_point(|o| o.1 <= span.end).max(start);
            if offsets.get(end).is_some_and(|o| o.0 == span.end) && self.special.binary_search(&ids[end]).is_ok() {
                end += 1;
            }
            places[k] = Some(start..end);
        }
        let mut mask = vec![false; ids.len()];
        places.iter().flatten().for_each(|place: &Range<usize>| mask[place.clone()].fill(true));
        Ok(Rendered { ids: ids.to_vec(), mask, places, hidden_calls })
    }

    /// Bytes of the rendered text that are the body of an assistant message.
    fn span(
        &self,
        messages: &[Value],
        tools: Option<&Value>,
        text: &str,
        message: usize,
    ) -> Result<Range<usize>, ChatError> {
        let unclear = || ChatError::Place { message };
        let before = &messages[..message];
        let (open, closed) = (self.render(before, tools, true)?, self.render(before, tools, false)?);
        let opening = open.strip_prefix(closed.as_str()).filter(|o| !o.is_empty()).ok_or_else(unclear)?;
        let (mut head, mut tail) = (text.len(), text.len());
        for stand_in in STAND_INS {
            let mut other = messages.to_vec();
            other[message] = json!({"role": "assistant", "content": stand_in});
            let other = self.render(&other, tools, false)?;
            head = head.min(common(text.bytes(), other.bytes()));
            tail = tail.min(common(text.bytes().rev(), other.bytes().rev()));
        }
        // Both ends may share bytes of a character, and an empty body leaves them touching.
        let head = text.floor_char_boundary(head);
        let end = text.ceil_char_boundary(text.len() - tail.min(text.len() - head));
        let opened = text[..head].rfind(opening).ok_or_else(unclear)? + opening.len();
        Ok(opened..end.max(opened))
    }
}

/// Whether the name of a message's first call is nowhere in its text: many templates know no calls.
fn hides_calls(message: &Value, text: &str) -> bool {
    let name = message.pointer("/tool_calls/0/function/name").and_then(Value::as_str);
    name.is_some_and(|name| !text.contains(name))
}

fn common(a: impl Iterator<Item = u8>, b: impl Iterator<Item = u8>) -> usize {
    a.zip(b).take_while(|(a, b)| a == b).count()
}

fn detail_of(error: &TemplateError) -> String {
    let line = error.line().map_or(String::new(), |line| format!(" (line {line} of the template)"));
    let text = error.detail().map_or_else(|| error.kind().to_string(), str::to_owned);
    text.chars().take(300).flat_map(char::escape_debug).collect::<String>() + &line
}

/// Jinja as transformers sets it up. `strftime_now` is left undefined: a text that changes by the day would never give
/// the same tokens twice, and templates have a date of their own for that case.
fn environment() -> Environment<'static> {
    let mut environment = Environment::new();
    environment.set_trim_blocks(true);
    environment.set_lstrip_blocks(true);
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    environment.set_formatter(|out, state, value| match () {
        () if value.is_none() => out.write_str("None").map_err(TemplateError::from),
        () if value.kind() == minijinja::value::ValueKind::Bool => {
            out.write_str(if value.is_true() { "True" } else { "False" }).map_err(TemplateError::from)
        }
        () => minijinja::escape_formatter(out, state, value),
    });
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.add_filter("tojson", |value: Jinja, options: minijinja::value::Kwargs| {
        let indent: Option<usize> = options.get("indent")?;
        let value =
            serde_json::to_value(&value).map_err(|e| TemplateError::new(ErrorKind::BadSerialization, e.to_string()))?;
        Ok(python_json::dumps(&value, indent))
    });
    environment.add_function("raise_exception", |message: String| -> Result<Jinja, TemplateError> {
        Err(TemplateError::new(ErrorKind::InvalidOperation, message))
    });
    environment
}

type Parts = (Tokenizer, [Option<String>; 2], Map<String, Value>);

fn of_folder(folder: &Path) -> Result<Parts, PolicyError> {
    let path = folder.join("tokenizer.json");
    let tokenizer =
        Tokenizer::from_file(&path).map_err(|e| ChatError::Tokenizer { path: path.clone(), detail: e.to_string() })?;
    let path = folder.join("tokenizer_config.json");
    let settings: Map<String, Value> = match std::fs::read_to_string(&path) {
        Ok(text) => serde_json::from_str(&text)
            .map_err(|e| ChatError::Tokenizer { path: path.clone(), detail: e.to_string() })?,
        Err(_) => Map::new(),
    };
    let own = folder.join("chat_template.jinja");
    let templates = match std::fs::read_to_string(&own) {
        Ok(text) => [Some(text), None],
        Err(_) => match settings.get("chat_template") {
            Some(Value::String(text)) => [Some(text.clone()), None],
            Some(Value::Array(named)) => ["default", "tool_use"].map(|name| {
                let entry = named.iter().find(|entry| entry.get("name") == Some(&json!(name)))?;
                Some(entry.get("template")?.as_str()?.to_owned())
            }),
            _ => [None, None],
        },
    };
    // A token is written as text, or as an object that holds it.
    let token = |value: &Value| value.as_str().or_else(|| value.get("content")?.as_str()).map(|t| json!(t));
    let tokens = settings.iter().filter(|(name, _)| name.ends_with("_token"));
    Ok((tokenizer, templates, tokens.filter_map(|(name, value)| Some((name.clone(), token(value)?))).collect()))
}

fn of_gguf(path: &Path) -> Result<Parts, PolicyError> {
    let broken = |detail: String| ChatError::Tokenizer { path: path.to_owned(), detail };
    let file = std::fs::File::open(path).map_err(|source| PolicyError::Read { path: path.to_owned(), source })?;
    let content = gguf_file::Content::read(&mut std::io::BufReader::new(file)).map_err(|e| broken(e.to_string()))?;
    let mut tokenizer = Tokenizer::from_gguf(&content).map_err(|e| broken(e.to_string()))?;
    let text = |key: &str| content.metadata.get(key).and_then(|v| v.to_string().ok()).cloned();
    if text("tokenizer.ggml.pre").as_deref() == Some("smollm") {
        // candle takes GPT-2's way here; SmolLM's splits digits first (the hub's tokenizer.json of the model).
        tokenizer.with_pre_tokenizer(Some(smollm_pre_tokenizer()));
    }
    let piece = |key: &str| {
        let id = content.metadata.get(key).and_then(|v| v.to_u32().ok())?;
        tokenizer.id_to_token(id)
    };
    let tokens = [("bos_token", "bos"), ("eos_token", "eos"), ("pad_token", "padding"), ("unk_token", "unknown")];
    let tokens = tokens
        .into_iter()
        .filter_map(|(name, key)| Some((name.to_owned(), json!(piece(&format!("tokenizer.ggml.{key}_token_id"))?))));
    let tokens = tokens.collect();
    Ok((tokenizer, [text("tokenizer.chat_template"), text("tokenizer.chat_template.tool_use")], tokens))
}

fn smollm_pre_tokenizer() -> tokenizers::PreTokenizerWrapper {
    use tokenizers::pre_tokenizers::{byte_level::ByteLevel, digits::Digits, sequence::Sequence};
    Sequence::new(vec![Digits::new(true).into(), ByteLevel::new(false, true, true).into()]).into()
}

/// Writes tokenizer and template of a GGUF file as the hub's layout has them.
pub(super) fn write_gguf_companions(gguf: &Path, folder: &Path) -> Result<(), PolicyError> {
    let (tokenizer, [template, _], tokens) = of_gguf(gguf)?;
    let path = folder.join("tokenizer.json");
    let text =
        tokenizer.to_string(false).map_err(|e| ChatError::Tokenizer { path: path.clone(), detail: e.to_string() })?;
    files::write_whole(&path, text.as_bytes())?;
    let mut settings = tokens;
    settings.insert("tokenizer_class".to_owned(), json!("PreTrainedTokenizerFast"));
    files::write_json(&folder.join("tokenizer_config.json"), &Value::Object(settings))?;
    match template {
        Some(template) => files::write_whole(&folder.join("chat_template.jinja"), template.as_bytes()),
        None => Ok(()),
    }
}
