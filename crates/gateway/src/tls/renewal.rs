//! Keeps certificates by ACME fresh: gets the first, renews in time, waits longer after each
//! failure, and leaves the old one in use meanwhile.

use std::sync::Weak;
use std::time::{Duration, SystemTime};

use archipel_rt::{CancellationToken, chain, clock, random};

use super::acme::{IssueError, Issuer};
use super::certificate::{Certificate, CertificateFacts};
use super::door::TlsDoor;

/// Clocks jump and laptops sleep: nothing is waited for longer than this without looking again.
const LOOK_AGAIN: Duration = Duration::from_secs(3_600);
const RETRY_MAX: Duration = Duration::from_secs(6 * 3_600);

/// The pause after the first failure; each further one doubles it.
///
/// Authorities count failures (Let's Encrypt: five per name and hour), so the first pause is not
/// short.
#[derive(Debug, Clone, Copy)]
pub(super) struct RetryPause {
    pub(super) first: Duration,
}

impl RetryPause {
    fn after(self, failures: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << failures.saturating_sub(1).min(16));
        doubled.min(RETRY_MAX)
    }
}

pub(super) struct Renewal {
    hosts: Vec<Host>,
    issuer: Box<dyn Issuer>,
    door: Weak<TlsDoor>,
    pause: RetryPause,
}

struct Host {
    name: String,
    facts: Option<CertificateFacts>,
    failures: u32,
    due: SystemTime,
}

impl Renewal {
    pub(super) fn new(
        hosts: Vec<String>,
        issuer: Box<dyn Issuer>,
        door: Weak<TlsDoor>,
        pause: RetryPause,
    ) -> Self {
        let host = |name| Host { name, facts: None, failures: 0, due: SystemTime::UNIX_EPOCH };
        Self { hosts: hosts.into_iter().map(host).collect(), issuer, door, pause }
    }

    pub(super) async fn run(mut self, stop: CancellationToken) {
        for host in &mut self.hosts {
            match self.issuer.kept(&host.name) {
                Ok(Some(certificate)) => take(host, certificate, &self.door),
                Ok(None) => {}
                Err(fault) => tracing::warn!(
                    host = host.name,
                    "the certificate that was kept cannot be used: {}",
                    chain(&fault)
                ),
            }
        }
        loop {
            let now = clock::wall();
            for at in 0..self.hosts.len() {
                if self.hosts[at].due <= now && !self.renew(at, &stop).await {
                    return;
                }
            }
            let now = clock::wall();
            let next = self.hosts.iter().map(|host| host.due).min().unwrap_or(now);
            let wait = next.duration_since(now).unwrap_or_default().min(LOOK_AGAIN);
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = clock::sleep(wait) => {}
            }
        }
    }

    /// `false`: it is time to stop.
    async fn renew(&mut self, at: usize, stop: &CancellationToken) -> bool {
        let host = &mut self.hosts[at];
        let issued = tokio::select! {
            biased;
            () = stop.cancelled() => return false,
            issued = self.issuer.issue(&host.name, host.failures) => issued,
        };
        match issued {
            Ok(certificate) => {
                tracing::info!(host = host.name, "got a certificate");
                host.failures = 0;
                take(host, certificate, &self.door);
            }
            Err(error) => {
                host.failures += 1;
                let pause = self.pause.after(host.failures);
                host.due = clock::wall() + pause;
                tell(host, &error, pause);
            }
        }
        true
    }
}

fn take(host: &mut Host, certificate: Certificate, door: &Weak<TlsDoor>) {
    host.due = renew_at(&certificate.facts, random::below(1_000));
    host.facts = Some(certificate.facts.clone());
    if let Some(door) = door.upgrade() {
        door.put_issued(&host.name, certificate);
    }
}

fn tell(host: &Host, error: &IssueError, pause: Duration) {
    let again = archipel_model::show_duration(pause);
    let meanwhile = match &host.facts {
        Some(facts) if facts.not_after > clock::wall() => "the old one is in use meanwhile",
        Some(_) => "the old one has expired",
        None => "there is none yet, so browsers warn or refuse",
    };
    tracing::warn!(
        host = host.name,
        "could not get a certificate, trying again in {again}; {meanwhile}: {}",
        chain(error)
    );
}

/// After two thirds of its life, a little earlier for some, so that many do not come at once.
fn renew_at(facts: &CertificateFacts, draw_of_1000: u64) -> SystemTime {
    let life = facts.not_after.duration_since(facts.not_before).unwrap_or_default();
    let early = life / 50 * u32::try_from(draw_of_1000).unwrap_or_default() / 1_000;
    facts.not_before + life / 3 * 2 - early
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_comes_long_before_the_end() {
        let day = Duration::from_secs(86_400);
        let from = SystemTime::UNIX_EPOCH + day * 20_000;
        let facts =
            CertificateFacts { names: vec![], not_before: from, not_after: from + day * 90 };
        assert_eq!(renew_at(&facts, 0), from + day * 60);
        assert!(renew_at(&facts, 999) > from + day * 58);
    }

    #[test]
    fn failures_make_it_patient() {
        let pause = RetryPause { first: Duration::from_secs(120) };
        let in_an_hour = (1..).scan(Duration::ZERO, |sum, failures| {
            *sum += pause.after(failures);
            (*sum < Duration::from_secs(3_600)).then_some(())
        });
        // With the first try: what Let's Encrypt allows.
        assert!(in_an_hour.count() < 5);
        assert_eq!(pause.after(1_000), RETRY_MAX);
    }
}
