//! When nothing new fires: instances come and go after a manifest was applied.

/// A build or a migration that takes longer, or hangs, silences what happens elsewhere no more.
const PREPARING_MAX_MS: u64 = 30 * 60_000;

#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Quiet {
    from_ms: u64,
    until_ms: u64,
    /// Since when something has been prepared without a break.
    preparing_ms: Option<u64>,
}

impl Quiet {
    pub(crate) fn ask(&mut self, now_ms: u64, grace_ms: u64) {
        self.from_ms = now_ms;
        self.until_ms = now_ms.saturating_add(grace_ms);
    }

    /// Whether something is being prepared now.
    pub(crate) fn tell(&mut self, preparing: bool, now_ms: u64, grace_ms: u64) {
        if !preparing {
            self.preparing_ms = None;
            return;
        }
        let since_ms = self.preparing_ms.unwrap_or(now_ms).min(now_ms);
        self.preparing_ms = Some(since_ms);
        if now_ms - since_ms < PREPARING_MAX_MS {
            self.ask(now_ms, grace_ms);
        }
    }

    /// Until when, if it is quiet now. Before its beginning the clock was put back: it would last
    /// until the clock is there again.
    pub(crate) fn until(&self, now_ms: u64) -> Option<u64> {
        (self.from_ms <= now_ms && now_ms < self.until_ms).then_some(self.until_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRACE: u64 = 60_000;

    #[test]
    fn it_is_quiet_for_a_while_and_not_until_a_clock_comes_back() {
        let mut quiet = Quiet::default();
        assert_eq!(quiet.until(5), None);
        quiet.ask(1_000_000, GRACE);
        assert_eq!(quiet.until(1_000_000), Some(1_060_000));
        assert_eq!(quiet.until(1_060_000), None);
        assert_eq!(quiet.until(1_000), None);
    }

    #[test]
    fn a_build_that_hangs_does_not_mute_for_ever() {
        let mut quiet = Quiet::default();
        let looks = |quiet: &mut Quiet, from: u64, to: u64| {
            for now in (from..to).step_by(10_000) {
                quiet.tell(true, now, GRACE);
            }
        };
        looks(&mut quiet, 0, 20 * 60_000);
        assert!(quiet.until(20 * 60_000).is_some(), "it builds");
        looks(&mut quiet, 20 * 60_000, 60 * 60_000);
        assert_eq!(quiet.until(32 * 60_000), None, "it hangs");
        quiet.tell(false, 60 * 60_000, GRACE);
        quiet.tell(true, 61 * 60_000, GRACE);
        assert!(quiet.until(61 * 60_000).is_some(), "another");
    }
}
