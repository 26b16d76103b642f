//! Who a record is that names nothing, found here for itself: its source and its bytes. Everybody else asks admission.

use crate::admission::Batch;
use domain::engine::Record;
use domain::event::Identity;
use std::hash::{DefaultHasher, Hash, Hasher};

/// `record`, number `index` of `batch`: as admission knows it where it names something, by its source and bytes otherwise.
pub(super) fn known_by_itself<'r>(record: Record<'r>, batch: &Batch, index: usize) -> Record<'r> {
    let tells_when = record.sequence.is_some() || batch.at(index).is_some();
    let is_named = batch.event_id(index).is_some() || (record.topic.is_some() && batch.device_id(index).is_some() && tells_when);
    if is_named {
        return record;
    }
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, &record.source, batch.raw_record(index)).hash(&mut hasher);
        u128::from(hasher.finish())
    };
    Record { identity: Some(Identity(half(0) << 64 | half(1))), ..record }
}
