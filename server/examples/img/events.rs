//! What the workload on small limits is recorded for: where no crash fell upon it, nothing is proved of it.

use crate::trace::Op;

/// Something that happened to a file of the log, or of the memory of identities: the last thing before a crash, or undone by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Event {
    /// A segment behind the first one was begun.
    SegmentBegun,
    /// One was written to.
    SegmentWritten,
    /// A segment was deleted.
    SegmentDeleted,
    /// A run of identities was begun.
    RunBegun,
    /// One was written to.
    RunWritten,
    /// A run was deleted.
    RunDeleted,
    /// The filter of a full generation of runs got its name.
    FilterNamed,
    /// A filter was deleted.
    FilterDeleted,
    /// The name of a segment behind the first one is missing.
    SegmentLost,
    /// A segment that was deleted is there again.
    SegmentBack,
    /// The name of a run is missing.
    RunLost,
    /// A run that was deleted is there again.
    RunBack,
    /// The name of a filter is missing.
    FilterLost,
    /// A filter that was deleted is there again.
    FilterBack,
}

/// A file that they are about.
enum File {
    /// A segment, with the number of its first block.
    Segment(u64),
    Run,
    Filter,
}

impl File {
    fn at(path: &str) -> Option<Self> {
        let (_, name) = path.rsplit_once('/')?;
        match name.split_once('.')? {
            (number, "seg") => number.parse().ok().map(File::Segment),
            (_, "run") => Some(File::Run),
            (_, "filter") => Some(File::Filter),
            _ => None,
        }
    }
}

impl Event {
    pub const ALL: [Event; 14] = [
        Event::SegmentBegun,
        Event::SegmentWritten,
        Event::SegmentDeleted,
        Event::RunBegun,
        Event::RunWritten,
        Event::RunDeleted,
        Event::FilterNamed,
        Event::FilterDeleted,
        Event::SegmentLost,
        Event::SegmentBack,
        Event::RunLost,
        Event::RunBack,
        Event::FilterLost,
        Event::FilterBack,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Event::SegmentBegun => "a later segment begun",
            Event::SegmentWritten => "a later segment written",
            Event::SegmentDeleted => "a segment deleted",
            Event::RunBegun => "a run begun",
            Event::RunWritten => "a run written",
            Event::RunDeleted => "a run deleted",
            Event::FilterNamed => "a filter named",
            Event::FilterDeleted => "a filter deleted",
            Event::SegmentLost => "a later segment lost",
            Event::SegmentBack => "a deleted segment back",
            Event::RunLost => "a run lost",
            Event::RunBack => "a deleted run back",
            Event::FilterLost => "a filter lost",
            Event::FilterBack => "a deleted filter back",
        }
    }

    /// What `op` is of them.
    pub fn of(op: &Op) -> Option<Self> {
        let (Op::Create { path, .. } | Op::Write { path, .. } | Op::Rename { to: path, .. } | Op::Unlink { path }) = op else {
            return None;
        };
        match (op, File::at(path)?) {
            (Op::Create { .. }, File::Segment(2..)) => Some(Event::SegmentBegun),
            (Op::Write { .. }, File::Segment(2..)) => Some(Event::SegmentWritten),
            (Op::Unlink { .. }, File::Segment(_)) => Some(Event::SegmentDeleted),
            (Op::Create { .. }, File::Run) => Some(Event::RunBegun),
            (Op::Write { .. }, File::Run) => Some(Event::RunWritten),
            (Op::Unlink { .. }, File::Run) => Some(Event::RunDeleted),
            (Op::Rename { .. }, File::Filter) => Some(Event::FilterNamed),
            (Op::Unlink { .. }, File::Filter) => Some(Event::FilterDeleted),
            _ => None,
        }
    }

    /// What it is where a crash undoes it: changes of names alone can be.
    pub const fn undone(self) -> Option<Self> {
        match self {
            Event::SegmentBegun => Some(Event::SegmentLost),
            Event::SegmentDeleted => Some(Event::SegmentBack),
            Event::RunBegun => Some(Event::RunLost),
            Event::RunDeleted => Some(Event::RunBack),
            Event::FilterNamed => Some(Event::FilterLost),
            Event::FilterDeleted => Some(Event::FilterBack),
            _ => None,
        }
    }
}
