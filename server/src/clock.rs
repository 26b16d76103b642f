//! The server's time, as it enters the log: the wall clock, as long as it goes evenly.
//!
//! What the log was told once cannot be taken back: an hour too much, and every device has fallen silent; a year, and whatever comes is
//! too old. So the wall clock is compared with one that nobody can set. After a jump nobody here can tell which time was wrong, the one
//! before or the one after: nothing is taken in, devices keep what they have, and both times are named. A clock that is put right again
//! is followed again; one that was wrong before the jump takes a restart, which compares it with the end of the log.

use domain::engine::CLOCK_RESET_BEFORE;
use domain::time::{DAY_MS, ProcessingTime};
use std::cell::Cell;
use std::time::Duration;

/// Clocks are corrected by so much at once while all is well, in milliseconds.
const STEP_MS: i64 = 10_000;
/// By so much the log may end in the future: a correction just before a restart.
const BEHIND_MS: i64 = 60_000;
/// A server that was off for longer is rarer than a clock that is wrong: as long as identities are remembered.
const AHEAD_MS: i64 = 90 * DAY_MS;

/// Both clocks at one instant.
#[derive(Clone, Copy, Debug)]
pub struct Clocks {
    /// The one that people set.
    pub wall: ProcessingTime,
    /// The one that nobody sets: since some instant, sleep of the machine included.
    pub steady: Duration,
}

thread_local! {
    static SIMULATED: Cell<Option<Clocks>> = const { Cell::new(None) };
}

/// On this thread the clocks stand at `clocks` from now on, or are the machine's again where there are none.
pub fn simulate(clocks: Option<Clocks>) {
    SIMULATED.set(clocks);
}

/// Where the clocks stand on a thread that simulates them.
pub fn simulated() -> Option<Clocks> {
    SIMULATED.get()
}

impl Clocks {
    /// As they are now.
    pub fn now() -> Self {
        if let Some(simulated) = simulated() {
            return simulated;
        }
        let boot = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let steady = Duration::new(boot.tv_sec.unsigned_abs(), u32::try_from(boot.tv_nsec).unwrap_or_default());
        Self { wall: crate::pipeline::wall_clock(), steady }
    }
}

/// What a start does about a clock that does not fit the end of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doubt {
    /// It is refused.
    Refuse,
    /// Somebody has looked: the clock is right.
    Accept,
}

/// Why the wall clock is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ClockError {
    /// It was set while we ran.
    #[error(
        "the server's clock jumped from {from} to {to}: nothing is taken in until it is right again; if it is right now, restart the server"
    )]
    Jumped {
        /// What it would say without the jump.
        from: ProcessingTime,
        /// What it says.
        to: ProcessingTime,
    },
    /// The log ends later.
    #[error(
        "the server's clock says {wall}, but the log goes on until {end}: set the clock right; if it is, and was wrong then, start once \
         with --accept-clock: until {end} all that comes in then counts as received at that time"
    )]
    Behind {
        /// What it says.
        wall: ProcessingTime,
        /// When the log ends.
        end: ProcessingTime,
    },
    /// The log ended long ago, or the clock was never set.
    #[error(
        "the server's clock says {wall}, and the log ends at {end}: set the clock right; if it is, because the server was off for so long, \
         start once with --accept-clock"
    )]
    Ahead {
        /// What it says.
        wall: ProcessingTime,
        /// When the log ends.
        end: ProcessingTime,
    },
    /// It is before this product existed.
    #[error("the server's clock says {wall}: it was never set")]
    Unset {
        /// What it says.
        wall: ProcessingTime,
    },
}

/// The server's time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// When both clocks last agreed.
    agreed: Clocks,
}

impl Clock {
    /// Begins with `now` after a log that ends at `end`, 0 where it is empty.
    pub fn start(now: Clocks, end: ProcessingTime, doubt: Doubt) -> Result<Self, ClockError> {
        let wall = now.wall;
        if wall.ms() < CLOCK_RESET_BEFORE.ms() {
            return Err(ClockError::Unset { wall });
        }
        let ahead_ms = wall.ms() - end.ms();
        match doubt {
            Doubt::Refuse if ahead_ms < -BEHIND_MS => Err(ClockError::Behind { wall, end }),
            Doubt::Refuse if end.ms() > 0 && ahead_ms > AHEAD_MS => Err(ClockError::Ahead { wall, end }),
            Doubt::Refuse | Doubt::Accept => Ok(Self { agreed: now }),
        }
    }

    /// The time at `now`.
    pub fn time(&mut self, now: Clocks) -> Result<ProcessingTime, ClockError> {
        let passed = now.steady.saturating_sub(self.agreed.steady);
        let from = self.agreed.wall.plus(passed);
        if (now.wall.ms() - from.ms()).abs() > STEP_MS && !domain::planted("clock-is-always-believed") {
            return Err(ClockError::Jumped { from, to: now.wall });
        }
        self.agreed = now;
        Ok(now.wall)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::time::HOUR_MS;

    const NOON: i64 = 1_795_000_000_000;

    fn clocks(wall_ms: i64, steady_ms: u64) -> Clocks {
        Clocks { wall: ProcessingTime::from_ms(NOON + wall_ms), steady: Duration::from_millis(steady_ms) }
    }

    /// What the clock says at each pair of wall and steady milliseconds: `None` where it says nothing.
    #[track_caller]
    fn check(readings: &[(i64, u64)], expected: &[Option<i64>]) {
        let mut clock = Clock::start(clocks(0, 500), ProcessingTime::from_ms(NOON), Doubt::Refuse).expect("starts");
        let said = readings.iter().map(|(wall, steady)| clock.time(clocks(*wall, *steady)).ok().map(|t| t.ms() - NOON));
        assert_eq!(said.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn corrections_are_followed_and_jumps_are_not() {
        check(&[(0, 500), (1_000, 1_500), (9_000, 2_500)], &[Some(0), Some(1_000), Some(9_000)]); // forward by 7 s
        check(&[(1_000, 1_500), (-7_000, 2_500)], &[Some(1_000), Some(-7_000)]); // back by 9 s
        check(&[(4 * HOUR_MS, 500 + 4 * HOUR_MS as u64)], &[Some(4 * HOUR_MS)]); // quiet for long
        check(&[(HOUR_MS, 1_500), (HOUR_MS + 1_000, 2_500), (3_000, 3_500)], &[None, None, Some(3_000)]); // right again
        check(&[(-HOUR_MS, 1_500), (2_000, 2_500)], &[None, Some(2_000)]);
    }

    #[track_caller]
    fn check_start(end: i64, wall: i64, doubt: Doubt, expected: Result<(), ClockError>) {
        let (wall, end) = (ProcessingTime::from_ms(wall), ProcessingTime::from_ms(end));
        assert_eq!(Clock::start(Clocks { wall, steady: Duration::ZERO }, end, doubt).map(|_| ()), expected);
    }

    #[test]
    fn a_start_compares_the_clock_with_the_end_of_the_log() {
        let at = ProcessingTime::from_ms;
        let (later, earlier) = (NOON + 91 * DAY_MS, NOON - HOUR_MS);
        check_start(0, NOON, Doubt::Refuse, Ok(()));
        check_start(NOON, NOON + 30 * DAY_MS, Doubt::Refuse, Ok(())); // it was off
        check_start(NOON, NOON - 5_000, Doubt::Refuse, Ok(()));
        check_start(NOON, earlier, Doubt::Refuse, Err(ClockError::Behind { wall: at(earlier), end: at(NOON) }));
        check_start(NOON, earlier, Doubt::Accept, Ok(()));
        check_start(NOON, later, Doubt::Refuse, Err(ClockError::Ahead { wall: at(later), end: at(NOON) }));
        check_start(NOON, later, Doubt::Accept, Ok(()));
        check_start(0, 1_000, Doubt::Accept, Err(ClockError::Unset { wall: at(1_000) }));
    }
}
