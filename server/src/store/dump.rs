//! All that is stored as canonical text: equal texts mean equal states, whichever database holds them.

use super::{Database, DerivedKind, Store, StoreError, either};
use crate::side::{DEAD, LATE};
use domain::engine::{ClosedDerived, DeviceState, Totals};
use domain::window::WindowConfig;
use futures::TryStreamExt;
use sqlx::Row;
use std::borrow::Cow;
use std::fmt::Write;

const TEXT: &str = "writing to a string";

/// A table of accepted records, one a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RawTable {
    /// Readings: temperature, humidity, battery charge and what the device says of itself.
    Readings,
    /// Fixes of trackers: longitude and latitude.
    Positions,
}

/// A row of such a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RawRow<'a> {
    /// Its place in the log.
    pub position: u64,
    /// When it happened, in milliseconds.
    pub at: i64,
    /// When it came in, in milliseconds.
    pub received_at: i64,
    /// Its device.
    pub device: Cow<'a, str>,
    /// What it says, in whole thousandths or millionths.
    pub values: [Option<i32>; 4],
}

impl Store {
    /// What the log led to, line by line: positions, counters, devices, hours, closed windows, side outputs. Without what differs from
    /// process to process though the log is the same: epochs, when a checkpoint was taken, secrets, files. Held in memory: for checks.
    pub async fn dump(&self, config: &WindowConfig) -> Result<String, StoreError> {
        let mut text = String::new();
        let positions: Vec<(i64, i64, i64, Option<Vec<u8>>)> = either!(self, pools => {
            sqlx::query_as("select partition, next, received_at_ms, totals from input_position order by partition")
                .fetch_all(&pools.readers)
                .await?
        });
        for (partition, next, received_at_ms, totals) in positions {
            let totals = totals.map(|bytes| postcard::from_bytes::<Totals>(&bytes)).transpose();
            let totals = totals.map_err(|e| super::broken("input_position", partition, e))?;
            writeln!(text, "position {partition}: next {next}, received {received_at_ms}, {totals:?}").expect(TEXT);
        }
        let devices: Vec<(i64, i64, Vec<u8>)> = either!(self, pools => {
            sqlx::query_as("select partition, device_index, state from devices order by partition, device_index")
                .fetch_all(&pools.readers)
                .await?
        });
        for (partition, index, state) in devices {
            let state: DeviceState = postcard::from_bytes(&state).map_err(|e| super::broken("devices", index, e))?;
            writeln!(text, "device {partition}/{index}: {state:?}").expect(TEXT);
        }
        let hours: Vec<(i64, i64, Vec<u8>)> = either!(self, pools => {
            sqlx::query_as("select partition, start_ms, cells from hours order by partition, start_ms")
                .fetch_all(&pools.readers)
                .await?
        });
        for (partition, start, cells) in hours {
            let cells = super::derived::hour(start, &cells)?.cells();
            writeln!(text, "hour {partition}/{start}: {cells:?}").expect(TEXT);
        }
        for (definition, size_ms) in (0..).zip(config.definitions().iter().map(|d| d.size_ms)) {
            let mut windows = Vec::new();
            self.windows((definition, size_ms), (0, i32::MAX as u32), i64::MIN, i64::MAX, |w| windows.push(w)).await?;
            windows.sort_unstable_by_key(|w| (w.device, w.window.start));
            for window in windows {
                writeln!(text, "window {size_ms}/{}: {:?}", window.device, window.window).expect(TEXT);
            }
        }
        for kind in [DerivedKind::Joined, DerivedKind::Session, DerivedKind::Located] {
            let mut all = Vec::new();
            let each =
                |partition, of: ClosedDerived| all.push((partition, of.device, of.derived.span(), format!("{:?}", of.derived)));
            self.derived(kind, (0, i32::MAX as u32), (i64::MIN, i64::MAX), each).await?;
            // Which checkpoint took which of them along differs from process to process.
            all.sort_unstable();
            for (partition, device, _, derived) in all {
                writeln!(text, "derived {partition}/{device}: {derived}").expect(TEXT);
            }
        }
        let mut versions = Vec::new();
        self.hour_versions((i64::MIN, i64::MAX), i64::MAX, |partition, version| versions.push((partition, version))).await?;
        for (partition, version) in versions {
            writeln!(text, "hour {partition}/{} at {}: {:?}", version.hour, version.known_at, version.cells).expect(TEXT);
        }
        for partition in self.partitions().await? {
            for version in self.count_versions(partition as u32).await? {
                writeln!(text, "stood {partition}: {version:?}").expect(TEXT);
            }
        }
        for (partition, book) in self.day_books(None, i64::MIN).await? {
            writeln!(text, "day {partition}: {book:?}").expect(TEXT);
        }
        for kind in [LATE, DEAD] {
            let mut position = 0;
            loop {
                let rows = self.side_after(kind, position, 1_000).await?;
                let Some(last) = rows.last() else { break };
                position = last.position;
                for row in &rows {
                    writeln!(text, "side {kind}: {row:?}").expect(TEXT);
                }
            }
        }
        for decided in self.decisions(0, u64::MAX >> 1).await? {
            writeln!(text, "decision: {decided:?}").expect(TEXT);
        }
        Ok(text)
    }

    /// Number of raw readings kept, and of windows in tables for BI; `None` where the store keeps none.
    pub async fn row_counts(&self) -> Result<Option<(i64, i64)>, StoreError> {
        let Database::Postgres(pools, _) = &self.database else { return Ok(None) };
        let counts = sqlx::query_as("select (select count(*) from bi.readings), (select count(*) from bi.windows)");
        Ok(Some(counts.fetch_one(&pools.readers).await?))
    }

    /// Whether the store has tables of accepted records.
    pub fn has_raw_rows(&self) -> bool {
        matches!(self.database, Database::Postgres(..))
    }

    /// Tells the rows of `partition` in `table` that happened in [from, to) to `each`, in no order; whether the store has the table.
    pub async fn raw_rows(
        &self,
        table: RawTable,
        partition: u32,
        (from, to): (i64, i64),
        mut each: impl FnMut(RawRow<'_>),
    ) -> Result<bool, StoreError> {
        let Database::Postgres(pools, _) = &self.database else { return Ok(false) };
        let text = match table {
            RawTable::Readings => {
                "select position, at_ms, received_at_ms, device_id, temperature, humidity, battery, status::integer from readings
                 where partition = $1 and at_ms >= $2 and at_ms < $3"
            }
            RawTable::Positions => {
                "select position, at_ms, received_at_ms, device_id, longitude_e6, latitude_e6, null::integer, null::integer from positions
                 where partition = $1 and at_ms >= $2 and at_ms < $3"
            }
        };
        let mut rows = sqlx::query(text).bind(partition as i32).bind(from).bind(to).fetch(&pools.readers);
        while let Some(row) = rows.try_next().await? {
            each(RawRow {
                position: row.try_get::<i64, _>(0)? as u64,
                at: row.try_get(1)?,
                received_at: row.try_get(2)?,
                device: Cow::Borrowed(row.try_get(3)?),
                values: [row.try_get(4)?, row.try_get(5)?, row.try_get(6)?, row.try_get(7)?],
            });
        }
        Ok(true)
    }
}
