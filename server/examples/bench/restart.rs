//! A start on a gigabyte of state, after a kill under load: what the checkpoint holds and the memory of identities, and the log's tail.

use crate::events::MIX;
use crate::figures::{Figures, Latencies};
use crate::ingest::load;
use crate::program::{Server, size_of};
use rustix::process::Signal;
use std::time::Duration;

/// State on disk, the log not counted.
const STATE: u64 = 1_000_000_000;
/// When it is killed, after the load went on: a checkpoint comes every few seconds.
const MOMENTS: [u64; 5] = [1_500, 2_500, 3_500, 4_500, 6_000];

/// Takes in until the state is large enough, then kills and starts.
pub fn run(figures: &mut Figures) -> anyhow::Result<()> {
    let mut server = Server::start()?;
    let (mut sent, mut took) = (0, Latencies::default());
    let log = |server: &Server| size_of(&server.data().join("log"));
    while size_of(&server.data())? - log(&server)? < STATE {
        sent += load(&server, MIX, false, sent, Duration::from_secs(5))?.events;
    }
    let mut longest = 0.0f64;
    for moment in MOMENTS {
        let moment = Duration::from_millis(moment);
        let pid = server.pid();
        std::thread::scope(|scope| {
            // It ends in an error with the server.
            let under_load = scope.spawn(|| load(&server, MIX, false, sent, moment + Duration::from_secs(1)));
            std::thread::sleep(moment);
            rustix::process::kill_process(pid, Signal::KILL)?;
            let _ = under_load.join().expect("no panic in the load");
            anyhow::Ok(())
        })?;
        server.end(Signal::KILL)?;
        let ready = server.start_again()?;
        longest = longest.max(ready.as_secs_f64());
        took.add(ready);
        // What was sent again counts as duplicates; what was not is sent now.
        sent += 10_000_000;
    }
    let data = server.data();
    figures.add("restart: state on disk", (size_of(&data)? - log(&server)?) as f64 / 1e6, "MB");
    figures.add("restart: of it identities", size_of(&data.join("identities"))? as f64 / 1e6, "MB");
    figures.add("restart: log", log(&server)? as f64 / 1e6, "MB");
    figures.add("restart: identities", server.metric("rantai_identities")?, "");
    figures.add("restart: records processed", server.stats(None)?["received"].as_f64().unwrap_or_default(), "");
    figures.add("restart: memory after the last start", server.memory_kib()? / 1_024.0, "MiB");
    took.report(figures, "restart: from kill -9 under load to ready")
}
