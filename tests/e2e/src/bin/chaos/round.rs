//! One round: load, fault, heal, rest, audit.

use std::process::Child;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::load::{Load, Seen};
use crate::plan::Planned;
use crate::stage::Stage;

/// While a fault lasts, it strikes again this often.
const AGAIN: Duration = Duration::from_secs(3);

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Round {
    pub(crate) number: usize,
    pub(crate) name: String,
    pub(crate) seen: Seen,
    /// From the end of the load until nothing moved any more, audit included.
    pub(crate) rest: Duration,
    /// Of the promised orders: brought to the customer, and taken back.
    pub(crate) completed: u64,
    pub(crate) undone: u64,
    /// Lines of the audit.
    pub(crate) violations: Vec<String>,
}

impl Stage {
    #[expect(clippy::disallowed_methods, reason = "a fault lasts for a time, and time is measured")]
    pub(crate) fn round(&mut self, planned: &Planned, third: Duration) -> Round {
        let faults = &planned.faults;
        let load = Load::start(&self.load, &self.app.url(""), third, planned.seed, self.dir.path());
        let begin = Instant::now();
        std::thread::sleep(third);
        let mut helpers: Vec<Child> =
            faults.iter().filter_map(|fault| fault.strike(&self.app)).collect();
        while begin.elapsed() < 2 * third {
            std::thread::sleep(AGAIN.min((2 * third).saturating_sub(begin.elapsed())));
            if begin.elapsed() < 2 * third {
                faults.iter().for_each(|fault| fault.again(&self.app));
            }
        }
        let mut violations = Vec::new();
        if let [only] = &faults[..] {
            violations.extend(only.untold(&self.app));
        }
        for helper in &mut helpers {
            let _ = helper.kill();
            let _ = helper.wait();
        }
        for fault in faults {
            fault.heal(&self.app);
        }
        let seen = load.finish();
        let ended = Instant::now();
        self.promised.extend(seen.promised.iter().cloned());
        violations.extend(self.audit());
        violations.extend(self.unready());
        Round {
            number: planned.number,
            name: planned.name(),
            completed: self.orders(&seen.promised, &["COMPLETED"]),
            undone: self.orders(&seen.promised, &["CANCELLED", "REFUNDED"]),
            seen,
            rest: ended.elapsed(),
            violations,
        }
    }
}
