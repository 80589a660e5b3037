//! `archipel up`, in front or in the background.

use std::cell::RefCell;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use archipel_console::view::{Accepted, Status};
use archipel_model::suggest;
use archipel_rt::clock;
use serde_json::json;

use super::print_json;
use super::wait::not_ready;
use crate::cli::{Global, Serve, Up};
use crate::client::Client;
use crate::exit::{self, Failure};
use crate::find::{Place, show_problems};
use crate::serve::{self, Options};
use crate::show::live::{Live, all_well};

pub(crate) fn run(global: &Global, up: &Up) -> Result<u8, Failure> {
    let place = Place::find(global)?;
    let loaded = place.load(global)?;
    if !global.json {
        show_problems(&loaded.warnings, global);
    }
    known(&loaded.app, &up.only)?;
    place.create_state()?;
    let client = Client::new(&place.state);
    if super::super::blocking_runtime()?.block_on(client.is_running()) {
        return super::super::blocking_runtime()?.block_on(apply_again(global, up, &client));
    }
    if up.detach {
        return super::super::blocking_runtime()?
            .block_on(in_background(global, up, &place, &client));
    }
    let options = Options {
        only: up.only.clone(),
        dashboard_port: up.dashboard_port,
        live: Some(Live::new(global.no_color, true)),
    };
    serve::run(global, &place, loaded.app, options)
}

/// The hidden verb behind `up -d`.
pub(crate) fn serve(global: &Global, serve: &Serve) -> Result<u8, Failure> {
    let place = Place::find(global)?;
    let app = place.load(global)?.app;
    known(&app, &serve.only)?;
    place.create_state()?;
    let options =
        Options { only: serve.only.clone(), dashboard_port: serve.dashboard_port, live: None };
    serve::run(global, &place, app, options)
}

fn known(app: &archipel_model::App, only: &[String]) -> Result<(), Failure> {
    match only.iter().find(|name| !app.services.contains_key(name.as_str())) {
        None => Ok(()),
        Some(name) => {
            let names = app.services.keys().map(|name| name.as_str());
            Err(Failure::new(exit::USAGE, format!("there is no service `{name}`"))
                .help(suggest::there_are(name, names)))
        }
    }
}

/// It runs already: what changed in the manifest or in the sources is applied to it.
async fn apply_again(global: &Global, up: &Up, client: &Client) -> Result<u8, Failure> {
    let body = json!({ "only": up.only, "profile": global.profile });
    let accepted: Accepted = client.post("/v1/reload", &body).await?;
    follow(global, up, client, accepted.generation.unwrap_or(0)).await
}

async fn in_background(
    global: &Global,
    up: &Up,
    place: &Place,
    client: &Client,
) -> Result<u8, Failure> {
    let log = std::fs::OpenOptions::new().create(true).append(true).open(place.state.own_log())?;
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--file").arg(&place.manifest).arg("--state-dir").arg(place.state.root());
    if let Some(profile) = &global.profile {
        command.args(["--profile", profile]);
    }
    command.arg("serve").args(["--dashboard-port", &up.dashboard_port.to_string()]);
    if !up.only.is_empty() {
        command.args(["--only", &up.only.join(",")]);
    }
    command
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .process_group(0) // Ctrl-C in this terminal is not meant for it
        .current_dir("/");
    let start = std::fs::metadata(place.state.own_log()).map_or(0, |meta| meta.len());
    let mut child = command.spawn()?;
    while !client.is_running().await {
        if let Some(status) = child.try_wait()? {
            return Err(ended_early(place, start, status));
        }
        clock::sleep(Duration::from_millis(10)).await;
    }
    follow(global, up, client, 1).await
}

/// What the background process wrote before it gave up.
fn ended_early(place: &Place, start: u64, status: std::process::ExitStatus) -> Failure {
    use std::io::{Read, Seek, SeekFrom};
    let mut text = String::new();
    if let Ok(mut file) = std::fs::File::open(place.state.own_log()) {
        let _ = file.seek(SeekFrom::Start(start));
        let _ = file.take(64 << 10).read_to_string(&mut text);
    }
    eprint!("{text}");
    let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(exit::UNEXPECTED);
    Failure::silent(code)
}

/// Shows progress until everything is ready, or something needs a person.
async fn follow(global: &Global, up: &Up, client: &Client, generation: u64) -> Result<u8, Failure> {
    let live = RefCell::new(Live::new(global.no_color, false));
    let mut last = None;
    let show = |status: Status| {
        if status.generation < generation {
            return true; // from before what was asked
        }
        live.borrow_mut().update(&status);
        let done = settled(&status) || up.no_wait;
        last = Some(status);
        !done
    };
    let ticks = async {
        loop {
            clock::sleep(Duration::from_secs(1)).await;
            live.borrow_mut().tick();
        }
    };
    let followed = clock::timeout(up.timeout, async {
        tokio::select! {
            followed = client.stream("/v1/status?follow=1", show) => followed,
            () = ticks => unreachable!("it goes on for ever"),
        }
    })
    .await;
    let Some(status) = last else {
        return Err(Failure::new(exit::UNEXPECTED, "Archipel ended before it told its state")
            .help("its log is .archipel/archipel.log"));
    };
    if global.json {
        print_json(&status)?;
    }
    match followed {
        Err(_) => Err(Failure::new(exit::TIMED_OUT, not_ready(&status))),
        Ok(Err(failure)) => Err(failure),
        Ok(Ok(())) if up.no_wait || all_well(&status) => gateway_problem(&status),
        Ok(Ok(())) => Err(needs_a_person(&status)),
    }
}

/// Nothing more will happen by itself: all is well, or what is not well needs a person.
fn settled(status: &Status) -> bool {
    status.services.iter().all(|service| service.settled || service.needs_a_person)
}

fn gateway_problem(status: &Status) -> Result<u8, Failure> {
    match status.gateway.as_ref().and_then(|gateway| gateway.error.clone()) {
        None => Ok(0),
        Some(error) => Err(Failure::new(
            exit::UNEXPECTED,
            format!("the gateway does not listen: {error}"),
        )
        .help(
            "the services run; free the port or change [gateway] listen, then `archipel up` again",
        )),
    }
}

fn needs_a_person(status: &Status) -> Failure {
    let failed: Vec<_> = status.services.iter().filter(|s| !s.settled).collect();
    let built =
        failed.iter().any(|s| s.build.as_ref().is_some_and(|build| build.state == "failed"));
    let sentences: Vec<String> = failed
        .iter()
        .map(|s| format!("{}: {}", s.name, s.reason.as_deref().unwrap_or(s.state.as_str())))
        .collect();
    let code = if built { exit::BUILD } else { exit::UNEXPECTED };
    Failure::new(code, sentences.join("\n       "))
        .help("the others run; mend it and `archipel up` again")
}
