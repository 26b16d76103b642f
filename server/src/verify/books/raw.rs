//! The tables of accepted readings and fixes, where the store has them: day by day the number of rows and a sum of their hashes, and of a
//! day in which these are not as they should be, row by row.

use super::Books;
use crate::store::{RawRow, RawTable};
use crate::verify::recompute::Recomputed;
use crate::verify::report::Law;
use crate::verify::scan::{Held, Source, scan};
use domain::engine::{Content, Disposition, Record};
use domain::time::{DAY_MS, ProcessingTime};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

/// The tables, as people call what is in them.
const TABLES: [(RawTable, &str); 2] = [(RawTable::Readings, "reading"), (RawTable::Positions, "fix")];

/// Rows of a day, and the sum of their hashes.
type Days = BTreeMap<i64, (u64, u64)>;

fn count(days: &mut Days, row: &RawRow<'_>) {
    let mut hasher = DefaultHasher::new();
    row.hash(&mut hasher);
    let day = days.entry(row.at.div_euclid(DAY_MS)).or_default();
    *day = (day.0 + 1, day.1.wrapping_add(hasher.finish()));
}

/// What the tables should hold.
#[derive(Default)]
pub(super) struct RawRows([Days; 2]);

impl RawRows {
    /// A record of the stretch that the tables cover.
    pub(super) fn take(&mut self, record: &Record<'_>, disposition: Disposition, position: u64, received_at: ProcessingTime) {
        if let Some((table, row)) = row_of(record, disposition, position, received_at) {
            count(&mut self.0[table as usize], &row);
        }
    }
}

/// The row of a record, where it has one.
fn row_of<'r>(
    record: &'r Record<'_>,
    disposition: Disposition,
    position: u64,
    received_at: ProcessingTime,
) -> Option<(RawTable, RawRow<'r>)> {
    if disposition != Disposition::Accepted {
        return None;
    }
    let (table, at, values) = match &record.content {
        Content::Reading { reading, .. } => {
            let (humidity, battery) = (reading.humidity.map(|h| h.0), reading.battery.map(|b| b.0));
            let values = [Some(reading.temperature.0), humidity, battery, Some(reading.status as i32)];
            (RawTable::Readings, reading.at, values)
        }
        Content::Fix { fix, .. } => (RawTable::Positions, fix.at, [Some(fix.longitude_e6), Some(fix.latitude_e6), None, None]),
        _ => return None,
    };
    let device = Cow::Borrowed(record.device()?);
    Some((table, RawRow { position, at: at.ms(), received_at: received_at.ms(), device, values }))
}

fn date(day: i64) -> String {
    super::at(day * DAY_MS).to_string()[..10].to_owned()
}

fn told(row: Option<&RawRow<'_>>) -> String {
    row.map_or_else(
        || "nothing".to_owned(),
        |RawRow { at, received_at, device, values, .. }| {
            let (at, received_at) = (super::at(*at), super::at(*received_at));
            format!("{:?} of {device} at {at}, received {received_at}", values.iter().flatten().collect::<Vec<_>>())
        },
    )
}

impl Books<'_> {
    /// The tables against what they should hold.
    pub(super) async fn raw_rows(&mut self, expected: &RawRows, recomputed: &Recomputed) -> anyhow::Result<()> {
        let mut summary = Vec::new();
        for ((table, what), expected) in TABLES.into_iter().zip(&expected.0) {
            let (mut found, partition) = (Days::new(), self.log.partition());
            let each = |row: RawRow<'_>| count(&mut found, &row);
            if !self.subject.store.raw_rows(table, partition, (i64::MIN, i64::MAX), each).await? {
                return Ok(());
            }
            // Days go as a whole, and a late row may have come to one of them since.
            let kept_from = self.forgotten.readings.div_euclid(DAY_MS);
            let is_other = |day: &i64| {
                let (expected, found) = (expected.get(day), found.get(day));
                let has_less = found.map_or(0, |(rows, _)| *rows) < expected.map_or(0, |(rows, _)| *rows);
                expected != found && !(*day < kept_from && has_less)
            };
            let days: BTreeSet<i64> = expected.keys().chain(found.keys()).copied().filter(is_other).collect();
            if let Some(first) = days.first() {
                self.raw_day(table, what, *first, recomputed).await?;
            }
            for day in days.iter().skip(1) {
                let rows = |days: &Days| days.get(day).map_or(0, |(rows, _)| *rows);
                let (expected, found, day) = (rows(expected), rows(&found), date(*day));
                self.report.breaks(Law::Readings, || {
                    format!("rows of {day}, each a {what}: expected {expected}; found {found}, or not the same ones")
                });
            }
            summary.push(format!("{} rows, each a {what}", found.values().map(|(rows, _)| rows).sum::<u64>()));
        }
        self.report.summarise(Law::Readings, summary.join(", "));
        Ok(())
    }

    /// One day of a table, row by row.
    async fn raw_day(&mut self, table: RawTable, what: &str, day: i64, recomputed: &Recomputed) -> anyhow::Result<()> {
        let (mut found, mut twice) = (BTreeMap::new(), Vec::new());
        let span = (day * DAY_MS, (day + 1) * DAY_MS);
        let each = |row: RawRow<'_>| {
            let row = RawRow { device: row.device.into_owned().into(), ..row };
            if let Some(other) = found.insert(row.position, row) {
                twice.push(other.position);
            }
        };
        self.subject.store.raw_rows(table, self.log.partition(), span, each).await?;
        for position in twice {
            self.report.breaks(Law::Readings, || format!("{what} at position {position}: it is there twice"));
        }
        let (log, key) = recomputed.log();
        let (step, covered) = (log.step() as usize, self.covered.next_block);
        scan(log, key, |place, held| {
            let (Held::Records(batch) | Held::Replay(_, batch)) = &held else { return Ok(()) };
            for (record, position) in batch.records().zip((place.first_record..).step_by(step)) {
                let disposition = recomputed.fate(position).expect("only decisions without effect have no fate");
                let own =
                    row_of(&record, disposition, position, place.received_at).filter(|_| log.is_before(covered, place, position));
                if let Some((_, row)) = own.filter(|(of, row)| *of == table && (span.0..span.1).contains(&row.at)) {
                    let found = found.remove(&position);
                    if found.as_ref() != Some(&row) {
                        self.report.breaks(Law::Readings, || {
                            format!(
                                "{what} at position {position}: expected {}; found {}",
                                told(Some(&row)),
                                told(found.as_ref())
                            )
                        });
                    }
                }
            }
            Ok(())
        })?;
        for row in found.into_values() {
            self.report.breaks(Law::Readings, || {
                format!("{what} at position {}: expected nothing; found {}", row.position, told(Some(&row)))
            });
        }
        Ok(())
    }

    /// The same where the log does not go back to the beginning: their number alone.
    pub(super) async fn raw_counts(&mut self) -> anyhow::Result<()> {
        if !matches!(self.log, Source::Files(_)) {
            return Ok(()); // Those of all partitions are counted together.
        }
        let Some((rows, _)) = self.subject.store.row_counts().await? else { return Ok(()) };
        let accepted = self.covered.readings;
        let oldest = self.hours.keys().next().copied().unwrap_or(i64::MAX);
        let may_lack = self.forgotten.readings > oldest;
        if rows as u64 != accepted && !(may_lack && (rows as u64) < accepted) {
            self.report.breaks(Law::Readings, || format!("{accepted} readings were accepted, and the table holds {rows}"));
        }
        self.report.summarise(Law::Readings, format!("{rows} rows"));
        Ok(())
    }
}
