//! Findings: what the guards say of one repair.
//!
//! Owns the one table of them: an entry here is a field of the record, a column of the file, a counter, a line of the
//! report and a filter of the viewer. What a finding means is found out in [`crate::guard`].

use super::lift::FIRST;

/// What people and programs are told of one finding.
#[derive(Clone, Copy, Debug)]
pub struct Finding {
    /// The field of the record, and the counter.
    pub name: &'static str,
    /// Version of purify that first wrote it.
    pub since: &'static str,
    /// In the viewer's list; no two have the same.
    pub letter: char,
    /// For people.
    pub label: &'static str,
    /// As one sentence of the report.
    pub meaning: &'static str,
    /// Whether repairs of which a guard could not tell have a counter of their own.
    pub counts_unknown: bool,
    /// `None`: not looked at, or not known.
    pub of: fn(&Findings<Option<bool>>) -> &Option<bool>,
    pub slot: fn(&mut Findings<Option<bool>>) -> &mut Option<bool>,
}

macro_rules! findings {
    ($($(#[$doc:meta])* $name:ident { $($key:ident: $value:expr),* $(,)? })*) => {
        /// Something of each finding, in the order of the table.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Findings<T> {
            $($(#[$doc])* pub $name: T,)*
        }

        /// The table.
        pub static FINDINGS: &[Finding] = &[$(Finding {
            name: stringify!($name),
            of: |findings| &findings.$name,
            slot: |findings| &mut findings.$name,
            $($key: $value),*
        }),*];

        impl<T> Findings<T> {
            /// Each with its entry of the table.
            pub fn each(&self) -> impl Iterator<Item = (&'static Finding, &T)> {
                FINDINGS.iter().zip([$(&self.$name),*])
            }

            pub fn each_mut(&mut self) -> impl Iterator<Item = (&'static Finding, &mut T)> {
                FINDINGS.iter().zip([$(&mut self.$name),*])
            }
        }
    };
}

findings! {
    /// Text that stays speaks of the error that is gone.
    residue {
        since: FIRST,
        letter: 'R',
        label: "residue",
        meaning: "text that stays speaks of an error that is gone",
        counts_unknown: true,
    }
    /// What stays uses a name that only the removed attempts define.
    depends_on_removed {
        since: FIRST,
        letter: 'D',
        label: "depends on removed",
        meaning: "later code uses a name that only the removed part defined",
        counts_unknown: true,
    }
    /// The correction repeats a failed call: the tool was flaky, and there is nothing to learn.
    identical_retry {
        since: "0.1.0",
        letter: 'I',
        label: "identical retry",
        meaning: "the correction repeats the failed call",
        counts_unknown: false,
    }
    /// The harness has cut a result of the correction.
    lossy_result {
        since: "0.1.0",
        letter: 'L',
        label: "lossy result",
        meaning: "the result was truncated before it was stored",
        counts_unknown: false,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn an_entry_reads_and_writes_the_finding_of_its_own_name() {
        for finding in FINDINGS {
            let mut findings = Findings::default();
            *(finding.slot)(&mut findings) = Some(true);
            assert_eq!(*(finding.of)(&findings), Some(true));
            let set: Vec<&str> = findings.each().filter(|(_, found)| found.is_some()).map(|(f, _)| f.name).collect();
            assert_eq!(set, [finding.name]);
        }
    }

    #[test]
    fn no_two_findings_share_a_letter_or_a_label() {
        let letters: HashSet<char> = FINDINGS.iter().map(|finding| finding.letter).collect();
        let labels: HashSet<&str> = FINDINGS.iter().map(|finding| finding.label).collect();
        assert_eq!((letters.len(), labels.len()), (FINDINGS.len(), FINDINGS.len()));
    }
}
