//! Logits of a model for some ids, as JSON: what `scripts/interop.sh` holds against PyTorch.
//!
//! `cargo run --release --features full --example logits -- MODEL [--adapter DIR] [--text] ID...`: the logits after the
//! last id; with `--text`, arguments are rendered as a user's message by the model's template, and the ids are printed.

use std::path::Path;

use candle_core::{DType, Device};
use purify::policy::chat::Chat;
use purify::policy::{Batch, Policy};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    if args.is_empty() {
        return Err("expected MODEL [--adapter DIR] [--text] ID...".into());
    }
    let model = args.remove(0);
    let mut policy = Policy::load(Path::new(&model), &Device::Cpu, DType::F32)?;
    if args.first().is_some_and(|a| a == "--adapter") {
        policy.load_adapter(Path::new(args.get(1).ok_or("expected a folder after --adapter")?))?;
        args.drain(..2);
    }
    if args.first().is_some_and(|a| a == "--text") {
        let chat = Chat::load(Path::new(&model), policy.config.vocabulary)?;
        let message = serde_json::json!({"role": "user", "content": args[1..].join(" ")});
        let ids = chat.encode(&chat.render(&[message], None, true)?)?;
        println!("{}", serde_json::json!(ids));
        return Ok(());
    }
    let ids = args.iter().map(|a| a.parse()).collect::<Result<Vec<u32>, _>>()?;
    let mut batch = Batch::default();
    batch.push(ids, []);
    let logits = policy.logits(&batch)?.to_vec2::<f32>()?;
    println!("{}", serde_json::json!(logits.last()));
    Ok(())
}
