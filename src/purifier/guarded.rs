//! A plan after the guards have looked at it: `--on-residue`, `--on-dependency`.
//!
//! Owns what follows from a finding. With `flag`, the default, nothing follows: the plan is what it was.

use super::{Guarded, Purifier};
use crate::guard::{Findings, GUARDS, dependency, residue};
use crate::options::{OnDependency, OnResidue};
use crate::record::RepairKind;
use crate::rejects::RejectReason;
use crate::saar::{Gate, Plan, Skip};
use crate::steps::Trajectory;

impl Purifier<'_> {
    /// Plans, and has the guards look at every repair.
    pub(super) fn guarded(
        &self,
        trajectory: &Trajectory<'_, '_>,
        gate: Option<Gate<'_>>,
    ) -> Result<Guarded, RejectReason> {
        let mut plan = self.planner().plan(trajectory, gate)?;
        // A repair that is not made leaves its names to those after it, so this comes first.
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

    /// Which repairs take away a name that is needed; with `skip`, they are not made.
    fn dependent(&self, trajectory: &Trajectory<'_, '_>, plan: &mut Plan) -> Vec<Option<bool>> {
        let on_dependency = self.options.guard.on_dependency;
        if plan.repairs.is_empty() || on_dependency == OnDependency::Keep {
            return vec![None; plan.repairs.len()];
        }
        let skips = on_dependency == OnDependency::Skip;
        let mut found = dependency::find(trajectory, plan, &self.options.guard.stateful_tools, skips);
        if skips {
            let marked: Vec<bool> = found.iter().map(|f| *f == Some(true)).collect();
            plan.leave_out(&marked, Skip::Dependency);
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
