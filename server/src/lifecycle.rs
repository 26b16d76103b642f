//! Start, run, stop: one cancellation token, every part started and waited for in one place.

use crate::backend::EngineBackend;
use crate::clock::Doubt;
use crate::config::{Config, LogKind};
use crate::fullness::Ballast;
use crate::hex::hex;
use crate::http::{
    AppState, SiteDir,
    auth::Keys,
    router,
    serve::{Limits, serve},
    worker_router,
};
use crate::kafka;
use crate::pipeline::{AsServer, PARTITION, Pipeline, Refused, Threads, wall_clock};
use crate::store::{Retention, Store, StoreAddress, cutoff};
use anyhow::Context;
use bytes::Bytes;
use domain::planted;
use domain::time::ProcessingTime;
use leptos::config::LeptosOptions;
use std::fs::{self, File};
use std::io::Write;
use std::ops::ControlFlow;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

/// How often `latest.json` is written.
const LATEST_EVERY: Duration = Duration::from_secs(5);
/// How often what need not be kept is deleted.
const FORGET_EVERY: Duration = Duration::from_hours(1);
/// How long open requests may take after the signal to stop.
const DRAIN: Duration = Duration::from_secs(8);

/// How long the database may take to close.
const CLOSE: Duration = Duration::from_secs(1);

/// Holds the data directory for this process; given back when dropped.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl DirectoryLock {
    /// Tells those who find the directory in use where to reach its holder, and how to prove to it that they are of the same user: by
    /// the token that is the answer, which nobody else can read.
    fn announce(&mut self, address: std::net::SocketAddr) -> std::io::Result<String> {
        let mut secret = [0u8; 32];
        getrandom::fill(&mut secret).map_err(std::io::Error::other)?;
        let token = hex(&secret);
        self.file.write_all(format!("http://{address}\n{token}\n").as_bytes())?;
        Ok(token)
    }
}

/// The process that holds a data directory.
#[derive(Clone, Debug)]
pub struct Holder {
    /// Where it can be reached.
    pub url: String,
    /// What proves to it that somebody is of the same user.
    pub token: String,
}

/// The process that holds the data directory, if it said where it is.
pub fn holder(dir: &Path) -> Option<Holder> {
    let said = fs::read_to_string(dir.join("lock")).ok()?;
    let mut lines = said.lines().skip(1).map(str::to_owned);
    Some(Holder { url: lines.next()?, token: lines.next()? })
}

/// Takes the data directory, made where absent; refused while another process holds it.
pub fn lock_directory(dir: &Path) -> anyhow::Result<DirectoryLock> {
    crate::files::create_dir(dir).with_context(|| format!("create the data directory {}", dir.display()))?;
    let path = dir.join("lock");
    let mut file = File::options().create(true).truncate(false).write(true).read(true).mode(0o600).open(&path)?;
    if file.try_lock().is_err() && !planted("directory-is-shared") {
        let said = fs::read_to_string(&path).unwrap_or_default();
        let process = said.lines().next().unwrap_or("(unknown)");
        anyhow::bail!("the data directory {} is in use by process {process}; stop it first", dir.display());
    }
    file.set_len(0)?;
    if file.metadata()?.mode() & 0o077 != 0 {
        // It was made by a program that wrote nothing secret into it.
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
    }
    writeln!(file, "{}", std::process::id())?;
    Ok(DirectoryLock { file })
}

/// After a restart all open pages come back at once: they wait here, not for a repeated greeting a second later.
const BACKLOG: u32 = 8_192;

fn listen(address: std::net::SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A running server.
pub struct Running {
    /// Where it listens.
    pub address: std::net::SocketAddr,
    /// Its pipeline.
    pub pipeline: Pipeline,
    /// Ends it.
    pub stop: CancellationToken,
    server: tokio::task::JoinHandle<std::io::Result<()>>,
    latest: Option<tokio::task::JoinHandle<()>>,
    forgetting: Option<tokio::task::JoinHandle<()>>,
    scrubbing: Option<tokio::task::JoinHandle<()>>,
    watching: Option<tokio::task::JoinHandle<()>>,
    threads: Threads,
    store: Store,
    _lock: DirectoryLock,
}

/// Starts everything and listens.
pub async fn start(args: &Config) -> anyhow::Result<Running> {
    args.check()?;
    let site_dir = args.site_dir()?;
    let config = args.engine_config()?;
    let mut lock = lock_directory(&args.data_dir)?;
    // Bound first: a taken port should not cost a restore.
    let listener = listen(args.listen).with_context(|| format!("listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    let token = lock.announce(address).context("write the lock file")?;
    // Before anything needs room; what Kafka and Postgres have they look after themselves.
    let ballast = (args.log == LogKind::Embedded).then(|| Ballast::of(&args.data_dir));
    let store = Store::open(&args.store, &args.data_dir).await.with_context(|| format!("open the database {}", args.store))?;
    let store = store.merging_windows_at(args.merge_windows_blocks);
    store.check_format().await?;
    let master = tokio::task::spawn_blocking(crate::data::master).await.context("load master data")??;
    let master = Arc::new(master);
    let every = Duration::from_millis(args.checkpoint_ms);
    let stop = CancellationToken::new();
    let (roles, status) = (args.roles()?, kafka::Status::default());
    let (pipeline, threads) = match args.log {
        LogKind::Embedded => {
            ensure_embedded(&store, &args.store).await?;
            let doubt = if args.accept_clock { Doubt::Accept } else { Doubt::Refuse };
            let server = AsServer { doubt, ballast };
            Pipeline::start_server(&args.data_dir, store.clone(), &master, config.clone(), every, server).await?
        }
        LogKind::Kafka => {
            let engine = kafka::Engine {
                kafka: args.kafka(),
                store: store.clone(),
                master: Arc::clone(&master),
                config: config.clone(),
                checkpoint_every: every,
                dir: args.data_dir.clone(),
                status: status.clone(),
                stop: stop.clone(),
            };
            kafka::start(engine, roles).await?
        }
    };
    let sizes = config.windows.definitions().iter().map(|d| d.size_ms).collect();
    let backend = Arc::new(EngineBackend::new(pipeline.clone(), store.clone(), Arc::clone(&master), sizes));
    let output_name = fs::read_to_string(site_dir.join("output-name")).unwrap_or_else(|_| "rantai".to_owned());
    let leptos = LeptosOptions::builder()
        .output_name(output_name.trim().to_owned())
        .site_root(site_dir.to_string_lossy().into_owned())
        .site_addr(address)
        .build();
    let state = AppState {
        pipeline: pipeline.clone(),
        store: store.clone(),
        master,
        backend: Arc::clone(&backend),
        keys: Arc::new(Keys::new(store.clone()).of_owner(&token)),
        leptos,
        site_dir: SiteDir(site_dir),
        partitions: status,
        refusals: Arc::default(),
        stop: stop.clone(),
    };
    let routes = if roles.web { router(state) } else { worker_router(state, roles.ingest) };
    let server = tokio::spawn(serve(listener, routes, Limits::of(crate::limits::connections()), stop.clone()));
    let latest =
        args.latest_file.clone().filter(|_| roles.web).map(|path| tokio::spawn(write_latest(backend, path, stop.clone())));
    let log_dir = (args.log == LogKind::Embedded).then(|| args.data_dir.join("log"));
    // Engines alone: whoever only shows what is stored, or only takes in, may have been told nothing of how long to keep it.
    let forgets = log_dir.is_some() || roles.engine || planted("every-process-deletes");
    let forgetting =
        forgets.then(|| tokio::spawn(forget(pipeline.clone(), store.clone(), log_dir, args.retention(), stop.clone())));
    // What Kafka and Postgres have they look after themselves.
    let scrubbing = (args.log == LogKind::Embedded)
        .then(|| tokio::spawn(crate::scrub::daily(store.clone(), args.data_dir.clone(), stop.clone())));
    // On Kafka engines put their runs of identities there.
    let watches = args.log == LogKind::Embedded || roles.engine;
    let watching = watches.then(|| tokio::spawn(crate::fullness::watch(args.data_dir.clone(), stop.clone())));
    Ok(Running { address, pipeline, stop, server, latest, forgetting, scrubbing, watching, threads, store, _lock: lock })
}

/// Refuses the store at `address` where it holds the state of Kafka's log: whoever works on one of their own would take over its first
/// partition.
pub async fn ensure_embedded(store: &Store, address: &StoreAddress) -> anyhow::Result<()> {
    let is_shared = matches!(address, StoreAddress::Postgres(_))
        && !store.kafka_partitions().await?.is_empty()
        && !domain::planted("kafkas-state-is-taken-over");
    anyhow::ensure!(!is_shared, "the database holds the state of Kafka's log: start with `log = kafka`, or with an empty one");
    Ok(())
}

impl Running {
    /// Waits until `stop` is cancelled or a part ends unexpectedly, then drains: what was submitted is processed and covered by a
    /// checkpoint.
    pub async fn wait(self) -> anyhow::Result<()> {
        let Self { stop, server, latest, forgetting, scrubbing, watching, threads, store, pipeline, .. } = self;
        let mut server = server;
        loop {
            tokio::select! {
                // First: an idle server has ended by the time that this is looked at.
                biased;
                () = stop.cancelled() => break,
                ended = &mut server => {
                    stop.cancel();
                    ended.context("the HTTP server panicked")??;
                    anyhow::bail!("the HTTP server ended unexpectedly");
                }
                () = tokio::time::sleep(Duration::from_secs(1)) => {
                    if threads.is_finished() {
                        tracing::error!("A part of the pipeline ended unexpectedly; stopping.");
                        stop.cancel();
                    }
                }
            }
        }
        if tokio::time::timeout(DRAIN, &mut server).await.is_err() {
            tracing::warn!("Some requests did not end in time and are broken off.");
            server.abort();
            let _ = server.await;
        }
        for task in latest.into_iter().chain(forgetting).chain(scrubbing).chain(watching) {
            task.await?;
        }
        drop(pipeline);
        tokio::task::spawn_blocking(move || threads.join()).await.context("wait for the pipeline")??;
        // A statement that the database does not answer must not hold up the end.
        if tokio::time::timeout(CLOSE, store.close()).await.is_err() {
            tracing::warn!("The database did not let go in time.");
        }
        Ok(())
    }
}

/// Writes `latest.json` every few seconds, until the server stops.
async fn write_latest(backend: Arc<EngineBackend>, path: PathBuf, stop: CancellationToken) {
    let mut every = tokio::time::interval(LATEST_EVERY);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let answer = backend.latest().await;
        if put_latest(answer, &path, &stop).await.is_break() {
            return;
        }
    }
}

/// Puts an answer into the file whole, by rename, so that a reader never sees half of it. Where there is none the file stays as it was, and
/// the next answer is waited for: only a server that stops has no other.
async fn put_latest(answer: Result<Bytes, Refused>, path: &Path, stop: &CancellationToken) -> ControlFlow<()> {
    let text = match answer {
        Ok(text) => text,
        Err(_) if stop.is_cancelled() || planted("latest-stops-at-the-first-refusal") => return ControlFlow::Break(()),
        Err(error) => {
            tracing::warn!(%error, "The file of latest windows stays as it was; trying again.");
            return ControlFlow::Continue(());
        }
    };
    let path = path.to_owned();
    let written = tokio::task::spawn_blocking(move || {
        let aside = path.with_extension("json.new");
        let mut file = File::create(&aside)?;
        file.write_all(&text)?;
        file.sync_all()?;
        fs::rename(&aside, &path)
    });
    if let Ok(Err(error)) = written.await {
        tracing::error!(%error, "Cannot write the file of latest windows.");
    }
    ControlFlow::Continue(())
}

/// Deletes what need not be kept any longer, now and then.
async fn forget(pipeline: Pipeline, store: Store, log_dir: Option<PathBuf>, keep: Retention, stop: CancellationToken) {
    let mut every = tokio::time::interval(FORGET_EVERY);
    let mut name = [0; 8];
    if let Err(error) = getrandom::fill(&mut name) {
        tracing::error!(%error, "Without a name of its own this process deletes nothing.");
        return;
    }
    let name = format!("{:016x}", u64::from_ne_bytes(name));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => {}
        }
        let attempt = async {
            // By the log's time: a clock that jumps must not make years of results old.
            let (now, keep) = if log_dir.is_some() {
                (pipeline.ask(|room| room.engine.now()).await?, keep)
            } else {
                let Some(now) = store.agreed_time(wall_clock()).await? else { return Ok(()) };
                (now, store.agree_on_retention(&name, &keep, now).await?)
            };
            let gone = store.forget(now, &keep).await?;
            let mut segments = 0;
            if let Some(dir) = log_dir.clone() {
                let needed_from = store.needed_from(PARTITION).await?;
                let older_than = ProcessingTime::from_ms(cutoff(now, keep.log_days));
                segments = tokio::task::spawn_blocking(move || crate::log::prune(&dir, needed_from, older_than)).await??;
            }
            if gone > 0 || segments > 0 {
                tracing::info!(tables_and_blocks = gone, log_segments = segments, "Deleted what need not be kept any longer.");
            }
            anyhow::Ok(())
        };
        if let Err(error) = attempt.await {
            tracing::warn!(error = format!("{error:#}"), "Cannot delete what need not be kept any longer; trying again later.");
        }
    }
}

/// Resolves at the first SIGINT or SIGTERM after this call; a second one ends the process at once.
pub fn signal() -> impl Future<Output = ()> + Send {
    use tokio::signal::unix::{SignalKind, signal};
    // Now, not when the answer is first waited for: a signal in between would end the process without a word.
    let listening = signal(SignalKind::interrupt()).and_then(|interrupt| Ok((interrupt, signal(SignalKind::terminate())?)));
    async move {
        let Ok((mut interrupt, mut terminate)) = listening else { return std::future::pending().await };
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tokio::spawn(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            std::process::exit(130);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Too much was waiting for a moment: the file is older for that moment, and not for ever.
    #[tokio::test]
    async fn latest_windows_outlive_a_refusal() {
        let dir = tempfile::tempdir().expect("a directory");
        let (path, stop) = (dir.path().join("latest.json"), CancellationToken::new());
        for (answer, expected) in
            [(Ok("one"), "one"), (Err(Refused::Busy), "one"), (Err(Refused::Stopping), "one"), (Ok("two"), "two")]
        {
            assert!(put_latest(answer.map(Bytes::from), &path, &stop).await.is_continue(), "{answer:?}");
            assert_eq!(fs::read_to_string(&path).expect("reads"), expected);
        }
        stop.cancel();
        assert!(put_latest(Err(Refused::Stopping), &path, &stop).await.is_break());
    }
}
