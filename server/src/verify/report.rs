//! What a verification found: a line for each law, and what breaks the first that does not hold.

use std::fmt;

/// What must hold, in the order in which it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Law {
    /// Checksums, numbers and times of the log's blocks.
    Log,
    /// What is stored can be loaded, and the rest of the log read on from there.
    State,
    /// Received = accepted + duplicate + late + rejected, as the log has it.
    C1,
    /// Accepted readings = what the windows of every definition hold, sessions among them; and what joined sliding ones after they fired.
    C2,
    /// Roll-ups = sum of the devices, at every level.
    C3,
    /// What was known of the hours when.
    Versions,
    /// Rejected = open + replayed + discarded dead letters.
    C4,
    /// Late records are all kept as such.
    Late,
    /// Every acknowledged identity is known.
    Identities,
    /// Newest reading, excursion, fault, watermark and running numbers of every device.
    Devices,
    /// Where readings were taken.
    Located,
    /// Raw readings and fixes, where the store has tables of them.
    Readings,
}

impl Law {
    /// Every law.
    pub const ALL: [Law; 12] = [
        Law::Log,
        Law::State,
        Law::C1,
        Law::C2,
        Law::C3,
        Law::Versions,
        Law::C4,
        Law::Late,
        Law::Identities,
        Law::Devices,
        Law::Located,
        Law::Readings,
    ];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Law::Log => "log",
            Law::State => "state",
            Law::C1 => "C1",
            Law::C2 => "C2",
            Law::C3 => "C3",
            Law::Versions => "versions",
            Law::C4 => "C4",
            Law::Late => "late",
            Law::Identities => "identities",
            Law::Devices => "devices",
            Law::Located => "located",
            Law::Readings => "readings",
        }
    }
}

/// Instances of a broken law that are told one by one.
const TOLD: usize = 10;

#[derive(Clone, Debug, Default)]
struct Finding {
    summary: String,
    broken: u64,
    told: Vec<String>,
}

/// What a verification found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    findings: [Finding; Law::ALL.len()],
    /// What was looked at, where that was not all.
    pub range: Option<String>,
}

impl Report {
    /// `law` is broken in one more place.
    pub fn breaks(&mut self, law: Law, tell: impl FnOnce() -> String) {
        let finding = &mut self.findings[law as usize];
        finding.broken += 1;
        if finding.told.len() < TOLD {
            finding.told.push(tell());
        }
    }

    /// What `law` was checked on.
    pub fn summarise(&mut self, law: Law, summary: String) {
        self.findings[law as usize].summary = summary;
    }

    /// The first law that does not hold.
    pub fn first_broken(&self) -> Option<Law> {
        Law::ALL.into_iter().find(|law| self.findings[*law as usize].broken > 0)
    }

    /// The records that break `law`, few of them.
    pub fn told(&self, law: Law) -> &[String] {
        &self.findings[law as usize].told
    }
}

impl fmt::Display for Report {
    /// One line a law; below the first broken one its records.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(range) = &self.range {
            writeln!(f, "range       {range}")?;
        }
        let first = self.first_broken();
        for law in Law::ALL {
            let Finding { summary, broken, told } = &self.findings[law as usize];
            if *broken == 0 {
                if !summary.is_empty() {
                    writeln!(f, "{:<11} ok      {summary}", law.name())?;
                }
                continue;
            }
            writeln!(f, "{:<11} BROKEN  in {broken} places; {summary}", law.name())?;
            if Some(law) == first {
                for line in told {
                    writeln!(f, "            {line}")?;
                }
            }
        }
        match first {
            None => write!(f, "every law holds"),
            Some(law) => write!(f, "the first broken law is {}", law.name()),
        }
    }
}
