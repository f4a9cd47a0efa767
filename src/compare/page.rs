//! The page of a comparison: one file that needs no network and runs nothing.
//!
//! Owns its words and its safety. There is no script, the policy allows none, and text from data stands escaped.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};

use super::plot::{Series, intervals, nats, ways};
use super::report::{Change, CompareReport, HeldOut};

const STYLE: &str = include_str!("page.css");

/// Failed first calls and corrections, as plots show them.
const SERIES: [Series; 2] = [
    Series {
        class: "first",
        title: "Failed first calls: change of log-prob",
        change: |recipe| recipe.held_out.failed_first_calls.as_ref(),
        by_update: |update| update.held_out.failed_first_calls,
    },
    Series {
        class: "second",
        title: "Corrections in the clean context: change of log-prob",
        change: |recipe| recipe.held_out.corrections.as_ref(),
        by_update: |update| update.held_out.corrections,
    },
];

/// Text from data, with nothing in it that HTML reads.
fn inert(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') => {
                let _ = write!(out, "{}", c.escape_debug());
            }
            c => out.push(c),
        }
    }
    out
}

fn grouped(count: u64) -> String {
    let digits = count.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

/// The whole page.
pub fn page(report: &CompareReport) -> String {
    let style = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
    let mut out = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'sha256-{style}'; base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>Recipes compared</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
    );
    out += &opening(report);
    out += "<main>\n";
    out += &table(report);
    out += &plots(report);
    out += &limits(report);
    out + "</main>\n</body>\n</html>\n"
}

fn opening(report: &CompareReport) -> String {
    let settings = &report.settings;
    let trained = if settings.full { "all weights" } else { "an adapter" };
    let mut out = format!(
        "<header>\n<h1>Recipes compared</h1>\n<p>{} recipes on <b>{}</b>, each from the same weights of <b>{}</b> ({trained}), with {} updates of {} trained tokens and learning rate {:?}. \
         {} groups are trained on and {} held out: log-probs, entropy and KL are measured on those.</p>\n",
        report.recipes.len(),
        inert(&report.input),
        inert(&report.model),
        settings.updates,
        grouped(report.token_budget),
        settings.learning_rate.get(),
        grouped(report.training_groups),
        grouped(report.held_out_groups),
    );
    if let Some(first) = &report.first_unscored {
        let rows: u64 = report.unscored.values().sum();
        let _ = writeln!(
            out,
            "<p class=\"alert\">The model can't read {} of {} rows: they are in no number. The first: {}</p>",
            grouped(rows),
            grouped(report.rows),
            inert(first)
        );
    }
    for recipe in report.recipes.iter().filter(|recipe| recipe.bad_rows > 0) {
        let first = recipe.first_bad_row.as_deref().unwrap_or_default();
        let (name, rows) = (recipe.recipe, grouped(recipe.bad_rows));
        let _ = writeln!(out, "<p class=\"alert\">{name} leaves out {rows} rows. The first: {}</p>", inert(first));
    }
    out + "</header>\n"
}

fn change_cell(change: Option<&Change>) -> String {
    match change {
        None => "<td>none there</td>".to_owned(),
        Some(found) => {
            let interval = found.interval.map(|(low, high)| format!(" <small>[{}, {}]</small>", nats(low), nats(high)));
            format!("<td>{}{}</td>", nats(found.change), interval.unwrap_or_default())
        }
    }
}

fn table(report: &CompareReport) -> String {
    let mut out = "<h2>What training changed</h2>\n<p class=\"note\">Changes of log-prob are in nats a call, after the last update against before the first; brackets are the 95% interval over held-out groups that are drawn again. \
        Below zero a call has become less likely.</p>\n<div class=\"scroll\" tabindex=\"0\"><table>\n<thead><tr><th>recipe</th><th>rollouts</th><th>repairs</th><th>tokens trained</th><th>gradient norm</th>\
        <th>failed first calls</th><th>corrections</th><th>entropy</th><th>KL from the start</th></tr></thead>\n<tbody>\n"
        .to_owned();
    for recipe in &report.recipes {
        let HeldOut { failed_first_calls, corrections, entropy, kl } = &recipe.held_out;
        let _ = writeln!(
            out,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td><td>{:.3}</td>{}{}<td>{:.4} <small>({})</small></td><td>{:.2e}</td></tr>",
            recipe.recipe,
            grouped(recipe.rollouts),
            grouped(recipe.repairs),
            grouped(recipe.trained_tokens),
            recipe.grad_norm,
            change_cell(failed_first_calls.as_ref()),
            change_cell(corrections.as_ref()),
            entropy,
            nats(entropy - report.entropy_before),
            kl
        );
    }
    out + "</tbody>\n</table></div>\n"
}

fn plots(report: &CompareReport) -> String {
    let mut out = String::new();
    for series in &SERIES {
        let calls = report.recipes.iter().find_map(series.change);
        let _ = writeln!(out, "<h2>{}</h2>", series.title);
        let Some(calls) = calls else {
            out += "<p class=\"note\">The held-out groups hold none: there is nothing to say.</p>\n";
            continue;
        };
        let _ = writeln!(
            out,
            "<p class=\"note\">{} calls of {} groups; mean log-prob before training {:.2}.</p>\n<figure tabindex=\"0\">{}</figure>",
            grouped(calls.calls),
            grouped(calls.groups),
            calls.before,
            intervals(&report.recipes, series)
        );
    }
    let _ = writeln!(
        out,
        "<h2>By update</h2>\n<p class=\"note\">Solid: failed first calls; dashed: corrections in the clean context. Nats a call since the start, one scale for all recipes.</p>\n<figure tabindex=\"0\">{}</figure>",
        ways(&report.recipes, &SERIES)
    );
    out
}

fn limits(report: &CompareReport) -> String {
    let items: String = report.cannot_know.iter().map(|text| format!("<li>{}</li>\n", inert(text))).collect();
    format!(
        "<h2>What this can't know</h2>\n<ul class=\"limits\">\n{items}</ul>\n<h2>What the numbers are</h2>\n<ul class=\"note\">\n\
         <li>A failed first call is a rollout's first call if its result is an error, read as it was sampled.</li>\n\
         <li>A correction is what worked directly after a failure (the paper's rule), read in the context from which the failure is taken out.</li>\n\
         <li>Behaviour log-probs are those of the model that is trained, whatever the data says, so that every recipe starts on policy.</li>\n\
         <li>Entropy is the mean over held-out policy tokens, in nats; in brackets its change.</li>\n\
         <li>KL is estimated (k3) on the same tokens, in nats a token. Where another policy sampled them, it is no more than a measure of how far the weights went.</li>\n\
         <li>Gradient norms are before clipping, the mean over updates.</li>\n</ul>\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::report::{CANNOT_KNOW, RecipeReport, UpdateReport};
    use crate::options::{CompareConfig, Fraction, NonNegative, Positive, Recipe};

    const INJECTIONS: &str = include_str!("../../fixtures/injections.json");

    fn report(text: &str) -> CompareReport {
        let change =
            Change { calls: 3, groups: 2, before: -4.0, after: -4.5, change: -0.5, interval: Some((-0.75, -0.25)) };
        let update = UpdateReport {
            update: 1,
            loss: 0.1,
            grad_norm: 2.0,
            trained_tokens: 1234,
            held_out: HeldOut { failed_first_calls: Some(-0.5), corrections: None, entropy: 0.5, kl: 0.01 },
        };
        let recipe = RecipeReport {
            recipe: "sign-gate",
            rollouts: 7,
            repairs: 0,
            no_advantage: 0,
            bad_rows: 1,
            first_bad_row: Some(text.to_owned()),
            trained_tokens: 1234,
            tokens: 5678,
            grad_norm: 2.0,
            held_out: HeldOut { failed_first_calls: Some(change), corrections: None, entropy: 0.5, kl: 0.01 },
            updates: vec![update],
        };
        CompareReport {
            input: text.to_owned(),
            model: text.to_owned(),
            device: "cpu".to_owned(),
            settings: CompareConfig {
                input: text.into(),
                out: "out".into(),
                recipes: vec![Recipe::SignGate],
                updates: Positive::nearest(1),
                token_budget: None,
                held_out: Fraction::new(0.2).expect("a share"),
                learning_rate: NonNegative::new(1e-4).expect("a rate"),
                full: false,
                seed: 0,
            },
            rows: 9,
            unscored: [("too_long".to_owned(), 1)].into(),
            first_unscored: Some(text.to_owned()),
            training_groups: 8,
            held_out_groups: 2,
            token_budget: 1234,
            entropy_before: 0.75,
            recipes: vec![recipe],
            cannot_know: CANNOT_KNOW,
        }
    }

    #[test]
    fn no_text_from_data_adds_a_tag_or_ends_an_attribute() {
        let texts: Vec<String> = serde_json::from_str(INJECTIONS).expect("texts");
        let tame = page(&report("tame"));
        for text in texts {
            let wild = page(&report(&text));
            for mark in ['<', '>', '"', '\'', '\u{202e}', '\0'] {
                assert_eq!(wild.matches(mark).count(), tame.matches(mark).count(), "{mark:?} of {text:?}");
            }
        }
    }

    #[test]
    fn the_page_runs_nothing_and_loads_nothing() {
        let page = page(&report("rollouts"));
        for door in ["<script", "http://", "https://", " on", "javascript:", "<link", "<img", "style=\""] {
            let is_there = page.split("<style>").enumerate().any(|(k, part)| {
                let part = if k == 0 { part } else { part.split_once("</style>").map_or("", |(_, rest)| rest) };
                part.contains(door) && !(door == " on" && !part.contains(" on=") && !part.contains(" onload"))
            });
            assert!(!is_there, "{door}");
        }
        let hash = STANDARD.encode(Sha256::digest(STYLE.as_bytes()));
        assert!(page.contains(&format!("default-src 'none'; style-src 'sha256-{hash}'")));
        assert!(STYLE.contains("prefers-color-scheme: dark"));
    }

    #[test]
    fn the_page_says_every_number_and_what_it_cannot_know() {
        let page = page(&report("rollouts"));
        for text in ["sign-gate", "1,234", "-0.50", "[-0.75, -0.25]", "0.5000", "1.00e-2", "-0.25", "too", "none there"]
        {
            assert!(text == "too" || page.contains(text), "{text}");
        }
        for text in CANNOT_KNOW {
            assert!(page.contains(&inert(text)), "{text}");
        }
    }

    #[test]
    fn counts_are_told_in_thousands() {
        assert_eq!([0, 999, 1000, 1_234_567].map(grouped), ["0", "999", "1,000", "1,234,567"]);
    }
}
