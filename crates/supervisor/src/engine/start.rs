//! One start, step by step; blocks, so it runs on a blocking thread.

use std::io;
use std::os::fd::OwnedFd;

use archipel_model::{Check, Signal};
use archipel_rt::clock;

use crate::cgroup::Leaf;
use crate::holder::port_holder;
use crate::ports::is_free;
use crate::probe::NotifySocket;
use crate::process::Process;
use crate::record::{Kind, Record};
use crate::spawn::{Job, SpawnError, no_input};
use crate::spec::InstanceSpec;
use crate::supervisor::Common;
use crate::tree::{MARK, Tree};

/// A process that runs.
pub(crate) struct Started {
    pub(super) process: Process,
    pub(super) record: Record,
    pub(super) notify: Option<NotifySocket>,
}

fn signal_number(signal: Signal) -> i32 {
    match signal {
        Signal::Term => libc::SIGTERM,
        Signal::Int => libc::SIGINT,
        Signal::Quit => libc::SIGQUIT,
        Signal::Hup => libc::SIGHUP,
        Signal::Usr1 => libc::SIGUSR1,
        Signal::Usr2 => libc::SIGUSR2,
    }
}

/// Starts an instance's process: announce it on disk, then make it, then write down who it is.
pub(super) fn start(
    common: &Common,
    spec: &InstanceSpec,
    run_no: u64,
    restarts: u32,
    (stdout, stderr): (OwnedFd, OwnedFd),
) -> Result<Started, SpawnError> {
    if let Some(port) = spec.port
        && !is_free(port)
    {
        let holder = port_holder(port).map_or_else(|| "somebody".to_owned(), |h| h.to_string());
        return Err(SpawnError::Port { port, holder });
    }
    let system = |what| move |error: io::Error| SpawnError::system(what, &error);
    let name = format!("{}.{run_no}", spec.id);
    let leaf = Leaf::create(&common.cgroups, &name, spec.memory.as_ref())
        .map_err(system("make its control group"))?;
    let mark = common.mark(&spec.id.to_string(), run_no);
    let notify = match spec.health.startup.check {
        Check::Notify => {
            let name = format!("archipel-notify/{mark}");
            Some((NotifySocket::bind(&name).map_err(system("make the notify socket"))?, name))
        }
        _ => None,
    };
    let tree = Tree { leaf, mark };
    let mut record = Record::new(spec.id.clone(), Kind::Service, run_no, tree);
    record.spec_hash.clone_from(&spec.spec_hash);
    record.level = spec.level;
    record.port = spec.port;
    record.started_at_ms = clock::wall_ms();
    record.restarts = restarts;
    record.stop_signal = signal_number(spec.stop.signal);
    record.grace_ms = u64::try_from(spec.stop.grace.as_millis()).unwrap_or(u64::MAX);
    record.notify = notify.as_ref().map(|(_, name)| name.clone());
    let dir = common.paths.instances();
    let mut extra_env = vec![(MARK, record.tree.mark.clone())];
    extra_env.extend(notify.as_ref().map(|(socket, _)| ("NOTIFY_SOCKET", socket.address())));
    let done = record.write(&dir).map_err(system("write its record")).and_then(|()| {
        common.spawner.spawn(Job {
            argv: &spec.argv,
            cwd: &spec.cwd,
            env: &spec.env,
            extra_env: &extra_env,
            stdin: no_input().map_err(system("open /dev/null"))?,
            stdout,
            stderr,
            leaf: &record.tree.leaf,
            isolation: &spec.isolate,
            session: true,
            die_with_us: false,
        })
    });
    match done {
        Ok(process) => {
            record.process = Some(process.identity.clone());
            if let Err(error) = record.write(&dir) {
                tracing::warn!(instance = %spec.id, %error, "cannot complete its record");
            }
            Ok(Started { process, record, notify: notify.map(|(socket, _)| socket) })
        }
        Err(error) => {
            record.tree.leaf.remove();
            record.remove(&dir);
            Err(error)
        }
    }
}

/// Starts a command next to a running instance, in its group; its output is not kept.
pub(super) fn beside(
    common: &Common,
    spec: &InstanceSpec,
    tree: &Tree,
    argv: &[String],
) -> Result<Process, SpawnError> {
    let null = || -> Result<OwnedFd, SpawnError> {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/null")
            .map(Into::into)
            .map_err(|error| SpawnError::system("open /dev/null", &error))
    };
    common.spawner.spawn(Job {
        argv,
        cwd: &spec.cwd,
        env: &spec.env,
        extra_env: &[(MARK, tree.mark.clone())],
        stdin: null()?,
        stdout: null()?,
        stderr: null()?,
        leaf: &tree.leaf,
        isolation: &spec.isolate,
        session: true,
        die_with_us: true,
    })
}
