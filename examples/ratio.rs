//! Prints the ratio of pairs of texts, or times it: the Rust half of `scripts/compare_similarity.py`.
//!
//! Reads lines `[old, new]` or `[old, new, repeats]` of JSON; writes the bits of the ratio in hexadecimal, and the
//! nanoseconds of one computation after them if it was repeated.

use std::io::BufRead;

use purify::similarity::lexical::{Junk, ratio};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    for line in std::io::stdin().lock().lines() {
        let (old, new, repeats): (String, String, u32) = match serde_json::from_str(&line?)? {
            serde_json::Value::Array(parts) => {
                let text = |k: usize| parts.get(k).and_then(|p| p.as_str()).unwrap_or_default().to_owned();
                (text(0), text(1), parts.get(2).and_then(|n| n.as_u64()).unwrap_or(1) as u32)
            }
            _ => return Err("expected a list".into()),
        };
        let start = std::time::Instant::now();
        let mut result = 0.0;
        for _ in 0..repeats.max(1) {
            result = ratio(std::hint::black_box(&old), std::hint::black_box(&new), Junk::Automatic);
        }
        println!("{:016x} {}", result.to_bits(), start.elapsed().as_nanos() as f64 / f64::from(repeats.max(1)));
    }
    Ok(())
}
