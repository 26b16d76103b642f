//! What questions see of the input: an engine with what no committed checkpoint holds yet.

use super::delays::Delays;
use super::rates::Rates;
use crate::identities::FrozenTable;
use crate::letters::Decided;
use crate::side::{SideBlock, SideRow, SideRows};
use domain::engine::{ClosedWindow, Engine};
use domain::feed::PartitionNow;
use domain::time::ProcessingTime;
use hashbrown::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What questions see, between two blocks.
pub struct Room {
    /// The engine.
    pub engine: Engine,
    /// Side outputs that no checkpoint has taken yet.
    pub(crate) side: [SideRows; 2],
    /// The checkpoint that is being written.
    pub(super) in_flight: Option<InFlight>,
    /// Windows that closed since the last checkpoint.
    pub(crate) closed: Vec<ClosedWindow>,
    /// Every dead letter that was decided, and the block that did.
    pub(crate) decided: HashMap<u64, u64>,
    /// Decisions since the last checkpoint.
    pub(crate) decisions: Vec<Decided>,
    /// When the last checkpoint was committed.
    pub checkpoint_at: Option<ProcessingTime>,
    /// When this store was made.
    pub uptime_start: ProcessingTime,
    /// Bytes of the log, where it is ours.
    pub log_bytes: u64,
    /// The partitions of Kafka that it is put together from.
    pub partitions: Vec<PartitionNow>,
    /// Intake.
    pub rates: Rates,
    /// How long it was on its way.
    pub delays: Delays,
    /// Number of identities known.
    pub(crate) identities: usize,
    /// Where the store has devices that have another index here: partition and index there.
    pub(crate) places: HashMap<u32, (u32, u32)>,
    /// Records in the log, and of those the processed ones, both counted from the same beginning.
    pub(crate) admitted: Arc<AtomicU64>,
    pub(crate) processed: u64,
}

/// What a checkpoint took along and is not committed yet.
pub(super) struct InFlight {
    pub(super) begun: Instant,
    pub(super) records: u64,
    pub(super) windows: Arc<Vec<ClosedWindow>>,
    pub(super) side: Arc<[SideRows; 2]>,
    pub(super) decisions: Arc<Vec<Decided>>,
    pub(super) frozen: Option<FrozenTable>,
}

impl Room {
    /// A room around `engine` with nothing that is not stored.
    pub fn new(engine: Engine, uptime_start: ProcessingTime, decided: impl IntoIterator<Item = (u64, u64)>) -> Self {
        Self {
            processed: engine.totals().all.received,
            engine,
            side: Default::default(),
            in_flight: None,
            closed: Vec::new(),
            decided: decided.into_iter().collect(),
            decisions: Vec::new(),
            checkpoint_at: None,
            uptime_start,
            log_bytes: 0,
            partitions: Vec::new(),
            rates: Rates::default(),
            delays: Delays::default(),
            identities: 0,
            places: HashMap::new(),
            admitted: Arc::default(),
        }
    }

    /// Records admitted to the log and not yet processed.
    pub fn lag(&self) -> u64 {
        self.admitted.load(Ordering::Relaxed).saturating_sub(self.processed)
    }

    /// For how long the checkpoint that is being written has been.
    pub fn checkpoint_waits(&self) -> Duration {
        self.in_flight.as_ref().map_or(Duration::ZERO, |flight| flight.begun.elapsed())
    }

    /// Windows that closed and are in no committed checkpoint yet.
    pub fn closed_windows(&self) -> impl Iterator<Item = &ClosedWindow> {
        self.in_flight.iter().flat_map(|flight| flight.windows.iter()).chain(&self.closed)
    }

    /// Side outputs that are in no committed checkpoint yet, oldest first.
    pub fn side_rows(&self, kind: usize) -> impl DoubleEndedIterator<Item = SideRow> {
        self.side_blocks(kind).flat_map(SideBlock::rows)
    }

    /// The same after `position`.
    pub fn side_after(&self, kind: usize, position: u64) -> impl Iterator<Item = SideRow> {
        let blocks = self.side_blocks(kind).filter(move |block| block.positions.1 > position);
        blocks.flat_map(SideBlock::rows).filter(move |row| row.position > position)
    }

    /// The same before `position`, newest first.
    pub fn side_before(&self, kind: usize, position: u64) -> impl Iterator<Item = SideRow> {
        let blocks = self.side_blocks(kind).rev().filter(move |block| block.positions.0 < position);
        blocks.flat_map(|block| block.rows().rev()).filter(move |row| row.position < position)
    }

    /// The side output at `position`, where no committed checkpoint has it yet.
    pub fn side_at(&self, kind: usize, position: u64) -> Option<SideRow> {
        let mut blocks = self.side_blocks(kind);
        let block = blocks.find(|block| (block.positions.0..=block.positions.1).contains(&position))?;
        block.rows().find(|row| row.position == position)
    }

    fn side_blocks(&self, kind: usize) -> impl DoubleEndedIterator<Item = &SideBlock> {
        self.in_flight.iter().flat_map(move |flight| flight.side[kind].blocks()).chain(self.side[kind].blocks())
    }

    /// Whether something was decided of the dead letter at `position`.
    pub fn is_decided(&self, position: u64) -> bool {
        self.decided.contains_key(&position)
    }

    /// How many dead letters were decided.
    pub fn decided(&self) -> usize {
        self.decided.len()
    }

    /// Decisions that are in no committed checkpoint yet.
    pub fn decisions(&self) -> impl Iterator<Item = &Decided> {
        self.in_flight.iter().flat_map(|flight| flight.decisions.iter()).chain(&self.decisions)
    }

    /// The index under which the store has a device, and the partition where it is not the same in all.
    pub fn stored_as(&self, device: u32) -> (Option<u32>, u32) {
        self.places.get(&device).map_or((None, device), |(partition, index)| (Some(*partition), *index))
    }

    /// Number of identities known.
    pub fn identities(&self) -> usize {
        self.identities
    }
}
