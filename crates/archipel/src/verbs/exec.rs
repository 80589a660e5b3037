//! `archipel exec`: a command with the environment of a service, in its directory.

use std::os::unix::process::CommandExt;
use std::process::Command;

use archipel_console::view::Environment;

use super::connect;
use crate::cli::{Exec, Global};
use crate::exit::{self, Failure};

pub(crate) async fn run(global: &Global, exec: &Exec) -> Result<u8, Failure> {
    let (_, client) = connect(global).await?;
    let environment: Environment =
        client.get(&format!("/v1/services/{}/env", exec.service)).await?;
    let (program, args) = exec.command.split_first().expect("clap requires a command");
    let mut command = Command::new(program);
    command.args(args).current_dir(&environment.cwd).envs(&environment.env);
    // Terminal and signals go straight to the command, because it takes our place.
    let error = command.exec();
    let code = match error.kind() {
        std::io::ErrorKind::NotFound => 127,
        std::io::ErrorKind::PermissionDenied => 126,
        _ => exit::CANNOT_START,
    };
    Err(Failure::new(code, format!("could not run `{program}`: {error}")))
}
