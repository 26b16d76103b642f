//! Late records for their pages.

use super::{AppErrorOf, EngineBackend};
use crate::admission::{Batch, Format, IdentityKey};
use crate::pipeline::wall_clock;
use crate::side::{Cause, LATE, SideRow};
use app::api::{Crumb, LateRecord, LateView};
use app::error::AppError;
use domain::coldchain::Range;
use domain::engine::Content;
use domain::time::{EventTime, Zone};

/// Rows of a page of the list.
const ROWS: usize = 50;

impl EngineBackend {
    /// The newest late records before `position`, or of all.
    pub(super) async fn late_view(&self, position: Option<u64>) -> Result<LateView, AppError> {
        let of_room = self.pipeline.ask(move |room| {
            let rows: Vec<SideRow> = room.side_before(LATE, position.unwrap_or(u64::MAX)).take(ROWS + 1).collect();
            (room.engine.totals().all.late, rows)
        });
        let (count, rows) = of_room.await.map_err(AppErrorOf::from)?;
        // One more than is shown tells whether there are older ones.
        let rows = self.side_newest(LATE, rows, position, ROWS + 1).await.map_err(AppErrorOf::from)?;
        let is_more = rows.len() > ROWS;
        let records = rows.into_iter().take(ROWS).filter_map(|row| self.late_record_of(row)).collect();
        Ok(LateView { taken_at: wall_clock(), count, records, is_more })
    }

    /// The late record at `position`.
    pub(super) async fn late_at(&self, position: u64) -> Result<Option<LateRecord>, AppError> {
        let row = self.side_at(LATE, position).await.map_err(AppErrorOf::from)?;
        Ok(row.and_then(|row| self.late_record_of(row)))
    }

    fn late_record_of(&self, row: SideRow) -> Option<LateRecord> {
        let Cause::Late { window_start, lateness_ms } = row.cause else { return None };
        let sensor = row.device_id.as_deref().and_then(|id| self.master.sensor_by_id(id));
        let facility = sensor.map(|sensor| self.master.facility(self.master.sensor(sensor).facility));
        // Without the key its identity would be another one, which nobody asks for here.
        let read = Batch::parse(row.raw.clone().into(), Format::Record, &row.source, &IdentityKey([0; 16])).ok();
        let measured = read.as_ref().and_then(|batch| match batch.records().next()?.content {
            Content::Reading { reading, .. } => Some(reading.temperature),
            _ => None,
        });
        let range = sensor.map_or(Range::FRIDGE, |sensor| self.master.sensor(sensor).range);
        Some(LateRecord {
            position: row.position,
            received_at: row.received_at,
            source: row.source,
            event_id: row.event_id,
            device_id: row.device_id,
            facility: facility.map(|f| Crumb { code: f.code.clone(), name: f.name.clone() }),
            zone: facility.map_or(Zone::Wib, |f| f.zone),
            ts: row.ts,
            window: (EventTime::from_ms(window_start), EventTime::from_ms(window_start + self.sizes[0])),
            lateness_ms,
            measured: measured.map(|temperature| (temperature, range)),
            raw: row.raw,
        })
    }
}
