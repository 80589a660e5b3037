//! Application file → checked `App`, with source spans.
//!
//! The way of a file: text → tree with spans (`tree`) → checked against its shape (`shape`) →
//! joined with what it includes and with a profile (`document`) → typed values with the places
//! they came from (`read`) → checked as a whole (`check`) → [`archipel_model::App`] (`assemble`).
//!
//! Every step goes on after an error and skips only what it cannot use, so one run reports every
//! problem there is. An `App` comes out only when there was no error at all.
//!
//! This crate alone knows the file format. It never awaits, starts nothing and reads no file
//! but the manifests themselves; of other paths it only asks whether they exist.

mod assemble;
mod check;
mod code;
#[cfg(test)]
mod corpus;
mod cron;
mod document;
mod env_files;
mod files;
pub mod init;
mod load;
#[cfg(test)]
mod pages;
mod problem;
mod read;
mod render;
mod schema;
mod schemas;
mod shape;
mod sink;
mod source;
mod syntax;
mod timezone;
mod tree;
mod words;

pub use code::{Code, Severity, UnknownCode, explain};
pub use files::{Disk, Files, Kind, Memory};
#[doc(hidden)]
pub use load::exercise;
pub use load::{
    FILE_NAME, Loaded, Options, Question, find, load, load_every_profile, load_from, parse,
};
pub use problem::{Place, Problem, Problems, count, to_json};
pub use render::{Style, render};
pub use schema::{schema, schema_2020, schema_of_included};
