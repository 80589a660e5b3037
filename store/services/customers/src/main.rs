use std::process::ExitCode;

fn main() -> ExitCode {
    store_kit::run(customers::service)
}
