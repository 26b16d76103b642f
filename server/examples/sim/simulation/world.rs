//! What befalls one simulated machine room: named points at which it may crash or fail, the clock, and a trace of all that happened.

use super::random::Random;
use domain::time::ProcessingTime;
use server::clock::{self, Clocks};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The process is dead: nothing that it does from here on has any effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the simulated process has crashed")]
pub struct Crashed;

/// What happens at a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Goes,
    /// It fails, and the process lives on.
    Fails,
    /// The process is dead from now on.
    Crashes,
}

/// How often what fired, by name.
pub type Counts = BTreeMap<String, u64>;

#[derive(Debug)]
pub struct State {
    pub random: Random,
    /// Wall clock, in milliseconds.
    pub now_ms: i64,
    steady_ms: i64,
    /// Points until the next crash; `None` where there is none.
    fuse: Option<u64>,
    /// One in so many points that can fail does; 0: none.
    pub fails_one_in: u64,
    pub is_crashed: bool,
    /// What the process is doing, for the counts.
    pub phase: &'static str,
    pub counts: Counts,
    pub crashes: u64,
    trace: u64,
    pub is_told: bool,
}

/// Shared by what is simulated together.
#[derive(Clone, Debug)]
pub struct World(Arc<Mutex<State>>);

/// When simulations begin.
pub const BEGIN_MS: i64 = 1_795_000_000_000;

impl World {
    pub fn new(random: Random) -> Self {
        let state = State {
            random,
            now_ms: BEGIN_MS,
            steady_ms: 1_000,
            fuse: None,
            fails_one_in: 0,
            is_crashed: false,
            phase: "running",
            counts: Counts::new(),
            crashes: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            is_told: false,
        };
        let world = Self(Arc::new(Mutex::new(state)));
        world.set_clocks();
        world
    }

    pub fn get(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets time pass.
    pub fn pass(&self, ms: i64) {
        {
            let mut state = self.get();
            state.now_ms += ms;
            state.steady_ms += ms;
        }
        self.set_clocks();
    }

    /// Somebody sets the wall clock.
    pub fn set_wall(&self, by_ms: i64) {
        self.get().now_ms += by_ms;
        self.set_clocks();
    }

    fn set_clocks(&self) {
        let state = self.get();
        let steady = Duration::from_millis(state.steady_ms as u64);
        clock::simulate(Some(Clocks { wall: ProcessingTime::from_ms(state.now_ms), steady }));
    }

    /// A process begins that crashes after so many points.
    pub fn begin_life(&self, fuse: Option<u64>) {
        let mut state = self.get();
        (state.fuse, state.is_crashed) = (fuse, false);
    }

    pub fn is_crashed(&self) -> bool {
        self.get().is_crashed
    }

    /// Notes something in the trace and counts it.
    pub fn note(&self, what: &str) {
        let mut state = self.get();
        state.note(what);
        *state.counts.entry(what.to_owned()).or_default() += 1;
    }

    /// A point at which the process may crash.
    pub fn point(&self, name: &'static str) -> Result<(), Crashed> {
        match self.get().fate(name, false) {
            Fate::Crashes => Err(Crashed),
            _ => Ok(()),
        }
    }
}

impl State {
    /// What the trace has come to: the same for the same seed.
    pub const fn trace(&self) -> u64 {
        self.trace
    }

    pub fn note(&mut self, what: &str) {
        for byte in what.bytes().chain(self.now_ms.to_le_bytes()) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.is_told {
            println!("{:>10} {} {what}", self.now_ms - BEGIN_MS, self.phase);
        }
    }

    /// What happens at the point `name`, which may also fail where it `can_fail`.
    pub fn fate(&mut self, name: &str, can_fail: bool) -> Fate {
        if self.is_crashed {
            return Fate::Crashes;
        }
        self.note(name);
        if let Some(left) = &mut self.fuse {
            if *left == 0 {
                self.is_crashed = true;
                self.crashes += 1;
                *self.counts.entry(format!("crash at {name}")).or_default() += 1;
                *self.counts.entry(format!("crash while {}", self.phase)).or_default() += 1;
                self.note("crash");
                return Fate::Crashes;
            }
            *left -= 1;
        }
        if can_fail && self.fails_one_in > 0 && self.random.one_in(self.fails_one_in) {
            *self.counts.entry(format!("failure of {name}")).or_default() += 1;
            self.note("failure");
            return Fate::Fails;
        }
        Fate::Goes
    }
}
