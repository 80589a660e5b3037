//! `/v1/faults`: what is broken on purpose.

use std::time::Duration;

use archipel_control::Snapshot;
use archipel_gateway::{Caller, Fault, FaultCount, FaultKind, Gateway};
use archipel_model::{ServiceName, suggest};
use archipel_rt::clock;

use crate::view;

/// More are a mistake: each request looks at all of them.
const FAULTS_MAX: usize = 256;
const TIME_MAX: Duration = Duration::from_secs(24 * 3600);

pub(crate) fn list(gateway: &Gateway) -> view::Faults {
    let faults = in_force(gateway).into_iter().map(shown).collect();
    view::Faults { schema: view::Faults::SCHEMA.to_owned(), faults }
}

/// Adds one to those in force, or says what is wrong with it.
pub(crate) fn add(
    gateway: &Gateway,
    snapshot: &Snapshot,
    wanted: &view::Fault,
) -> Result<(), String> {
    let fault = read(snapshot, wanted)?;
    let mut faults: Vec<Fault> = in_force(gateway).into_iter().map(|count| count.fault).collect();
    if faults.len() >= FAULTS_MAX {
        return Err(format!(
            "{FAULTS_MAX} faults are in force already; `archipel chaos heal` first"
        ));
    }
    faults.push(fault);
    gateway.set_faults(faults);
    Ok(())
}

fn in_force(gateway: &Gateway) -> Vec<FaultCount> {
    let now = clock::now();
    let mut faults = gateway.faults();
    faults.retain(|count| count.fault.until.is_none_or(|until| now < until));
    faults
}

fn shown(count: FaultCount) -> view::FaultInForce {
    let Fault { caller, callee, kind, percent, until } = count.fault;
    let (kind, min, max) = match kind {
        FaultKind::Delay { min, max } => ("delay", min, max),
        FaultKind::Late { min, max } => ("late", min, max),
        FaultKind::Cut => ("cut", Duration::ZERO, Duration::ZERO),
        FaultKind::LoseAnswer => ("lose", Duration::ZERO, Duration::ZERO),
        FaultKind::Twice => ("twice", Duration::ZERO, Duration::ZERO),
        FaultKind::Refuse => ("refuse", Duration::ZERO, Duration::ZERO),
    };
    let left = until.map(|until| until.saturating_duration_since(clock::now()));
    view::FaultInForce {
        fault: view::Fault {
            kind: kind.to_owned(),
            from: caller.map(|caller| caller.to_string()),
            to: callee.map(|callee| callee.to_string()),
            percent,
            min_ms: millis(min),
            max_ms: millis(max),
            for_ms: None,
        },
        left_ms: left.map(millis),
        struck: count.struck,
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn read(snapshot: &Snapshot, wanted: &view::Fault) -> Result<Fault, String> {
    let (min, max) = (Duration::from_millis(wanted.min_ms), Duration::from_millis(wanted.max_ms));
    if max < min || max > TIME_MAX {
        return Err("expected a time, or a span such as 1s..5s, of at most a day".to_owned());
    }
    let kind = match wanted.kind.as_str() {
        "delay" => FaultKind::Delay { min, max },
        "late" => FaultKind::Late { min, max },
        "cut" => FaultKind::Cut,
        "lose" => FaultKind::LoseAnswer,
        "twice" => FaultKind::Twice,
        "refuse" => FaultKind::Refuse,
        other => {
            let known = ["delay", "late", "cut", "lose", "twice", "refuse"];
            return Err(format!("`{other}` is no fault; {}", suggest::there_are(other, known)));
        }
    };
    if !(1..=100).contains(&wanted.percent) {
        return Err(format!("{} % is not between 1 and 100", wanted.percent));
    }
    let caller = match wanted.from.as_deref() {
        None => None,
        Some("outside") => Some(Caller::Outside),
        Some("archipel") => Some(Caller::Archipel),
        Some(name) => Some(Caller::Service(known(snapshot, name, false)?)),
    };
    let callee = wanted.to.as_deref().map(|name| known(snapshot, name, true)).transpose()?;
    let until = match wanted.for_ms.map(Duration::from_millis) {
        Some(time) if time > TIME_MAX => return Err("a fault lasts at most a day".to_owned()),
        time => time.map(|time| clock::now() + time),
    };
    Ok(Fault { caller, callee, kind, percent: wanted.percent, until })
}

fn known(snapshot: &Snapshot, name: &str, external: bool) -> Result<ServiceName, String> {
    let app = &snapshot.plan.app;
    let externals = app.externals.keys().filter(|_| external);
    let names = app.services.keys().chain(externals);
    names.clone().find(|known| known.as_str() == name).cloned().ok_or_else(|| {
        let known = suggest::there_are(name, names.map(ServiceName::as_str));
        format!("there is no service `{name}`; {known}")
    })
}
