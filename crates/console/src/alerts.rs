//! `/v1/alerts` and `/v1/checks`.

use std::sync::Arc;
use std::time::Duration;

use archipel_alert::{CheckState, Snapshot, Wanted};
use archipel_model::SyntheticStep;
use http::StatusCode;
use percent_encoding::percent_decode_str;

use crate::admin::{Done, parse};
use crate::answer::{self, bad, problem};
use crate::server::Shared;
use crate::view;

const GATEWAY_EVERY_MS: u64 = 60_000;

pub(crate) fn list(shared: &Arc<Shared>) -> Done {
    Ok(answer::json(&shown(&shared.parts.alerts.snapshot())))
}

fn shown(of: &Snapshot) -> view::Alerts {
    let told = |rule: &str| of.rules.iter().find(|known| known.rule.name == rule);
    let alerts: Vec<view::Alert> = of
        .alerts
        .iter()
        .map(|state| {
            let alert = &state.alert;
            view::Alert {
                rule: alert.rule.clone(),
                labels: alert.labels.clone(),
                severity: alert.severity.as_str().to_owned(),
                state: alert.phase.word().to_owned(),
                since_ms: alert.phase.since_ms(),
                value: alert.value,
                summary: alert.text.clone(),
                description: told(&alert.rule).and_then(|known| known.rule.description.clone()),
                link: alert.link.clone(),
                told: alert.told.keys().cloned().collect(),
                silence: state.silence.clone(),
                explained: state.explained.clone(),
            }
        })
        .collect();
    let is_firing = |alert: &&view::Alert| alert.state == "firing";
    let open =
        alerts.iter().filter(is_firing).filter(|a| a.silence.is_none() && a.explained.is_none());
    let firing = open.count() as u64;
    let rules = of.rules.iter().map(|known| view::AlertRule {
        name: known.rule.name.clone(),
        when: known.rule.when.clone(),
        severity: known.rule.severity.as_str().to_owned(),
        description: known.rule.description.clone(),
        shipped: known.rule.shipped,
        notify: known.rule.notify.as_ref().map(|all| all.iter().map(ToString::to_string).collect()),
        firing: alerts.iter().filter(is_firing).filter(|a| a.rule == known.rule.name).count()
            as u64,
        problem: known.problem.clone(),
        left_out: known.left_out as u64,
    });
    let waiting = of.waiting.iter().rev().map(|delivery| view::Delivery {
        id: delivery.id.clone(),
        at_ms: delivery.at_ms,
        channel: delivery.channel.clone(),
        title: delivery.message.title(),
        state: "waiting".to_owned(),
        tries: delivery.tries,
        problem: delivery.why.clone(),
        next_ms: Some(delivery.next_ms),
    });
    let sent = of.sent.iter().map(|sent| view::Delivery {
        id: sent.id.clone(),
        at_ms: sent.at_ms,
        channel: sent.channel.clone(),
        title: sent.title.clone(),
        state: if sent.why.is_none() { "sent" } else { "failed" }.to_owned(),
        tries: sent.tries,
        problem: sent.why.clone(),
        next_ms: None,
    });
    view::Alerts {
        schema: view::Alerts::SCHEMA.to_owned(),
        rules: rules.collect(),
        slos: of.slos.iter().map(slo).collect(),
        channels: of
            .channels
            .iter()
            .map(|channel| view::AlertChannel {
                name: channel.name.clone(),
                kind: channel.kind.to_owned(),
                least: channel.least.as_str().to_owned(),
                problem: channel.problem.clone(),
            })
            .collect(),
        silences: of.silences.iter().map(silence_shown).collect(),
        history: of
            .history
            .iter()
            .map(|happened| view::AlertEvent {
                at_ms: happened.at_ms,
                rule: happened.rule.clone(),
                labels: happened.labels.clone(),
                state: if happened.firing { "firing" } else { "resolved" }.to_owned(),
                summary: happened.text.clone(),
            })
            .collect(),
        deliveries: waiting.chain(sent).collect(),
        quiet_until_ms: of.quiet_until_ms,
        problem: of.unsaved.clone(),
        firing,
        alerts,
    }
}

fn slo(of: &archipel_alert::SloState) -> view::Slo {
    view::Slo {
        name: of.name.clone(),
        on: of.on.clone(),
        good: of.good.clone(),
        target: of.target,
        window_ms: of.window_ms,
        requests: of.all,
        bad: of.bad,
        budget_left: of.left,
        burn: of.day.clone(),
    }
}

fn silence_shown(of: &archipel_alert::Silence) -> view::Silence {
    view::Silence {
        id: of.id.clone(),
        rule: of.rule.clone(),
        labels: of.labels.clone(),
        from_ms: of.from_ms,
        until_ms: of.until_ms,
        reason: of.reason.clone(),
    }
}

pub(crate) fn checks(shared: &Arc<Shared>) -> Done {
    let snapshot = shared.parts.alerts.snapshot();
    Ok(answer::json(&view::Checks {
        schema: view::Checks::SCHEMA.to_owned(),
        checks: snapshot.checks.iter().map(check).collect(),
    }))
}

fn check(state: &CheckState) -> view::Check {
    let last = state.runs.back();
    let step = |step: &SyntheticStep| match step {
        SyntheticStep::Tcp(address) => format!("connect to {address}"),
        SyntheticStep::Http(step) => format!("{} {}", step.method, step.url),
    };
    view::Check {
        name: state.name.clone(),
        steps: match &state.of {
            Some(of) => of.steps.iter().map(step).collect(),
            None => {
                vec!["the gateway accepts connections, and its certificates are good".to_owned()]
            }
        },
        every_ms: state.of.as_ref().map_or(GATEWAY_EVERY_MS, |of| millis(of.every)),
        description: state.of.as_ref().and_then(|of| of.description.clone()),
        state: match last {
            None => "unknown",
            Some(run) if run.ok => "ok",
            Some(_) => "failing",
        }
        .to_owned(),
        problem: last.and_then(|run| run.why.clone()),
        certificate_ends_ms: last.and_then(|run| run.certificate_ends_ms),
        runs: state
            .runs
            .iter()
            .map(|run| view::CheckRun {
                at_ms: run.at_ms,
                ok: run.ok,
                took_ms: run.took_ms,
                problem: run.why.clone(),
            })
            .collect(),
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// `POST /v1/alerts/silences`
pub(crate) fn silence(shared: &Arc<Shared>, body: &[u8]) -> Done {
    let wanted: view::SilenceWanted = parse(body)?;
    let wanted = Wanted {
        rule: wanted.rule,
        labels: wanted.labels,
        lasts: Duration::from_millis(wanted.for_ms),
        reason: wanted.reason.chars().take(500).collect(),
    };
    let silence = shared.parts.alerts.silence(wanted).map_err(|error| bad(error.to_string()))?;
    Ok(answer::json(&silence_shown(&silence)))
}

/// `POST /v1/alerts/silences/{id}/end`
pub(crate) fn end_silence(shared: &Arc<Shared>, id: &str) -> Done {
    let id = &*percent_decode_str(id).decode_utf8_lossy();
    match shared.parts.alerts.end_silence(id) {
        true => list(shared),
        false => Err(bad(format!("there is no silence `{id}`"))),
    }
}

/// `POST /v1/alerts/test/{channel}`
pub(crate) async fn test(shared: &Arc<Shared>, channel: &str) -> Done {
    let channel = &*percent_decode_str(channel).decode_utf8_lossy();
    match shared.parts.alerts.test(channel).await {
        Ok(()) => Ok(answer::json(&view::Accepted {
            accepted: true,
            targets: vec![channel.to_owned()],
            generation: None,
        })),
        Err(why) => Err(problem(StatusCode::UNPROCESSABLE_ENTITY, why, Some(1))),
    }
}
