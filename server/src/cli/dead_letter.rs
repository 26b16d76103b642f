//! `rantai dead-letter`: rejected records, and what becomes of them.
//!
//! Listing reads the database, beside a running server too. A decision is an entry of the log, which only one process may write: a
//! running server is asked to make it, and where none runs this process takes the directory and makes it itself, by the same code.

use super::{existing, open, open_embedded};
use anyhow::{Context, bail, ensure};
use clap::{Subcommand, ValueEnum};
use server::backend::{EngineBackend, Undecided};
use server::config::{Config, LogKind, StateArgs, StoreArgs};
use server::letters::{Decided, Outcome, Verdict};
use server::lifecycle::{holder, lock_directory};
use server::pipeline::Pipeline;
use server::side::{Cause, DEAD, SideRow};
use server::store::Store;
use std::io::{IsTerminal, Write};
use std::sync::Arc;
use std::time::Duration;

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum DeadLetterCommand {
    /// List them, oldest first: position, time, state, reason, field, source, with tabs between
    List {
        /// Only those in this state
        #[arg(long)]
        state: Option<State>,
        /// Only those after this position
        #[arg(long, default_value_t = 0)]
        after: u64,
        /// At most so many
        #[arg(long, default_value_t = 100)]
        limit: usize,
        #[command(flatten)]
        data: StoreArgs,
    },
    /// Show one with all that is known of it, its bytes last
    Show {
        /// Its position
        position: u64,
        #[command(flatten)]
        data: StoreArgs,
    },
    /// Take them in again: judged as if they had just come in, once however often this is called
    Replay {
        /// Their positions
        #[arg(required = true)]
        positions: Vec<u64>,
        #[command(flatten)]
        who: Who,
    },
    /// Note that they are of no use; their bytes are kept
    Discard {
        /// Their positions
        #[arg(required = true)]
        positions: Vec<u64>,
        /// Why
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        who: Who,
    },
}

/// Who decides, and where.
#[derive(clap::Args)]
pub struct Who {
    /// Who decides
    #[arg(long, env = "USER")]
    by: String,
    /// The running server, where it is not the one of the data directory
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The key that this one wants to see, with the scopes `ingest,read`
    #[arg(long, env = "RANTAI_KEY", hide_env_values = true)]
    key: Option<String>,
    #[command(flatten)]
    state: StateArgs,
}

/// What became of a dead letter.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Nobody has decided
    Open,
    /// It was taken in again
    Replayed,
    /// It was discarded
    Discarded,
}

impl State {
    fn of(decided: Option<&Decided>) -> Self {
        match decided.map(|d| &d.outcome) {
            None => State::Open,
            Some(Outcome::Replayed { .. }) => State::Replayed,
            Some(Outcome::Discarded { .. }) => State::Discarded,
        }
    }

    const fn name(self) -> &'static str {
        match self {
            State::Open => "open",
            State::Replayed => "replayed",
            State::Discarded => "discarded",
        }
    }
}

impl DeadLetterCommand {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            DeadLetterCommand::List { state, after, limit, data } => {
                let store = open(&existing(data.resolve()?)?).await?;
                store.check_format().await?;
                list(&store, state, after, limit).await?;
                store.close().await;
            }
            DeadLetterCommand::Show { position, data } => {
                let store = open(&existing(data.resolve()?)?).await?;
                store.check_format().await?;
                show(&store, position).await?;
                store.close().await;
            }
            DeadLetterCommand::Replay { positions, who } => decide(&who, &positions, &Verdict::Replay).await?,
            DeadLetterCommand::Discard { positions, reason, who } => decide(&who, &positions, &Verdict::Discard(reason)).await?,
        }
        Ok(())
    }
}

fn cause(row: &SideRow) -> (&'static str, &str) {
    match &row.cause {
        Cause::Rejected { reason, field } => (reason.name(), field),
        Cause::Late { .. } => ("late", ""),
    }
}

async fn list(store: &Store, state: Option<State>, mut after: u64, mut limit: usize) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    while limit > 0 {
        let rows = store.side_after(DEAD, after, 1_000).await?;
        let (Some(first), Some(last)) = (rows.first(), rows.last()) else { break };
        let decided = store.decisions(first.position, last.position).await?;
        after = last.position;
        for row in &rows {
            let decided = decided.iter().find(|d| d.letter == row.position);
            let found = State::of(decided);
            if limit == 0 || state.is_some_and(|state| state != found) {
                continue;
            }
            limit -= 1;
            let (reason, field) = cause(row);
            let (position, at) = (row.position, row.received_at);
            writeln!(out, "{position}\t{at}\t{}\t{reason}\t{}\t{}", found.name(), plain(field), plain(&row.source))?;
        }
    }
    Ok(())
}

async fn show(store: &Store, position: u64) -> anyhow::Result<()> {
    let row = store.side_at(DEAD, position).await?.with_context(|| format!("there is no dead letter at position {position}"))?;
    let decided = store.decisions(position, position).await?.pop();
    let (reason, field) = cause(&row);
    let some = |text: Option<&String>| text.map_or_else(|| "-".to_owned(), |text| plain(text));
    let mut out = std::io::stdout().lock();
    writeln!(out, "position   {position}")?;
    writeln!(out, "received   {}", row.received_at)?;
    writeln!(out, "source     {}", plain(&row.source))?;
    writeln!(out, "event id   {}", some(row.event_id.as_ref()))?;
    writeln!(out, "device     {}", some(row.device_id.as_ref()))?;
    writeln!(out, "ts         {}", row.ts.map_or_else(|| "-".to_owned(), |ts| ts.to_string()))?;
    writeln!(out, "reason     {reason}")?;
    writeln!(out, "field      {}", if field.is_empty() { "the whole record".to_owned() } else { plain(field) })?;
    writeln!(out, "state      {}", State::of(decided.as_ref()).name())?;
    if let Some(Decided { by, at, outcome, .. }) = decided {
        match outcome {
            Outcome::Replayed { position, end } => {
                writeln!(out, "replayed   as {position}, {}, by {}, {at}", end.name(), plain(&by))?;
            }
            Outcome::Discarded { reason } => writeln!(out, "discarded  {}, by {}, {at}", plain(&reason), plain(&by))?,
        }
    }
    writeln!(out)?;
    // A file gets the bytes as they are; a terminal would obey some of them.
    if out.is_terminal() {
        String::from_utf8_lossy(&row.raw).lines().try_for_each(|line| writeln!(out, "{}", plain(line)))?;
    } else {
        out.write_all(&row.raw)?;
        writeln!(out)?;
    }
    Ok(())
}

/// What a sender chose, on one line, without what a terminal would obey.
fn plain(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut plain, c| {
        if c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            plain.extend(c.escape_default());
        } else {
            plain.push(c);
        }
        plain
    })
}

async fn decide(who: &Who, positions: &[u64], verdict: &Verdict) -> anyhow::Result<()> {
    if let Some(url) = &who.url {
        let key = who.key.as_deref();
        let key =
            key.context("that server wants a key: --key or RANTAI_KEY, made with `rantai key create --scope ingest,read`")?;
        return ask(url, key, &who.by, positions, verdict).await;
    }
    let config = existing(who.state.resolve()?)?;
    match lock_directory(&config.data_dir) {
        Ok(_lock) => alone(&config, &who.by, positions, verdict).await,
        Err(in_use) => match holder(&config.data_dir) {
            // Whoever can read the token there runs as the same user.
            Some(holder) => ask(&holder.url, &holder.token, &who.by, positions, verdict).await,
            None => Err(in_use),
        },
    }
}

/// Has the running server at `url` decide, which knows `key`.
async fn ask(url: &str, key: &str, by: &str, positions: &[u64], verdict: &Verdict) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let (action, body) = match verdict {
        Verdict::Replay => ("replay", serde_json::json!({ "by": by })),
        Verdict::Discard(reason) => ("discard", serde_json::json!({ "by": by, "reason": reason })),
    };
    for position in positions {
        let address = format!("{}/api/v1/dead-letters/{position}/{action}", url.trim_end_matches('/'));
        let response = client
            .post(&address)
            .bearer_auth(key)
            .json(&body)
            .send()
            .await
            .with_context(|| format!("ask the server at {url}"))?;
        let status = response.status();
        let answer: serde_json::Value = response.json().await.context("read the server's answer")?;
        ensure!(status.is_success(), "{position}: {}", answer["detail"].as_str().unwrap_or("the server refused"));
        let new = answer["replayed_as"].as_u64().map_or_else(String::new, |new| format!(" as {new}"));
        let end = answer["disposition"].as_str().map_or_else(String::new, |end| format!(", {end}"));
        println!("{position}: {}{new}{end}", answer["state"].as_str().unwrap_or("?"));
    }
    Ok(())
}

/// Decides without a server; the directory is ours.
async fn alone(config: &Config, by: &str, positions: &[u64], verdict: &Verdict) -> anyhow::Result<()> {
    ensure!(config.log == LogKind::Embedded, "with `log = kafka` a server decides: name one with --url");
    let store = open_embedded(config).await?;
    let master = Arc::new(server::data::master().context("load master data")?);
    let engine = config.engine_config()?;
    let sizes = engine.windows.definitions().iter().map(|d| d.size_ms).collect();
    let every = Duration::from_millis(config.checkpoint_ms);
    let (pipeline, threads) = Pipeline::start(&config.data_dir, store.clone(), &master, engine, every).await?;
    let backend = EngineBackend::new(pipeline.clone(), store.clone(), master, sizes);
    let done = all(&backend, by, positions, verdict).await;
    drop((backend, pipeline));
    tokio::task::spawn_blocking(move || threads.join()).await.context("wait for the pipeline")??;
    store.close().await;
    done
}

async fn all(backend: &EngineBackend, by: &str, positions: &[u64], verdict: &Verdict) -> anyhow::Result<()> {
    for position in positions {
        match backend.decide(*position, by, verdict.clone()).await {
            Ok(Some(Decided { outcome: Outcome::Replayed { position: new, end }, .. })) => {
                println!("{position}: replayed as {new}, {}", end.name());
            }
            Ok(Some(_)) => println!("{position}: discarded"),
            Ok(None) => println!("{position}: queued"),
            Err(Undecided::Decided(decided)) => {
                bail!("{position}: it was {} before", State::of(Some(&decided)).name());
            }
            Err(error) => bail!("{position}: {error}"),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(plain("gudang é"), "gudang é");
        assert_eq!(plain("a\u{1b}[2J\tb\nc\u{202e}"), r"a\u{1b}[2J\tb\nc\u{202e}");
    }
}
