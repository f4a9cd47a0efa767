//! Counts a stretch of rows: each raw one, what became of it, and what other settings would have decided.
//!
//! Owns one row's share of every number, and its repairs as they are looked at. Sums are [`super::counts`]', the matching of
//! rows [`super::walk`]'s.

use std::path::{Path, PathBuf};

use super::counts::{Counts, Done, Stretched};
use super::edited::is_as_recorded;
use super::groups::Graded;
use super::repairs::views;
use super::report::{MAX_RETRIES, Part, RepairView, Slice};
use super::sensitivity::{InForce, Least};
use super::side::{MessageTokens, entry};
use super::walk::{Records, Stretch, TOGETHER, facts_of};
use crate::error::Error;
use crate::group::Advantage;
use crate::guard::calls::{ListedTools, faults};
use crate::ingest::RowOf;
use crate::options::{Mode, Options, RepairFaults, SaarConfig, Unrecovered, Whole};
use crate::pipeline::{check, purifier};
use crate::purifier::Purifier;
use crate::record::{Granularity, RepairKind, RowRecord};
use crate::rollout::{Message, Rollout};
use crate::saar::{Comparison, Known, Meaning, Planner};
use crate::schema::PURIFICATION;
use crate::similarity::semantic::{NoVector, Vectors};
use crate::similarity::{Exact, Lexical, measure};
use crate::steps::{RunEnd, Trajectory};
use crate::tokens::Tokens;

/// What a stretch of rows comes to.
pub(super) struct Found {
    pub stretch: Stretched,
    /// In the order of the rows; empty unless they are asked for.
    pub views: Vec<RepairView>,
}

/// Where the numbers of one rollout go.
struct Sums<'f> {
    counts: &'f mut Counts,
    part: &'f mut Part,
    slice: Slice,
    views: &'f mut Vec<RepairView>,
}

/// Counts stretches of rows.
pub(super) struct Auditor<'a> {
    purifier: Purifier<'a>,
    every_run: SaarConfig,
    /// Text, and meaning where there are vectors.
    comparison: Comparison<'a>,
    now: InForce,
    /// The raw data, and the first purified file, for messages.
    raw: &'a Path,
    purified: Option<&'a Path>,
    wants_views: bool,
}

/// The method with every run that the curves look at, whatever the settings repair.
pub(super) fn every_run(method: &SaarConfig) -> SaarConfig {
    SaarConfig {
        mode: Mode::Replace,
        max_retries: Whole::nearest(MAX_RETRIES as u32),
        unrecovered: Unrecovered::Keep,
        stop_after_unrecovered: false,
        max_attempts: 0,
        repair_faults: RepairFaults::All,
        ..method.clone()
    }
}

impl<'a> Auditor<'a> {
    pub(super) fn new(
        settings: &'a Options,
        vectors: Option<&'a Vectors>,
        (raw, purified): (&'a Path, Option<&'a Path>),
        now: InForce,
        wants_views: bool,
    ) -> Result<Self, Error> {
        let every_run = every_run(&settings.method);
        let text = measure(settings.method.similarity_metric).unwrap_or(&Lexical);
        let comparison = match vectors {
            Some(vectors) => Comparison::TextAndMeaning(text, Meaning { vectors, of: settings.semantic.semantic_of }),
            None => Comparison::Text(text),
        };
        let purifier = purifier(settings, vectors)?;
        Ok(Auditor { purifier, every_run, comparison, now, raw, purified, wants_views })
    }

    pub(super) fn count(&self, stretch: Stretch, column: Option<&str>) -> Result<Found, Error> {
        let mut found = Found { stretch: Stretched::default(), views: Vec::new() };
        let counts = &mut found.stretch.counts;
        for line in &stretch.bad {
            counts.rows += 1;
            *entry(&mut counts.unreadable, line.error.code()) += 1;
        }
        let mut listed = ListedTools::default();
        let mut records = Records::new(self.path());
        for (raw, became) in &stretch.raw {
            let Found { stretch: Stretched { counts, parts }, views } = &mut found;
            counts.rows += 1;
            let rollout = match raw.batch.rollout(raw.row) {
                Ok(rollout) => rollout,
                Err(error) => {
                    *entry(&mut counts.unreadable, error.code()) += 1;
                    continue;
                }
            };
            let record = became.as_ref().map(|row| records.row(row)).transpose()?;
            let part = parts.of(part_of(raw, column));
            part.add_faults(faults(&rollout.messages, listed.of(raw.batch.tools(raw.row))));
            let sums = Sums { counts, part, slice: Slice::default(), views };
            self.add_row(sums, raw, &rollout, became.as_ref().zip(record))?;
        }
        Ok(found)
    }

    fn path(&self) -> PathBuf {
        self.purified.map(Path::to_owned).unwrap_or_default()
    }

    fn add_row(
        &self,
        mut sums: Sums<'_>,
        raw: &RowOf,
        rollout: &Rollout<'_>,
        became: Option<(&RowOf, RowRecord)>,
    ) -> Result<(), Error> {
        let before = Trajectory::new(rollout, self.purifier.detector());
        let tokens = self.tokens(rollout);
        sums.part.before.add(&before, tokens.as_ref());
        sums.counts.reference.add(&before, self.now.max_retries);
        sums.slice = Slice {
            rollouts: 1,
            attempts: before.attempts() as u64,
            failed_before: before.failed_attempts() as u64,
            ..Slice::default()
        };
        let done = match became {
            Some((row, record)) => Some(self.add_became(&mut sums, (raw, &before), (row, record))?),
            None if self.purified.is_some() => None,
            None => self.add_planned(&mut sums, (raw, &before), tokens.as_ref())?,
        };
        let stays = done.is_some();
        let done = done.unwrap_or_default();
        sums.counts.left_out += u64::from(!stays);
        sums.slice.add_done(&done.record);
        sums.part.add_repairs(&done);
        if before.failed_attempts() > 0 || done.record.runs.is_some() {
            let runs = done.record.runs.as_deref();
            sums.counts.decisions.add(runs, before.failure_runs().len());
        }
        if before.failed_attempts() > 0 {
            self.add_runs(sums.counts, &before, &done.record).map_err(|error| self.unreadable(raw, &error))?;
        }
        if let (Some(reward), Some(group)) = (reward(raw), raw.batch.group(raw.row)) {
            let count = |failed: u64| u32::try_from(failed).unwrap_or(u32::MAX);
            let graded = Graded {
                id: raw.batch.id(raw.row).into(),
                reward,
                failed_before: count(sums.slice.failed_before),
                failed_after: stays.then(|| count(sums.slice.failed_after)),
            };
            sums.counts.groups.add(group, graded, sums.slice);
        }
        Ok(())
    }

    /// The other side of a row, as it was written.
    fn add_became(
        &self,
        sums: &mut Sums<'_>,
        (raw, before): (&RowOf, &Trajectory<'_, '_>),
        (row, record): (&RowOf, RowRecord),
    ) -> Result<Done, Error> {
        let after = row.batch.rollout(row.row).map_err(|error| self.unreadable(row, &error))?;
        self.check((raw, row), &record, before)?;
        sums.counts.purified_rows += 1;
        let is_same_reward = reward(raw) == reward(row);
        sums.counts.edited += u64::from(!is_same_reward || !is_as_recorded(before.rollout, &after, &record));
        // Most rows were left as they are, and finding their failures is most of the work.
        match after.messages == before.rollout.messages {
            true => {
                sums.part.after.add(before, self.tokens(&after).as_ref());
                sums.slice.add_after(before);
            }
            false => {
                let trajectory = Trajectory::new(&after, self.purifier.detector());
                sums.part.after.add(&trajectory, self.tokens(&after).as_ref());
                sums.slice.add_after(&trajectory);
            }
        }
        self.add_views(sums.views, (raw, before.rollout), &after, &record)
            .map_err(|detail| self.mismatch(format!("row {}: {detail}", row.batch.number(row.row))))?;
        Ok(Done { record, skipped: Vec::new() })
    }

    /// The other side of a row that has not been purified yet; `None` if it would be rejected.
    fn add_planned(
        &self,
        sums: &mut Sums<'_>,
        (raw, before): (&RowOf, &Trajectory<'_, '_>),
        tokens: Option<&MessageTokens>,
    ) -> Result<Option<Done>, Error> {
        check(&self.purifier, self.raw, before.rollout.tokens.is_some())?;
        let advantage = match raw.batch.advantage(raw.row) {
            Some(own) => Advantage::new(own),
            None => {
                self.purifier.baselines().and_then(|b| b.advantage(raw.batch.group(raw.row), raw.batch.reward(raw.row)))
            }
        };
        let Ok(row) = self.purifier.decide(before, advantage) else { return Ok(None) };
        let done = Done::of_plan(&row);
        let rollout = before.rollout;
        let sources = row.rollout.as_ref().map(|purified| purified.messages());
        if sources.is_none() && row.loss.is_empty() {
            sums.part.after.add(before, tokens);
            sums.slice.add_after(before);
            return Ok(Some(done));
        }
        let mut messages: Vec<Message<'_>> = match sources {
            Some(sources) => sources.iter().map(|source| source.of(rollout)).collect(),
            None => rollout.messages.clone(),
        };
        // What is not trained on belongs to no failure run, as it will be read.
        messages.iter_mut().zip(&row.loss).for_each(|(message, is_trained)| message.is_context |= !is_trained);
        let splice = row.rollout.as_ref().and_then(|purified| purified.tokens());
        let spliced = rollout.tokens.zip(splice).map(|(tokens, splice)| splice.of(tokens));
        let tokens = match &spliced {
            Some((ids, mask)) => Some(Tokens { ids, mask }),
            None => rollout.tokens,
        };
        let after = Rollout { id: rollout.id.clone(), group: rollout.group, messages, tokens };
        let trajectory = Trajectory::new(&after, self.purifier.detector());
        sums.part.after.add(&trajectory, self.tokens(&after).as_ref());
        sums.slice.add_after(&trajectory);
        self.add_views(sums.views, (raw, rollout), &after, &done.record).map_err(|detail| self.mismatch(detail))?;
        Ok(Some(done))
    }

    fn add_views(
        &self,
        found: &mut Vec<RepairView>,
        (raw, before): (&RowOf, &Rollout<'_>),
        after: &Rollout<'_>,
        record: &RowRecord,
    ) -> Result<(), String> {
        if self.wants_views {
            found.extend(views(&facts_of(raw), before, after, &record.repairs)?);
        }
        Ok(())
    }

    /// A record that speaks of other failures than the raw row has belongs to another row, or was made with another detector.
    fn check(
        &self,
        (raw, row): (&RowOf, &RowOf),
        record: &RowRecord,
        before: &Trajectory<'_, '_>,
    ) -> Result<(), Error> {
        let fits = record.repairs.iter().all(|repair| {
            before.steps.iter().any(|step| step.message == repair.first_message && step.attempt.is_some())
        });
        match fits {
            true => Ok(()),
            false => {
                self.refuse_purified(raw)?;
                let number = row.batch.number(row.row);
                Err(self.mismatch(format!("row {number} of it records a repair where the raw row has no attempt")))
            }
        }
    }

    /// What a row that was purified before records is about the data before that.
    fn refuse_purified(&self, raw: &RowOf) -> Result<(), Error> {
        match raw.batch.batch.column_by_name(PURIFICATION) {
            None => Ok(()),
            Some(_) => Err(Error::Mismatch {
                path: self.path(),
                detail: "it was made of data that was purified before, which its records speak of".to_owned(),
                hint: "give the data as it was before the first time",
            }),
        }
    }

    fn mismatch(&self, detail: String) -> Error {
        Error::Mismatch { path: self.path(), detail, hint: TOGETHER }
    }

    fn unreadable(&self, row: &RowOf, error: &dyn std::fmt::Display) -> Error {
        Error::Mismatch {
            path: self.path(),
            detail: format!("row {} of it can't be read: {error}", row.batch.number(row.row)),
            hint: "give what purify wrote",
        }
    }

    fn tokens(&self, rollout: &Rollout<'_>) -> Option<MessageTokens> {
        let tokens = rollout.tokens.as_ref()?;
        let runs = tokens.runs_by_message(&rollout.messages, self.purifier.marker()).unwrap_or_default();
        let of = runs.iter().map(|run| run.as_ref().map_or(0, |run| run.len() as u64)).collect();
        Some(MessageTokens { all: tokens.ids.len() as u64, of })
    }

    /// What every threshold and K would decide on the runs of a rollout.
    fn add_runs(&self, counts: &mut Counts, before: &Trajectory<'_, '_>, record: &RowRecord) -> Result<(), NoVector> {
        let plan = |comparison: Comparison<'_>| {
            let planner = Planner { config: &self.every_run, comparison, marker: None };
            planner.plan(before, Known::nothing()).map(|plan| plan.repairs)
        };
        let (text, exact) = (plan(self.comparison)?, plan(Comparison::Text(&Exact))?);
        let least = |all: &[f64]| all.iter().copied().fold(f64::INFINITY, f64::min);
        for (text, exact) in text.iter().zip(&exact).filter(|(repair, _)| repair.kind == RepairKind::Recovered) {
            let first = before.steps[text.first()].message;
            let recorded = record.repairs.iter().find(|repair| repair.first_message == first);
            let recorded = recorded.and_then(|repair| repair.semantic_similarity.as_ref());
            let cosines = text.semantic_similarity.as_ref().or(recorded);
            let meaning = cosines.map(|all| least(all)).filter(|least| least.is_finite());
            let run = Least {
                length: text.attempts() - 1,
                text: least(&text.similarity),
                exact: least(&exact.similarity),
                meaning,
            };
            counts.runs.add(run, self.now);
        }
        Ok(())
    }
}

fn reward(raw: &RowOf) -> Option<f64> {
    raw.batch.reward(raw.row).filter(|reward| reward.is_finite())
}

/// The sign of a row's reward, and what it has in the column.
fn part_of(raw: &RowOf, column: Option<&str>) -> (&'static str, Option<String>) {
    let sign = match reward(raw) {
        None => "none",
        Some(reward) if reward > 0.0 => "positive",
        Some(reward) if reward < 0.0 => "negative",
        Some(_) => "zero",
    };
    let value = |column| {
        let text = raw.batch.text_column(column);
        text.as_ref().and_then(|text| text.get(raw.row)).unwrap_or("(none)").to_owned()
    };
    (sign, column.map(value))
}

impl Slice {
    fn add_after(&mut self, after: &Trajectory<'_, '_>) {
        self.failed_after = after.failed_attempts() as u64;
        let uncorrected = after.failure_runs().into_iter().filter(|run| run.end == RunEnd::Other);
        self.uncorrected = uncorrected.count() as u64;
    }

    fn add_done(&mut self, record: &RowRecord) {
        let recovered = record.repairs.iter().filter(|r| r.kind == RepairKind::Recovered);
        self.repairs = recovered.clone().count() as u64;
        self.deep = recovered.filter(|r| r.granularity == Granularity::Deep).count() as u64;
        self.removed_messages = record.repairs.iter().map(|r| r.removed_messages as u64).sum();
    }
}
