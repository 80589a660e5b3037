//! A service for tests: does what its arguments say, with nothing but the standard library.
//!
//! `fixture serve` answers HTTP on `PORT`: 200, or 503 while the file named by `SICK` exists.
//! `fixture lines <n>` prints numbered lines, then waits.
//! `fixture leak <MiB>` takes and touches memory, then waits.
//! `fixture child-leak <MiB>` does so in a child, and goes on when the child has died.
//! `fixture fork <n>` starts n grandchildren in sessions of their own, then waits.
//! `fixture read <path>` says whether it can read a file, then waits.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program of its own")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Command;
use std::time::Duration;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let number = || args.get(1).and_then(|n| n.parse::<usize>().ok()).unwrap_or(1);
    match args.first().map(String::as_str) {
        Some("serve") => serve(),
        Some("lines") => {
            let mut out = std::io::stdout().lock();
            for n in 0..number() {
                let _ = writeln!(out, "line {n}");
            }
            drop(out);
            wait();
        }
        Some("leak") => {
            let kept = leak(number());
            println!("took {} bytes", kept.len());
            wait();
        }
        Some("child-leak") => {
            let me = std::env::current_exe().expect("the path of this program");
            let mib = number().to_string();
            let ended = Command::new(me).args(["leak", &mib]).status();
            println!("the child ended: {ended:?}");
            wait();
        }
        Some("fork") => {
            for _ in 0..number() {
                // Out of the session and the process group, and an orphan at once.
                let script = "setsid sleep 100000 & echo forked";
                let _ = Command::new("/bin/sh").args(["-c", script]).status();
            }
            println!("forked all");
            wait();
        }
        Some("read") => {
            let path = args.get(1).cloned().unwrap_or_default();
            match std::fs::read_to_string(&path) {
                Ok(text) => println!("read: {text}"),
                Err(error) => println!("not read: {error}"),
            }
            wait();
        }
        other => panic!("no such fixture: {other:?}"),
    }
}

fn wait() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn leak(mib: usize) -> Vec<u8> {
    let mut kept = Vec::new();
    for _ in 0..mib {
        kept.extend(std::iter::repeat_n(1u8, 1 << 20));
    }
    kept
}

fn serve() {
    let port: u16 = std::env::var("PORT").ok().and_then(|p| p.parse().ok()).expect("PORT");
    let sick = std::env::var("SICK").ok();
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free");
    println!("listening on {port}");
    for stream in listener.incoming().flatten() {
        let mut head = Vec::new();
        let mut reader = BufReader::new(&stream);
        loop {
            let mut line = String::new();
            match reader.read_line(&mut line) {
                Ok(n) if n > 2 => head.push(line.trim().to_lowercase()),
                _ => break,
            }
        }
        if head.is_empty() {
            continue;
        }
        if std::env::var("SHOW_HEADERS").is_ok() {
            println!("{}", head.join(" | "));
        }
        let (status, body) = match &sick {
            Some(file) if std::path::Path::new(file).exists() => {
                ("503 Service Unavailable", "sick")
            }
            _ => ("200 OK", "well"),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        let _ = (&stream).write_all(answer.as_bytes());
    }
}
