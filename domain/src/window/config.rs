//! Which windows a topic has: tumbling ones by which everything is judged, sliding ones put together from them, sessions.

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use std::str::FromStr;

/// A tumbling window of a topic: its size, and how far its watermark stays behind the newest event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WindowDefinition {
    /// Length in milliseconds.
    pub size_ms: i64,
    /// B: W(d) = M(d) − B, in milliseconds.
    pub delay_ms: i64,
}

/// A sliding window: one of `size_ms` begins every `slide_ms`. None is stored: each is put together from its panes, the windows of a
/// tumbling definition whose size divides both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlidingDefinition {
    /// Length in milliseconds.
    pub size_ms: i64,
    /// From one start to the next, in milliseconds; starts are multiples of it since the Unix epoch.
    pub slide_ms: i64,
    /// B: W(d) = M(d) − B, in milliseconds.
    pub delay_ms: i64,
    /// Index of the tumbling definition of its panes.
    pub pane: usize,
}

impl SlidingDefinition {
    /// The starts of the windows that hold the instant `at`: from the first, up to before the second.
    pub fn starts_around(&self, at: i64) -> (i64, i64) {
        (self.starts_until(at - self.size_ms), self.starts_until(at))
    }

    /// The first start after the instant `at`.
    pub fn starts_until(&self, at: i64) -> i64 {
        super::floor(at, self.slide_ms) + self.slide_ms
    }
}

/// A session window: readings of a device of which none is `gap_ms` or more after the one before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SessionDefinition {
    /// G: the silence that ends a session, in milliseconds; the session ends so long after its newest reading.
    pub gap_ms: i64,
    /// B: W(d) = M(d) − B, in milliseconds.
    pub delay_ms: i64,
}

/// The windows of a topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WindowConfig {
    pub(super) definitions: Vec<WindowDefinition>,
    pub(super) sliding: Vec<SlidingDefinition>,
    pub(super) sessions: Vec<SessionDefinition>,
    pub(super) allowed_lateness_ms: i64,
    /// For how long of server time a slot that is not complete stays open, in milliseconds.
    pub gap_open_ms: i64,
    /// After how long of server time without data open windows fire as incomplete, in milliseconds.
    pub idle_after_ms: i64,
}

/// Why a set of window definitions cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowConfigError {
    /// None given, or more than 8.
    #[error("a topic has 1 to 8 window definitions of each kind, at least one of them tumbling")]
    Count,
    /// A size, slide or gap that is not positive, or a negative delay or lateness.
    #[error("window sizes, slides and gaps must be positive, delays and the allowed lateness not negative")]
    Sign,
    /// Not in order of size, or two of one size, or not multiples of the shortest.
    #[error("sizes of tumbling windows must increase, each a multiple of the shortest")]
    Order,
    /// A tumbling window longer than a day.
    #[error("a tumbling window is at most a day long")]
    Long,
    /// A window would be closed before it fires.
    #[error("no delay may exceed the shortest definition's delay plus the allowed lateness")]
    Delay,
    /// A slide that is not shorter than its size.
    #[error("a sliding window must begin more often than it is long")]
    Slide,
    /// Nothing to put a sliding window together from.
    #[error("a sliding window needs a tumbling one whose size divides its size and its slide")]
    NoPane,
    /// Two sliding definitions of one size and slide, or two sessions of one gap.
    #[error("two window definitions are alike")]
    Twice,
    /// A text that is no definition.
    #[error("`{0}` is no window: expected SIZE:DELAY, SIZE/SLIDE:DELAY or session GAP:DELAY, in seconds")]
    Text(String),
}

const fn divisor(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { divisor(b, a % b) }
}

impl WindowConfig {
    /// Tumbling window `definitions`, shortest first, with one allowed lateness L.
    pub fn new(definitions: Vec<WindowDefinition>, allowed_lateness_ms: i64) -> Result<Self, WindowConfigError> {
        let shortest = *definitions.first().ok_or(WindowConfigError::Count)?;
        if definitions.len() > 8 {
            return Err(WindowConfigError::Count);
        }
        if allowed_lateness_ms < 0 || definitions.iter().any(|d| d.size_ms <= 0 || d.delay_ms < 0) {
            return Err(WindowConfigError::Sign);
        }
        if definitions.iter().any(|d| d.size_ms > DAY_MS) {
            return Err(WindowConfigError::Long); // its hour could leave memory while it still changes
        }
        if definitions.windows(2).any(|pair| pair[0].size_ms >= pair[1].size_ms)
            || definitions.iter().any(|d| d.size_ms % shortest.size_ms != 0)
        {
            return Err(WindowConfigError::Order);
        }
        let config = Self {
            definitions,
            sliding: Vec::new(),
            sessions: Vec::new(),
            allowed_lateness_ms,
            gap_open_ms: 2 * DAY_MS,
            idle_after_ms: 15 * MINUTE_MS,
        };
        config.definitions.iter().try_for_each(|d| config.check_delay(d.delay_ms))?;
        Ok(config)
    }

    fn check_delay(&self, delay_ms: i64) -> Result<(), WindowConfigError> {
        if delay_ms < 0 {
            return Err(WindowConfigError::Sign);
        }
        let longest = self.definitions[0].delay_ms + self.allowed_lateness_ms;
        if delay_ms > longest { Err(WindowConfigError::Delay) } else { Ok(()) }
    }

    /// The same with windows of `size_ms` that begin every `slide_ms`. Their panes are the longest tumbling windows that fit.
    pub fn with_sliding(mut self, size_ms: i64, slide_ms: i64, delay_ms: i64) -> Result<Self, WindowConfigError> {
        if size_ms <= 0 || slide_ms <= 0 {
            return Err(WindowConfigError::Sign);
        }
        if slide_ms >= size_ms {
            return Err(WindowConfigError::Slide);
        }
        self.check_delay(delay_ms)?;
        let longest = divisor(size_ms, slide_ms);
        let pane = self.definitions.iter().rposition(|d| longest % d.size_ms == 0).ok_or(WindowConfigError::NoPane)?;
        if self.sliding_of(size_ms, slide_ms).is_some() {
            return Err(WindowConfigError::Twice);
        }
        if self.sliding.len() == 8 {
            return Err(WindowConfigError::Count);
        }
        self.sliding.push(SlidingDefinition { size_ms, slide_ms, delay_ms, pane });
        Ok(self)
    }

    /// The same with sessions that end after `gap_ms` without a reading.
    pub fn with_session(mut self, gap_ms: i64, delay_ms: i64) -> Result<Self, WindowConfigError> {
        if gap_ms <= 0 {
            return Err(WindowConfigError::Sign);
        }
        self.check_delay(delay_ms)?;
        if self.session_of(gap_ms).is_some() {
            return Err(WindowConfigError::Twice);
        }
        if self.sessions.len() == 8 {
            return Err(WindowConfigError::Count);
        }
        self.sessions.push(SessionDefinition { gap_ms, delay_ms });
        Ok(self)
    }

    /// Reads definitions from a text, in seconds and with commas: `10:60,300:120,300/10:120,session 900:60`.
    pub fn parse(text: &str, allowed_lateness_ms: i64) -> Result<Self, WindowConfigError> {
        let no_window = |part: &str| WindowConfigError::Text(part.to_owned());
        let (mut tumbling, mut sliding, mut sessions) = (Vec::new(), Vec::new(), Vec::new());
        for part in text.split(',').map(str::trim) {
            let seconds = |digits: &str| {
                i64::from_str(digits.trim()).ok().and_then(|s| s.checked_mul(1_000)).ok_or_else(|| no_window(part))
            };
            let (length, delay) = part.split_once(':').ok_or_else(|| no_window(part))?;
            let delay_ms = seconds(delay)?;
            if let Some(gap) = length.strip_prefix("session ") {
                sessions.push((seconds(gap)?, delay_ms));
            } else if let Some((size, slide)) = length.split_once('/') {
                sliding.push((seconds(size)?, seconds(slide)?, delay_ms));
            } else {
                tumbling.push(WindowDefinition { size_ms: seconds(length)?, delay_ms });
            }
        }
        let config = Self::new(tumbling, allowed_lateness_ms)?;
        let config = sliding.into_iter().try_fold(config, |c, (size, slide, delay)| c.with_sliding(size, slide, delay))?;
        sessions.into_iter().try_fold(config, |c, (gap, delay)| c.with_session(gap, delay))
    }

    /// The tumbling definitions, shortest first.
    pub fn definitions(&self) -> &[WindowDefinition] {
        &self.definitions
    }

    /// The sliding definitions.
    pub fn sliding(&self) -> &[SlidingDefinition] {
        &self.sliding
    }

    /// The session definitions.
    pub fn sessions(&self) -> &[SessionDefinition] {
        &self.sessions
    }

    /// L, in milliseconds.
    pub const fn allowed_lateness_ms(&self) -> i64 {
        self.allowed_lateness_ms
    }

    /// Index of the tumbling definition of that size.
    pub fn of_size(&self, size_ms: i64) -> Option<usize> {
        self.definitions.iter().position(|d| d.size_ms == size_ms)
    }

    /// Index of the sliding definition of that size and slide.
    pub fn sliding_of(&self, size_ms: i64, slide_ms: i64) -> Option<usize> {
        self.sliding.iter().position(|d| (d.size_ms, d.slide_ms) == (size_ms, slide_ms))
    }

    /// Index of the session definition of that gap.
    pub fn session_of(&self, gap_ms: i64) -> Option<usize> {
        self.sessions.iter().position(|d| d.gap_ms == gap_ms)
    }

    /// The slot of a device that reports every `interval_ms`: the smallest definition not shorter than that, else the longest.
    pub fn slot(&self, interval_ms: i64) -> Slot {
        let definition = self.definitions.iter().position(|d| d.size_ms >= interval_ms).unwrap_or(self.definitions.len() - 1);
        let needed = (self.definitions[definition].size_ms / interval_ms.max(1)).max(1);
        Slot { definition, needed: u32::try_from(needed).unwrap_or(u32::MAX) }
    }

    /// Start of the latest shortest window that lies wholly behind `newest` − B0 − L, plus its size: everything before is behind.
    pub(super) fn passed_until(&self, newest: i64) -> i64 {
        let shortest = self.definitions[0];
        super::floor(newest - shortest.delay_ms - self.allowed_lateness_ms, shortest.size_ms)
    }
}

impl Default for WindowConfig {
    /// Temperature: 10 s with B = 1 min, 5 min with B = 2 min, L = 10 min.
    fn default() -> Self {
        let definitions = vec![
            WindowDefinition { size_ms: 10_000, delay_ms: MINUTE_MS },
            WindowDefinition { size_ms: 5 * MINUTE_MS, delay_ms: 2 * MINUTE_MS },
        ];
        Self {
            definitions,
            sliding: Vec::new(),
            sessions: Vec::new(),
            allowed_lateness_ms: 10 * MINUTE_MS,
            gap_open_ms: 48 * HOUR_MS,
            idle_after_ms: 15 * MINUTE_MS,
        }
    }
}

/// The window by which a device's completeness is judged, and how many readings complete it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot {
    pub(super) definition: usize,
    pub(super) needed: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn refused(text: &str, expected: WindowConfigError) {
        assert_eq!(WindowConfig::parse(text, 10_000), Err(expected), "{text}");
    }

    #[test]
    fn read_from_a_text() {
        let config = WindowConfig::parse("10:60,300:120,300/10:120, session 900:60", 600_000).expect("valid");
        let plain = WindowConfig::default();
        assert_eq!(config.definitions(), plain.definitions());
        assert_eq!(config.sliding(), [SlidingDefinition { size_ms: 300_000, slide_ms: 10_000, delay_ms: 120_000, pane: 0 }]);
        assert_eq!(config.sessions(), [SessionDefinition { gap_ms: 900_000, delay_ms: 60_000 }]);
        assert_eq!(WindowConfig::parse("10:60,300:120", 600_000), Ok(plain));
        // The longest pane that fits.
        let config = WindowConfig::parse("1:0,10:0,60:0,90/60:0", 0).expect("valid");
        assert_eq!(config.sliding()[0].pane, 1);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for text in ["10", "", "10:", "a:b", "10:60,", "session900:60", "10/:5", "99999999999999999:1"] {
            assert!(matches!(WindowConfig::parse(text, 0), Err(WindowConfigError::Text(_))), "{text}");
        }
        refused("0:0", WindowConfigError::Sign);
        refused("10:0,25:0", WindowConfigError::Order);
        refused("60:0,172800:0", WindowConfigError::Long);
        refused("10:5,20:16", WindowConfigError::Delay);
        refused("10:5,20/10:16", WindowConfigError::Delay);
        refused("10:5,session 20:16", WindowConfigError::Delay);
        refused("10:5,20/0:5", WindowConfigError::Sign);
        refused("10:5,session 20:-1", WindowConfigError::Sign);
        refused("10:5,20/20:5", WindowConfigError::Slide);
        refused("10:5,25/10:5", WindowConfigError::NoPane);
        refused("10:5,40/20:5,40/20:6", WindowConfigError::Twice);
        refused("10:5,session 20:5,session 20:6", WindowConfigError::Twice);
        refused("session 20:5", WindowConfigError::Count);
    }

    #[test]
    fn windows_around_an_instant() {
        let of = SlidingDefinition { size_ms: 30, slide_ms: 10, delay_ms: 0, pane: 0 };
        assert_eq!(of.starts_around(30), (10, 40)); // [10, 40), [20, 50), [30, 60)
        assert_eq!(of.starts_around(29), (0, 30));
        assert_eq!(of.starts_around(-1), (-30, 0));
        let uneven = SlidingDefinition { size_ms: 25, slide_ms: 10, delay_ms: 0, pane: 0 };
        assert_eq!(uneven.starts_around(25), (10, 30)); // [10, 35), [20, 45)
        assert_eq!(uneven.starts_around(24), (0, 30));
    }
}
