//! Writes an HTML report of generated data to stdout: what `scripts/test_report.sh` opens in a browser.
//!
//! usage: report_page REPAIRS           that many repairs, made up from their number; of none, an audit of nothing
//!        report_page --texts FILE      a repair for each text of a JSON list, and the text wherever data can put one

use std::io::{BufWriter, Write};

use purify::audit::html::Page;
use purify::audit::report::{
    AuditReport, ByColumn, Cascade, Curve, Decisions, DiffLine, FileFacts, FindingCounts, GroupCounts, Groups,
    GuardCount, Guards, MAX_POSITIONS, Part, REPORT_VERSION, RepairView, Repairs, RowCounts, RunCounts, Sensitivity,
    Side, Slice, THRESHOLDS, Tally, WorstGroup,
};

use purify::record::{Findings, Granularity, RepairRecord};

const TOOLS: [&str; 4] = ["python", "shell", "search", "read_file"];
const ERRORS: [&str; 5] = ["NameError", "TypeError", "SyntaxError", "timeout", "unknown_error"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let mut page = Page::begin(BufWriter::new(std::io::stdout().lock()))?;
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--texts", file] => {
            let texts: Vec<String> = serde_json::from_str(&std::fs::read_to_string(file)?)?;
            for (row, text) in texts.iter().enumerate() {
                page.repair(repair_of_text(row as u64, text))?;
            }
            page.finish(&report_of_texts(&texts))?.flush()?;
        }
        [repairs] => {
            let repairs = repairs.parse()?;
            (0..repairs).try_for_each(|row| page.repair(repair(row)))?;
            page.finish(&if repairs == 0 { AuditReport::default() } else { report(repairs) })?.flush()?;
        }
        _ => return Err("expected `REPAIRS` or `--texts FILE`".into()),
    }
    Ok(())
}

/// Scattered bits of a number (the finaliser of MurmurHash3), so that repairs differ and each run makes the same.
fn scattered(number: u64) -> u64 {
    let mut bits = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    bits = (bits ^ (bits >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    bits ^ (bits >> 33)
}

fn repair(row: u64) -> RepairView {
    let bits = scattered(row);
    let pick = |shift: u32, of: u64| (bits >> shift) % of;
    let least = (1.0 - ((pick(3, 1000) as f64) / 1000.0).powi(2) * 1.02).clamp(0.02, 0.99);
    let attempts = 1 + pick(17, 6).saturating_sub(3);
    let error = |k: u64| ERRORS[(((bits >> 24) + k) % 9 % 5) as usize].to_owned();
    RepairView {
        rollout: format!("rollout_{row:06}_{:04x}", pick(40, 0x10000)),
        row,
        repair: 0,
        group: Some(format!("prompt_{}", row / 8)),
        reward: (pick(30, 20) > 0).then(|| [1.0, 1.0, 0.0, -1.0][pick(33, 4) as usize]),
        record: RepairRecord {
            tool: Some(TOOLS[pick(11, 7).saturating_sub(3) as usize].to_owned()),
            error_types: (0..attempts).map(error).collect(),
            granularity: if least < 0.5 { Granularity::Deep } else { Granularity::Shallow },
            similarity: (0..attempts).map(|k| (least + 0.03 * k as f64).min(1.0)).collect(),
            attempts: attempts as usize,
            first_message: 2 + 2 * pick(21, 5) as usize,
            removed_messages: 2 * (attempts as usize),
            findings: Findings {
                residue: Some(pick(36, 40) == 0),
                depends_on_removed: (pick(42, 5) > 0).then_some(pick(45, 60) == 0),
                identical_retry: Some(pick(50, 90) == 0),
                lossy_result: Some(pick(54, 30) == 0),
            },
            ..RepairRecord::default()
        },
        lines: lines(bits),
        is_cut: pick(58, 25) == 0,
    }
}

fn lines(bits: u64) -> Vec<DiffLine> {
    let limit = 100 + bits % 9000;
    let both = |text: &str| DiffLine::Both(text.to_owned());
    let before = |text: &str| DiffLine::Before(text.to_owned());
    let after = |text: &str| DiffLine::After(text.to_owned());
    vec![
        both(&format!(
            "I need the sum of the primes below {limit}. A sieve is more than this takes; a test of each number will do."
        )),
        both("python"),
        both("def is_prime(n):"),
        both("    if n < 2:"),
        both("        return False"),
        both("    return all(n % d for d in range(2, int(n ** 0.5) + 1))"),
        both(""),
        before(&format!("print(sum(n for n in range({limit}) if is_prim(n)))")),
        before("Traceback (most recent call last):"),
        before("  File \"<stdin>\", line 6, in <module>"),
        before("NameError: name 'is_prim' is not defined. Did you mean: 'is_prime'?"),
        before("The name is misspelt; once more with the right one."),
        after(&format!("print(sum(n for n in range({limit}) if is_prime(n)))")),
        after(&format!("{}", scattered(bits) % 1_000_000)),
    ]
}

fn tally(attempts: u64, share: f64) -> Tally {
    Tally { attempts, failed: (attempts as f64 * share).round() as u64 }
}

fn decisions(repairs: u64) -> Decisions {
    let counted =
        |names: &[(&str, u64)]| names.iter().map(|(name, share)| ((*name).to_owned(), repairs / share)).collect();
    Decisions {
        failure_runs: repairs * 3,
        repaired: repairs,
        left: repairs * 2,
        reasons: counted(&[("not_a_retry", 1), ("no_correction", 2), ("side_effects", 8)]),
        evidence: counted(&[("error_taken_up", 2), ("only_looks", 3), ("same_names", 4)]),
        ..Decisions::default()
    }
}

/// Numbers of a plausible size; they are not counted from the repairs.
fn report(repairs: u64) -> AuditReport {
    let rollouts = repairs * 2 + 8;
    AuditReport {
        report_version: REPORT_VERSION,
        decisions: decisions(repairs),
        settings_known: true,
        detects_alike: true,
        gates_undecided: Vec::new(),
        tool: "purify",
        tool_version: env!("CARGO_PKG_VERSION"),
        files: ["raw.parquet", "raw.purified.parquet"].map(|file| facts_of_file(file, rollouts)).to_vec(),
        is_purified: true,
        settings: serde_json::json!({ "similarity_threshold": 0.5, "max_retries": 3, "similarity_metric": "lexical" }),
        rows: RowCounts { raw: rollouts, purified: Some(rollouts - 3), left_out: 3, ..RowCounts::default() },
        before: side(rollouts, 0.24),
        after: side(rollouts, 0.06),
        repairs: repairs_made(repairs),
        guards: guards(repairs),
        reference: [("recovery/success_rate".to_owned(), 0.78), ("replacement/shallow_ratio".to_owned(), 0.71)].into(),
        sensitivity: sensitivity(repairs),
        groups: Some(groups(rollouts)),
        by_reward: ["positive", "zero", "negative", "none"].map(|sign| (sign.to_owned(), part(rollouts / 4))).into(),
        by_column: Some(ByColumn {
            column: "source".to_owned(),
            values: ["math", "code", "search"].map(|value| (value.to_owned(), part(rollouts / 3))).into(),
        }),
        gate_failures: Vec::new(),
    }
}

fn facts_of_file(file: &str, rows: u64) -> FileFacts {
    FileFacts { file: file.to_owned(), format: "native".to_owned(), bytes: rows * 1800, rows }
}

fn side(rollouts: u64, failing: f64) -> Side {
    let attempts = rollouts * 4;
    let failed = tally(attempts, failing).failed;
    let run = |corrected, uncorrected| RunCounts { corrected, uncorrected };
    Side {
        rollouts,
        messages: rollouts * 11,
        steps: rollouts * 5,
        attempts: attempts + rollouts / 50,
        ok: attempts - failed,
        failed,
        open: rollouts / 50,
        error_rate: tally(attempts, failing).rate(),
        characters: rollouts * 6_400,
        characters_on_failures: failed * 540,
        first_attempts: tally(rollouts, failing * 0.8),
        first_attempt_success_rate: Some(1.0 - failing * 0.8),
        by_tool: TOOLS
            .iter()
            .zip(1..)
            .map(|(tool, k)| ((*tool).to_owned(), tally(attempts / 3 / k, failing / k as f64 * 1.4)))
            .collect(),
        error_types: ERRORS.iter().zip(2..).map(|(error, k)| ((*error).to_owned(), failed / k)).collect(),
        by_position: (0..MAX_POSITIONS as u64)
            .map(|k| {
                tally(rollouts * 4 / (k * k + 5), failing * (0.8 + 0.03 * k as f64 + (scattered(k) % 10) as f64 / 80.0))
            })
            .collect(),
        failure_runs: [
            (1, run(failed / 2, failed / 9)),
            (2, run(failed / 9, failed / 20)),
            (5, run(failed / 90, failed / 60)),
        ]
        .into(),
        corrected: failed * 3 / 5,
        uncorrected: failed / 6,
        cascade: cascade(rollouts, failing),
        ..Side::default()
    }
}

fn cascade(rollouts: u64, failing: f64) -> Cascade {
    let after_failures = [1.6, 2.1, 2.5, 2.8].map(|times| tally(rollouts / 3, failing * times));
    Cascade {
        first: tally(rollouts, failing * 0.8),
        after_ok: tally(rollouts * 2, failing * 0.7),
        after_failures,
        rate_after_ok: Some(failing * 0.7),
        rate_after_failure: Some(failing * 1.8),
        ratio: Some(1.8 / 0.7),
    }
}

fn repairs_made(repairs: u64) -> Repairs {
    let mut similarity = [0; 20];
    for bin in (0..repairs).filter_map(|row| repair(row).record.similarity.first().map(|s| (s * 20.0) as usize)) {
        similarity[bin.min(19)] += 1;
    }
    let deep = similarity[..10].iter().sum();
    Repairs {
        rollouts_repaired: repairs * 9 / 10,
        recovered: repairs + repairs / 50,
        unrecovered: repairs / 6,
        repairs,
        shallow: repairs - deep,
        deep,
        deep_rate: Some(deep as f64 / repairs.max(1) as f64),
        removed_messages: repairs * 2,
        similarity,
        skipped: Some([("call_in_text".to_owned(), repairs / 90), ("user_between".to_owned(), repairs / 120)].into()),
        ..Repairs::default()
    }
}

fn guards(repairs: u64) -> Guards {
    let of = |yes: u64, unknown: u64| GuardCount { yes, no: repairs - yes - unknown, unknown };
    Guards {
        findings: FindingCounts(Findings {
            residue: of(repairs / 40, 0),
            depends_on_removed: of(repairs / 75, repairs / 5),
            identical_retry: of(repairs / 90, 0),
            lossy_result: of(repairs / 30, 0),
        }),
        duplicate_call_ids: repairs / 900,
        residue_rate: Some(1.0 / 40.0),
        dependency_rate: Some(1.0 / 60.0),
        ..Guards::default()
    }
}

fn sensitivity(repairs: u64) -> Sensitivity {
    let curve = |max_retries: u64, bend: f64| {
        let repairs = (repairs as f64 * (1.1 - 0.45f64.powi(max_retries as i32))) as u64;
        let deep = (0..THRESHOLDS).map(|k| (repairs as f64 * (k as f64 / 100.0).powf(bend)) as u64).collect();
        Curve { max_retries, repairs, deep }
    };
    Sensitivity {
        threshold: 0.5,
        max_retries: 3,
        by_retries: (1..=5).map(|retries| curve(retries, 2.2)).collect(),
        without_junk: curve(3, 3.1),
        changed_without_junk: repairs / 12,
        changed_at_lower: repairs / 14,
        changed_at_higher: repairs / 9,
        ..Sensitivity::default()
    }
}

fn groups(rollouts: u64) -> Groups {
    let counts = |failures_rewarded| GroupCounts {
        groups: rollouts / 8,
        rollouts,
        mixed: rollouts / 11,
        equal: rollouts / 8 - rollouts / 11,
        single: 0,
        mean_absolute_advantage: Some(0.7312),
        failures_rewarded,
    };
    let worst = |k: u64| WorstGroup { group: format!("prompt_{}", scattered(k) % rollouts), slice: slice(60 - k) };
    Groups {
        before: counts(rollouts / 3),
        after: counts(rollouts / 14),
        picked_on_both: rollouts / 3,
        picked_before_only: rollouts / 40,
        picked_after_only: rollouts / 44,
        worst: (0..10).map(worst).collect(),
    }
}

fn part(rollouts: u64) -> Part {
    Part {
        before: side(rollouts, 0.24),
        after: side(rollouts, 0.06),
        repairs: repairs_made(rollouts / 2),
        guards: guards(rollouts / 2),
    }
}

fn slice(rollouts: u64) -> Slice {
    Slice {
        rollouts,
        attempts: rollouts * 4,
        failed_before: rollouts,
        failed_after: rollouts / 4,
        repairs: rollouts / 2,
        deep: rollouts / 7,
        uncorrected: rollouts / 6,
        removed_messages: rollouts,
    }
}

fn repair_of_text(row: u64, text: &str) -> RepairView {
    let own = || text.to_owned();
    RepairView {
        rollout: own(),
        group: Some(own()),
        record: RepairRecord { tool: Some(own()), error_types: vec![own()], ..repair(row).record },
        lines: vec![DiffLine::Both(own()), DiffLine::Before(own()), DiffLine::After(format!("{text}."))],
        ..repair(row)
    }
}

fn report_of_texts(texts: &[String]) -> AuditReport {
    let mut out = report(texts.len() as u64);
    for text in texts {
        out.files.push(facts_of_file(text, 1));
        out.gate_failures.push(text.clone());
        out.gates_undecided.push(text.clone());
        out.rows.unreadable.insert(text.clone(), 1);
        out.before.by_tool.insert(text.clone(), tally(2, 0.5));
        out.before.error_types.insert(text.clone(), 1);
        out.repairs.skipped.get_or_insert_default().insert(text.clone(), 1);
        out.reference.insert(text.clone(), 0.5);
        out.by_reward.insert(text.clone(), part(1));
        if let Some(groups) = &mut out.groups {
            groups.worst.push(WorstGroup { group: text.clone(), slice: slice(1) });
        }
        if let Some(column) = &mut out.by_column {
            column.values.insert(text.clone(), part(1));
        }
    }
    if let Some(column) = &mut out.by_column {
        column.column = texts.concat();
    }
    out.settings = serde_json::json!({ "texts": texts });
    out
}
