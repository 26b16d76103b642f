//! What becomes of a record as far as its own content, the time and the known identities tell.

use super::{CLOCK_RESET_BEFORE, Content, Disposition, EngineConfig, Identities, Record, Seen};
use crate::event::{BodyHash, Identity, Reason};
use crate::join::Fix;
use crate::planted;
use crate::time::{EventTime, ProcessingTime};

/// What becomes of a record as far as its own content, the time and the known identities tell.
///
/// `has_seen`: the record's running number was noted before. That outlives the memory of identities, and a record that only this still
/// tells of is a duplicate too: whether its body was another, nobody knows any more.
pub(super) fn judge(
    config: &EngineConfig,
    record: &Record<'_>,
    now: ProcessingTime,
    identities: &mut impl Identities,
    has_seen: bool,
) -> Disposition {
    let reason = match &record.content {
        Content::Rejected(reason) => Some(*reason),
        Content::Reading { reading, .. } => wrong_time(config, reading.at, now),
        Content::Fault { fault, .. } => wrong_time(config, fault.at, now).or(Some(Reason::SensorFault)),
        Content::Fix { fix, .. } => wrong_time(config, fix.at, now),
        Content::Other { at } => at.and_then(|at| wrong_time(config, at, now)),
    };
    let reason = match (reason, record.identity) {
        (Some(reason), _) => reason,
        (None, None) => return Disposition::Accepted,
        (None, Some(identity)) => match identities.check_in(identity, record.body) {
            Seen::New if has_seen && !planted("running-number-counts-twice") => return Disposition::Duplicate,
            Seen::New => return Disposition::Accepted,
            Seen::Same if planted("duplicate-is-accepted") => return Disposition::Accepted,
            Seen::Other if planted("conflict-is-a-duplicate") => return Disposition::Duplicate,
            Seen::Same => return Disposition::Duplicate,
            Seen::Other if record.is_natural => Reason::ConflictingReading,
            Seen::Other => Reason::IdConflict,
        },
    };
    // A repeated request is all duplicates, its rejected records too: one dead letter each, however often a
    // sender tries. Its own identity stays free, so that a record refused for its time can be accepted later.
    match record.identity.map(|identity| identities.check_in(rejected_identity(identity, record.body, reason), record.body)) {
        None | Some(Seen::New) => Disposition::Rejected(reason),
        Some(_) if planted("repeated-request-makes-dead-letters") => Disposition::Rejected(reason),
        Some(Seen::Same | Seen::Other) => Disposition::Duplicate,
    }
}

/// The identity under which a rejected record is remembered. Identity and body are keyed fingerprints already.
fn rejected_identity(identity: Identity, body: BodyHash, reason: Reason) -> Identity {
    if planted("refused-once-refused-for-ever") {
        return identity;
    }
    let salt = (u128::from(body.0) << 64) | (u128::from(reason as u8) + 1);
    Identity(identity.0 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

/// The fix of a record that another partition accepted and handed on, for the device of that id, where it is new here: it came neither
/// this way before nor as a record of this partition. Who wrote it is not known, so what it says has to be possible.
pub(super) fn new_here(
    config: &EngineConfig,
    (device, record): (&str, &Record<'_>),
    now: ProcessingTime,
    identities: &mut impl Identities,
) -> Option<Fix> {
    let (Content::Fix { fix, .. }, Some(identity)) = (&record.content, record.identity) else { return None };
    // Accepted by the clock of another broker.
    let is_possible = fix.at.ms() <= now.ms() + 2 * config.future_ms
        && fix.at >= CLOCK_RESET_BEFORE
        && fix.at.ms() >= now.ms() - config.retention_ms;
    let came_itself = || identities.seen(identity, record.body) == Seen::Same;
    if !is_possible || came_itself() {
        return None;
    }
    let seen = identities.check_in(handed_on_identity(identity, device), record.body);
    (seen == Seen::New || planted("fix-handed-on-counts-twice")).then_some(*fix)
}

/// The identity under which a fix is remembered that another partition handed on for the device of that id.
pub(super) fn handed_on_identity(identity: Identity, device: &str) -> Identity {
    // FNV-1a: several devices may travel with one tracker.
    let hash = device.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    let salt = (u128::from(hash) << 64) | 0x4649_5845_5320_4f4e;
    Identity(identity.0 ^ salt.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835))
}

fn wrong_time(config: &EngineConfig, at: EventTime, now: ProcessingTime) -> Option<Reason> {
    if (at.ms() > now.ms() && planted("future-moves-watermark"))
        || (at < CLOCK_RESET_BEFORE && planted("reset-clock-is-believed"))
    {
        None
    } else if at.ms() > now.ms() + config.future_ms {
        Some(Reason::Future)
    } else if at < CLOCK_RESET_BEFORE {
        Some(Reason::ClockReset)
    } else if at.ms() < now.ms() - config.retention_ms {
        Some(Reason::TooOld)
    } else {
        None
    }
}
