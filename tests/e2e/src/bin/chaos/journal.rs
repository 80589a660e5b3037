//! What was done already: a line for each round, so that a run that was broken off goes on.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::round::Round;

pub(crate) struct Journal {
    path: PathBuf,
    pub(crate) rounds: Vec<Round>,
}

impl Journal {
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).unwrap_or_default();
        // The last line may have been broken off together with the run.
        let rounds = text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        Ok(Self { path: path.to_owned(), rounds })
    }

    pub(crate) fn has(&self, number: usize) -> bool {
        self.rounds.iter().any(|round| round.number == number)
    }

    pub(crate) fn add(&mut self, round: Round) -> Result<()> {
        let naming = || format!("cannot write {}", self.path.display());
        let parent = self.path.parent().context("a file lies somewhere")?;
        fs::create_dir_all(parent).with_context(naming)?;
        let file = fs::File::options().create(true).append(true).open(&self.path);
        let line = format!("{}\n", serde_json::to_string(&round)?);
        file.and_then(|mut file| file.write_all(line.as_bytes())).with_context(naming)?;
        self.rounds.push(round);
        Ok(())
    }
}
