//! A run: the past as fast as the server takes it, then by the clock, until it is stopped.

use crate::args::{Form, Pace, Plan, SimulateArgs};
use crate::client::{Lanes, Sender};
use crate::fleet::Fleet;
use crate::iot::RoomSensors;
use crate::progress::{Progress, grouped, hours, report, say};
use crate::source::{Source, Thermometers};
use crate::truth::{Fact, Instant as FactInstant, Truth};
use anyhow::Context;
use domain::time::{EventTime, MINUTE_MS};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long a stopped run waits for answers to what it has sent.
const GRACE: Duration = Duration::from_secs(5);
/// How often the clock is looked at.
const TICK: Duration = Duration::from_millis(250);
/// The past is made in strides of this length, so that a stop is heeded in between.
const STRIDE_MS: i64 = 5 * MINUTE_MS;

/// Simulates until the plan ends, a signal comes or the server refuses.
pub async fn run(args: SimulateArgs) -> anyhow::Result<()> {
    let plan = args.plan(time_of_day())?;
    let key = args.key.as_deref().context("a key is needed, --key or RANTAI_KEY: `rantai key create --name N --scope ingest`")?;
    let truth = match &args.truth {
        Some(path) => Truth::to_file(path).with_context(|| format!("open {}", path.display()))?,
        None => Truth::nowhere(),
    };
    let progress = Arc::new(Progress::default());
    let sender = Sender::new(&args.url, key, args.compress, progress.clone())?;
    let source = make_source(&plan);
    let past_ms = plan.start.ms() - plan.from.ms();
    say(&format!(
        "{} devices, seed {}, {}{} connections to {}",
        grouped(source.devices() as u64),
        plan.seed,
        if past_ms > 0 { format!("the past {} first, ", hours(past_ms)) } else { String::new() },
        args.connections,
        args.url.as_str().trim_end_matches('/')
    ));

    let begun = Instant::now();
    let (stop, abandon) = (CancellationToken::new(), CancellationToken::new());
    let (lanes, ends) = Lanes::new(args.connections, args.batch, progress.clone());
    let mut senders = JoinSet::new();
    for (lane, end) in ends.into_iter().enumerate() {
        senders.spawn(sender.clone().run(lane as u64, end, abandon.clone()));
    }
    let mut player = tokio::task::spawn_blocking({
        let (plan, progress, stop) = (plan.clone(), progress.clone(), stop.clone());
        move || play(&plan, source, lanes, truth, &progress, &stop)
    });

    let mut outcome = None;
    let mut failure = None;
    {
        let reporting = report(&progress, plan.from.ms(), plan.start.ms());
        let signal = stop_signal();
        tokio::pin!(reporting, signal);
        let mut stopping = false;
        let deadline = tokio::time::sleep(Duration::MAX);
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                () = &mut reporting => {}
                () = &mut signal, if !stopping => {
                    stopping = true;
                    stop.cancel();
                    deadline.as_mut().reset(tokio::time::Instant::now() + GRACE);
                }
                () = &mut deadline, if stopping => abandon.cancel(),
                result = &mut player, if outcome.is_none() => outcome = Some(result.context("the player panicked")?),
                Some(result) = senders.join_next() => {
                    if let Err(error) = result.context("a sender panicked").and_then(|sent| sent) {
                        // What one lane is refused, all are.
                        failure.get_or_insert(error);
                        stop.cancel();
                        abandon.cancel();
                    }
                }
            }
            if outcome.is_some() && senders.is_empty() {
                break;
            }
        }
    }
    let (made, answered) = (progress.made.load(Relaxed), progress.answered.load(Relaxed));
    let lost = if made > answered { format!(", {} without an answer", grouped(made - answered)) } else { String::new() };
    let seconds = begun.elapsed().as_secs_f64();
    say(&format!("sent {} records in {seconds:.1} s{lost}: {}", grouped(made), progress.dispositions()));
    if let Some(error) = failure {
        return Err(error);
    }
    outcome.expect("the loop ends after the player").context("write the ground truth")
}

fn make_source(plan: &Plan) -> Box<dyn Source> {
    match plan.form {
        Form::Thermometers { interval_ms } => {
            let country = Fleet::country();
            let fleet = match plan.devices {
                Some(n) => country.sized(n),
                None => country,
            };
            Box::new(Thermometers::new(plan.seed, &fleet, interval_ms, plan.disorder, plan.from))
        }
        Form::RoomSensors { rate } => {
            Box::new(RoomSensors::new(plan.seed, plan.devices.unwrap_or(8), rate, plan.disorder, plan.from))
        }
    }
}

/// Plays the plan: makes records and hands them to the lanes. Blocks while these are full.
fn play(
    plan: &Plan,
    mut source: Box<dyn Source>,
    mut lanes: Lanes,
    mut truth: Truth,
    progress: &Progress,
    stop: &CancellationToken,
) -> std::io::Result<()> {
    let interval_ms = match plan.form {
        Form::Thermometers { interval_ms } => interval_ms,
        Form::RoomSensors { rate } => (1_000.0 / rate) as i64,
    };
    truth.tell(&Fact::Run { seed: plan.seed, devices: source.devices(), from: FactInstant(plan.from), interval_ms });
    let ended = |lanes: &Lanes| stop.is_cancelled() || lanes.is_closed();
    let mut at = plan.from;
    while at < plan.start && !ended(&lanes) {
        at = at.plus_ms(STRIDE_MS).min(plan.start);
        source.advance(at, &mut lanes, &mut truth);
        progress.reached_ms.store(at.ms(), Relaxed);
    }
    lanes.flush();
    progress.past.store(progress.made.load(Relaxed), Relaxed);
    progress.past_made.store(true, Relaxed);

    let clock = Clock { begun: Instant::now(), start: plan.start, pace: plan.pace };
    let end = plan.duration.map(|duration| clock.reading_after(duration));
    let mut flushed = Instant::now();
    while !ended(&lanes) {
        let now = clock.now();
        let until = end.map_or(now, |end| end.min(now));
        source.advance(until, &mut lanes, &mut truth);
        lanes.flush();
        progress.reached_ms.store(until.ms(), Relaxed);
        if end.is_some_and(|end| until >= end) {
            break;
        }
        if flushed.elapsed() >= Duration::from_secs(10) {
            truth.flush()?;
            flushed = Instant::now();
        }
        std::thread::sleep(TICK);
    }
    source.finish(&mut truth);
    truth.flush()
}

/// The clock of a run. Never ahead of the time of day, by which servers judge what lies in the future.
struct Clock {
    begun: Instant,
    start: EventTime,
    pace: Pace,
}

impl Clock {
    fn now(&self) -> EventTime {
        let now = time_of_day();
        match self.pace {
            Pace::RealTime => now,
            Pace::Faster(speed) => self.start.plus(self.begun.elapsed().mul_f64(speed)).min(now),
        }
    }

    /// What it will show when it has run for `length`.
    fn reading_after(&self, length: Duration) -> EventTime {
        match self.pace {
            // Nothing but the past means: the past that was planned.
            Pace::RealTime if length.is_zero() => self.start,
            Pace::RealTime => time_of_day().plus(length),
            Pace::Faster(speed) => self.start.plus(length.mul_f64(speed)),
        }
    }
}

fn time_of_day() -> EventTime {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    EventTime::from_ms(since.as_millis() as i64)
}

/// Waits for Ctrl-C or SIGTERM.
async fn stop_signal() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut terminate) = signal(SignalKind::terminate()) {
            tokio::select! {
                _ = tokio::signal::ctrl_c() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
    }
    let _ = tokio::signal::ctrl_c().await;
}
