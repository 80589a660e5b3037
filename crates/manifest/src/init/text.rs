//! The text of proposed application files.

use std::path::Path;

use super::{Candidate, Detected, Language, label};

const HEADER: &str = "\
#:schema ./.archipel/schema.json
# `archipel schema --write` makes the file above; then editors complete and explain every key.
# `archipel validate` checks this file, `archipel up` builds and starts what it describes.
version = 1
";

pub(super) fn app_name(dir: &Path) -> String {
    let absolute = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = absolute.file_name().map(|name| name.to_string_lossy().into_owned());
    label(&name.unwrap_or_default())
}

/// For the services that were found.
pub(super) fn manifest(app: &str, detected: &Detected) -> String {
    let mut out = format!("{HEADER}\n[app]\nname = {}\n", quoted(app));
    out += "\n# What every service inherits. Without a limit a service may use all memory there is.\n\
            # [defaults]\n# memory = \"256M\"\n";
    for service in &detected.services {
        out += &service_text(service);
    }
    out += "\n# Say who calls whom, and each caller gets the URL of its callee as <NAME>_URL:\n\
            #   calls = [\"other-service\"]\n\
            # Events go through durable topics; a topic has one publisher:\n\
            #   publishes = [\"order.placed\"]\n\
            #   subscribes = { \"order.placed\" = \"/events/order-placed\" }\n";
    out += &backing_text(detected);
    let first = &detected.services[0];
    out += &format!(
        "\n# The public entrance. The most specific route wins, wherever it stands.\n\
         [gateway]\nlisten = \"127.0.0.1:8080\"\n\n[[gateway.routes]]\nmatch = \"/**\"\nto = {}\n",
        quoted(&first.name)
    );
    if detected.services.len() > 1 {
        out += "\n# [[gateway.routes]]\n# match = \"/api/**\"\n";
        out += &format!("# to = {}\n", quoted(&detected.services[1].name));
    }
    out
}

fn service_text(service: &Candidate) -> String {
    let path = service.path.display().to_string();
    let mut out = format!("\n[services.{}]  # because of {}\n", service.name, service.because);
    if !path.is_empty() {
        out += &format!("path = {}\n", quoted(&path));
    }
    if let Some(build) = &service.build {
        out += &format!("build = {}\n", quoted(build));
    }
    if !service.artifact.is_empty() {
        let artifacts: Vec<String> = service.artifact.iter().map(|file| quoted(file)).collect();
        out += &format!("artifact = [{}]\n", artifacts.join(", "));
    }
    if service.artifact.iter().any(|file| file.starts_with("../")) {
        out +=
            "# sources = [\"crates/shared\"]  # what else the build reads, relative to this file\n";
    }
    out += &format!("run = {}\n", quoted(&service.run));
    if service.shell {
        out += "shell = true  # uses shell syntax; the shell may swallow the stop signal\n";
    }
    out += "# The program listens on $PORT at $HOST. Until it says otherwise, it is ready when the\n\
            # port accepts connections; a path that answers 200 tells more:\n# health = \"/healthz\"\n";
    out
}

fn backing_text(detected: &Detected) -> String {
    let mut out = String::new();
    for backing in &detected.backing {
        let (name, image) = (comment(&backing.name), comment(&backing.image));
        let image_name = image.rsplit('/').next().unwrap_or_default();
        out += &format!("\n# `{name}` of the compose file ({image}):\n");
        out += match image_name.split([':', '@']).next() {
            Some("postgres" | "postgis" | "timescaledb") => {
                "# Each service can have a database and a role of its own on a server you run:\n\
                 #   database = { engine = \"postgres\" }   with ARCHIPEL_POSTGRES_URL set\n\
                 # or a file of its own, with nothing to run: database = { engine = \"sqlite\" }\n"
            }
            Some("rabbitmq" | "kafka" | "nats" | "redpanda") => {
                "# Topics are built in: `publishes` and `subscribes` may replace it.\n"
            }
            _ => "# Run it beside the application, and give its address in `env`.\n",
        };
    }
    out
}

/// For an empty directory: two services, one of which calls the other.
pub(super) fn sample(app: &str, hello: Language, web: Language) -> String {
    let app = quoted(app);
    let (hello_run, web_run) = (quoted(&hello.run("hello")), quoted(&web.run("web")));
    format!(
        "{HEADER}
[app]
name = {app}

# What every service inherits.
[defaults]
memory = \"128M\"
health = \"/healthz\"  # ready when this path answers 200

[services.hello]
path = \"services/hello\"
run = {hello_run}
replicas = 2  # calls are spread over both; each listens on a $PORT of its own

[services.web]
path = \"services/web\"
run = {web_run}
calls = [\"hello\"]  # gives it HELLO_URL, and the permission to use it

# The public entrance: http://127.0.0.1:8080
[gateway]
listen = \"127.0.0.1:8080\"

[[gateway.routes]]
match = \"/**\"
to = \"web\"
"
    )
}

/// On one line, for a comment.
fn comment(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(100).collect()
}

/// A TOML string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            c if c.is_control() => out += &format!("\\u{:04X}", u32::from(c)),
            c => out.push(c),
        }
    }
    out + "\""
}
