//! What the audit found, for people and for programs.

use std::fmt;

use serde::Serialize;

/// What became of one invariant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "result", rename_all = "snake_case")]
pub enum Verdict {
    Ok,
    /// What could be asked is right.
    Partly {
        why: String,
    },
    Violated {
        rows: u64,
        /// The first of them.
        first: Vec<String>,
    },
    /// Could not be asked here and now.
    Skipped {
        why: String,
    },
    /// A database is there but not as the contract says: as bad as a violation, since nobody
    /// knows.
    Unreadable {
        why: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub id: &'static str,
    pub title: &'static str,
    #[serde(flatten)]
    pub verdict: Verdict,
}

#[derive(Debug, Clone, Serialize)]
pub struct Report {
    pub findings: Vec<Finding>,
}

impl Report {
    /// Whether nothing wrong was found in what could be asked.
    pub fn is_clean(&self) -> bool {
        self.findings.iter().all(|f| {
            matches!(f.verdict, Verdict::Ok | Verdict::Partly { .. } | Verdict::Skipped { .. })
        })
    }

    /// 0, 1 violated, 2 could not be read: somebody who does not look closely must not take it for
    /// good.
    pub fn exit_code(&self) -> u8 {
        let violated = self.count(|v| matches!(v, Verdict::Violated { .. })) > 0;
        if violated {
            1
        } else if self.is_clean() {
            0
        } else {
            2
        }
    }

    pub fn to_json(&self) -> String {
        serde_json::json!({"clean": self.is_clean(), "findings": self.findings}).to_string()
    }

    fn count(&self, which: impl Fn(&Verdict) -> bool) -> usize {
        self.findings.iter().filter(|finding| which(&finding.verdict)).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { id, title, verdict } in &self.findings {
            match verdict {
                Verdict::Ok => writeln!(f, "{id:<4} {title:<72} OK")?,
                Verdict::Partly { why } => writeln!(f, "{id:<4} {title:<72} OK        {why}")?,
                Verdict::Skipped { why } => writeln!(f, "{id:<4} {title:<72} SKIPPED   {why}")?,
                Verdict::Unreadable { why } => {
                    writeln!(f, "{id:<4} {title:<72} UNREADABLE  {why}")?
                }
                Verdict::Violated { rows, first } => {
                    writeln!(f, "{id:<4} {title:<72} VIOLATED  {rows} rows")?;
                    for row in first {
                        writeln!(f, "       {row}")?;
                    }
                }
            }
        }
        let (ok, violated) = (
            self.count(|v| matches!(v, Verdict::Ok | Verdict::Partly { .. })),
            self.count(|v| matches!(v, Verdict::Violated { .. })),
        );
        let skipped = self.count(|v| matches!(v, Verdict::Skipped { .. }));
        let unreadable = self.count(|v| matches!(v, Verdict::Unreadable { .. }));
        write!(f, "{ok} hold, {violated} violated, {skipped} skipped")?;
        if unreadable > 0 {
            write!(f, ", {unreadable} unreadable")?;
        }
        writeln!(f)
    }
}
