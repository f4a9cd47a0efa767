//! A plan after the guards have looked at it: `--on-residue`, `--on-dependency`.
//!
//! Owns what follows from a finding. With `flag`, the default, nothing follows: the plan is what it was.

use super::{Guarded, Purifier};
use crate::decide::Decider;
use crate::decision::{Reason, RunDecision};
use crate::group::Advantage;
use crate::guard::{Findings, GUARDS, dependency, residue};
use crate::options::{OnDependency, OnLoss, OnResidue};
use crate::record::{AdvantageSign, RepairKind};
use crate::rejects::RejectReason;
use crate::saar::{Comparison, Gate, Known, Plan, step_text};
use crate::steps::Trajectory;

impl Purifier<'_> {
    /// Plans, and has the guards look at every repair.
    pub(super) fn guarded(
        &self,
        trajectory: &Trajectory<'_, '_>,
        gate: Option<Gate<'_>>,
        advantage: Option<Advantage>,
    ) -> Result<Guarded, RejectReason> {
        let decision = &self.options.decision;
        let (sign, place, unit) = (advantage.map(sign_of), decision.repair_where, decision.repair_unit);
        let unjudged = Known { gate, decisions: None, sign, place, unit };
        // Where nothing is repaired whatever the runs are, only pairs need to know.
        let is_asked = self.options.pairs || (decision.judges() && !unjudged.is_worse());
        let decisions = if is_asked { self.decisions(trajectory) } else { None };
        let mut plan = self.planner().plan(trajectory, Known { decisions: decisions.as_deref(), ..unjudged })?;
        // A repair that is not made leaves its names to those behind it, so this comes first.
        let dependent = self.dependent(trajectory, &mut plan);
        let mut findings = Vec::with_capacity(plan.repairs.len());
        for (index, depends_on_removed) in dependent.into_iter().enumerate() {
            findings.push(match plan.repairs[index].kind {
                RepairKind::Recovered => {
                    let residue = self.residue(trajectory, &mut plan, index);
                    let mut found = Findings { residue, depends_on_removed, ..Findings::default() };
                    for guard in GUARDS {
                        *(guard.slot)(&mut found) = (guard.look)(trajectory, &plan.repairs[index]);
                    }
                    found
                }
                // The error of a collapsed run is still there.
                RepairKind::Collapsed => Findings::default(),
            });
        }
        let repairs = findings.iter().filter(|f| f.residue == Some(true)).count();
        match self.options.guard.on_residue {
            OnResidue::Drop if repairs > 0 => Err(RejectReason::Residue { repairs }),
            _ => Ok(Guarded { plan, findings }),
        }
    }

    /// What speaks for and against each failure run; `None` where there is none.
    fn decisions(&self, trajectory: &Trajectory<'_, '_>) -> Option<Vec<RunDecision>> {
        let config = &self.options.decision;
        if trajectory.failed_attempts() == 0 {
            return None;
        }
        let meaning = match self.comparison {
            Comparison::Text(_) => None,
            Comparison::TextAndMeaning(_, meaning) | Comparison::Meaning(meaning, _) => Some(meaning),
        };
        let message = |step: usize| &trajectory.rollout.messages[trajectory.steps[step].message];
        let cosine = |old: usize, new: usize| {
            let meaning = meaning?;
            let text = |step: usize| step_text(message(step), meaning.of).into_owned();
            meaning.vectors.similarity(&text(old), &text(new)).ok().map(|similarity| similarity.get())
        };
        let decider = Decider { config, meaning: meaning.is_some().then_some(&cosine) };
        Some(trajectory.failure_runs().iter().map(|run| decider.decide(trajectory, run)).collect())
    }

    /// Which repairs take away a name that is needed; with `skip`, they are not made.
    fn dependent(&self, trajectory: &Trajectory<'_, '_>, plan: &mut Plan) -> Vec<Option<bool>> {
        let on_dependency = self.options.guard.on_dependency;
        if plan.repairs.is_empty() || on_dependency == OnDependency::Keep {
            return vec![None; plan.repairs.len()];
        }
        // A name that later code needs is a change that would be lost.
        let reason = match (on_dependency, self.options.decision.on_side_effects) {
            (OnDependency::Skip, _) => Some(Reason::Dependency),
            (_, OnLoss::Skip) => Some(Reason::SideEffects),
            (_, OnLoss::Keep | OnLoss::Flag) => None,
        };
        let mut found = dependency::find(trajectory, plan, &self.options.guard.stateful_tools, reason.is_some());
        if let Some(reason) = reason {
            let marked: Vec<bool> = found.iter().map(|f| *f == Some(true)).collect();
            plan.leave_out(&marked, reason);
            found.retain(|f| *f != Some(true));
        }
        found
    }

    /// Whether a repair leaves residue; it may be made shallow because it would.
    fn residue(&self, trajectory: &Trajectory<'_, '_>, plan: &mut Plan, index: usize) -> Option<bool> {
        if self.options.guard.on_residue == OnResidue::Keep {
            return None;
        }
        let found = residue::find(trajectory, plan, index);
        if self.options.guard.on_residue == OnResidue::Shallow && found.goes_if_shallow() {
            let repair = &mut plan.repairs[index];
            repair.make_shallow();
            return Some(!repair.made_shallow);
        }
        Some(found.is_any())
    }
}

fn sign_of(advantage: Advantage) -> AdvantageSign {
    match advantage.is_positive() {
        true => AdvantageSign::Positive,
        false => AdvantageSign::Negative,
    }
}
