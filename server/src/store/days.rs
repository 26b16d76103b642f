//! The books of each day: what became of its records, by source and topic; and whether they agree with the counters.

use super::{Checkpoint, Database, Store, StoreError, broken, either};
use domain::engine::{DayBook, Tally, Totals};
use domain::planted;
use domain::time::{DAY_MS, EventTime};
use sqlx::{PgConnection, SqliteConnection};
use std::collections::{BTreeMap, BTreeSet};

/// The day under which the sums of those stand that retention has taken.
pub const TAKEN: i64 = -1;

/// What to do about stored figures that do not agree.
pub const HINT: &str =
    "`rantai verify` tells what else, and `rantai rebuild`, on Kafka `rantai kafka rebuild`, makes the state anew from the log";

/// Partition, day, source, topic, and the five counters.
type Row = (i64, i64, String, String, i64, i64, i64, i64, i64);

/// What there is of a book already counts no more: a checkpoint has it as it stands.
macro_rules! replaced {
    () => {
        " on conflict (partition, day_ms, source, topic) do update
         set received = excluded.received, accepted = excluded.accepted, duplicate = excluded.duplicate, late = excluded.late,
             rejected = excluded.rejected"
    };
}

/// The columns of [`Row`], and of the table.
macro_rules! columns {
    () => {
        "insert into daily_books (partition, day_ms, source, topic, received, accepted, duplicate, late, rejected) "
    };
}

/// The counters of a book, in the order of its columns.
fn counters(tally: &Tally) -> [i64; 5] {
    [tally.received, tally.accepted, tally.duplicate, tally.late, tally.rejected].map(|count| count as i64)
}

/// Puts the books of a checkpoint into SQLite within a transaction.
pub(super) async fn put_days_sqlite(tx: &mut SqliteConnection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    for chunk in checkpoint.days.chunks(500) {
        let mut query = sqlx::QueryBuilder::new(columns!());
        query.push_values(chunk, |mut row, book| {
            row.push_bind(i64::from(checkpoint.partition)).push_bind(book.day_ms);
            row.push_bind(book.source.as_str()).push_bind(DayBook::topic_name(book.topic));
            for count in counters(&book.tally) {
                row.push_bind(count);
            }
        });
        query.push(replaced!());
        query.build().execute(&mut *tx).await?;
    }
    Ok(())
}

/// The same into Postgres.
pub(super) async fn put_days_postgres(tx: &mut PgConnection, checkpoint: &Checkpoint) -> Result<(), StoreError> {
    for chunk in checkpoint.days.chunks(10_000) {
        let column = |of: usize| -> Vec<i64> { chunk.iter().map(|book| counters(&book.tally)[of]).collect() };
        sqlx::query(concat!(
            columns!(),
            "select $1, * from unnest($2::bigint[], $3::text[], $4::text[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[],
                 $9::bigint[])",
            replaced!()
        ))
        .bind(i64::from(checkpoint.partition))
        .bind(chunk.iter().map(|book| book.day_ms).collect::<Vec<_>>())
        .bind(chunk.iter().map(|book| book.source.as_str()).collect::<Vec<_>>())
        .bind(chunk.iter().map(|book| DayBook::topic_name(book.topic)).collect::<Vec<_>>())
        .bind(column(0))
        .bind(column(1))
        .bind(column(2))
        .bind(column(3))
        .bind(column(4))
        .execute(&mut *tx)
        .await?;
    }
    Ok(())
}

/// A day as people name it.
fn day_name(day_ms: i64) -> String {
    if day_ms == TAKEN {
        return "all that retention has taken".to_owned();
    }
    EventTime::from_ms(day_ms).to_string().split('T').next().unwrap_or_default().to_owned()
}

/// A row as people name it.
pub fn book_name(book: &DayBook) -> String {
    format!("{} of source {}, topic {}", day_name(book.day_ms), book.source, DayBook::topic_name(book.topic))
}

fn read(
    (partition, day_ms, source, topic, received, accepted, duplicate, late, rejected): Row,
) -> Result<(u32, DayBook), StoreError> {
    let known = DayBook::topic_named(&topic);
    let topic = known.ok_or_else(|| broken("daily_books", day_name(day_ms), format!("there is no topic `{topic}`")))?;
    let [received, accepted, duplicate, late, rejected] = [received, accepted, duplicate, late, rejected].map(|n| n as u64);
    let tally = Tally { received, accepted, duplicate, late, rejected };
    Ok((partition as u32, DayBook { day_ms, source, topic, tally }))
}

/// What is needed of the books of a partition to check them, no longer than there are sources and topics: a row that is not the sum of its
/// parts, those of the newest day, and all days together.
pub(super) struct StoredDays {
    wrong: Vec<Row>,
    today: Vec<Row>,
    sums: Vec<Row>,
}

/// Reads [`StoredDays`] through `$executor`.
macro_rules! stored {
    ($executor:expr, $partition:expr, $totals:expr) => {{
        let wrong = sqlx::query_as(
            "select partition, day_ms, source, topic, received, accepted, duplicate, late, rejected from daily_books
             where partition = $1 and received <> accepted + duplicate + late + rejected order by day_ms limit 1",
        )
        .bind($partition)
        .fetch_all($executor)
        .await?;
        let today = sqlx::query_as(
            "select partition, day_ms, source, topic, received, accepted, duplicate, late, rejected from daily_books
             where partition = $1 and day_ms >= $2",
        )
        .bind($partition)
        .bind($totals.today_ms())
        .fetch_all($executor)
        .await?;
        let sums = sqlx::query_as(
            "select partition, cast(-1 as bigint), source, topic, cast(sum(received) as bigint), cast(sum(accepted) as bigint),
                 cast(sum(duplicate) as bigint), cast(sum(late) as bigint), cast(sum(rejected) as bigint)
             from daily_books where partition = $1 group by partition, source, topic",
        )
        .bind($partition)
        .fetch_all($executor)
        .await?;
        $crate::store::days::StoredDays::new(wrong, today, sums)
    }};
}
pub(super) use stored;

impl StoredDays {
    pub fn new(wrong: Vec<Row>, today: Vec<Row>, sums: Vec<Row>) -> Self {
        Self { wrong, today, sums }
    }
}

/// Whether every row is the sum of its parts, the newest day what the counters say of it, and all days together the counters of each
/// source and topic. An error names the first row that is not.
pub(super) fn check(stored: StoredDays, totals: &Totals) -> Result<(), StoreError> {
    if planted("books-of-days-are-believed") {
        return Ok(());
    }
    let wrong = |key: String, what: String| Err(broken("daily_books", key, format!("{what}; {HINT}")));
    let books = |rows: Vec<Row>| -> Result<Vec<DayBook>, StoreError> {
        let mut books = rows.into_iter().map(|row| Ok(read(row)?.1)).collect::<Result<Vec<_>, StoreError>>()?;
        books.sort_unstable();
        Ok(books)
    };
    if let Some(book) = books(stored.wrong)?.into_iter().next() {
        return wrong(book_name(&book), format!("received is not the sum of the other four, {:?}", book.tally));
    }
    let mut today: BTreeMap<(String, u8), DayBook> =
        totals.today().map(|book| ((book.source.clone(), book.topic), book)).collect();
    for book in books(stored.today)? {
        let counted = today.remove(&(book.source.clone(), book.topic));
        if counted.as_ref() != Some(&book) {
            let counted = counted.map(|book| book.tally);
            return wrong(book_name(&book), format!("it says {:?}, and the counters {counted:?}", book.tally));
        }
    }
    if let Some((_, book)) = today.pop_first() {
        return wrong(book_name(&book), format!("it is missing, and the counters say {:?}", book.tally));
    }
    let (mut by_source, mut by_topic) = (BTreeMap::new(), totals.by_topic.map(|_| Tally::default()));
    for book in books(stored.sums)? {
        by_topic[usize::from(book.topic)].add(&book.tally);
        by_source.entry(book.source).or_insert_with(Tally::default).add(&book.tally);
    }
    let counted: BTreeMap<String, Tally> = totals.by_source.iter().cloned().collect();
    let names: BTreeSet<&String> = by_source.keys().chain(counted.keys()).collect();
    if let Some(source) = names.into_iter().find(|source| by_source.get(*source) != counted.get(*source)) {
        let (found, counted) = (by_source.get(source), counted.get(source));
        return wrong(format!("all of source {source}"), format!("its days come to {found:?}, and the counters to {counted:?}"));
    }
    for (topic, (found, counted)) in by_topic.iter().zip(&totals.by_topic).enumerate() {
        if found != counted {
            let topic = DayBook::topic_name(topic as u8);
            return wrong(
                format!("all of topic {topic}"),
                format!("its days come to {found:?}, and the counters to {counted:?}"),
            );
        }
    }
    if totals.heard_from.len() != totals.by_source.len() {
        return wrong(
            "all sources".to_owned(),
            format!("{} were heard of, and {} have counters", totals.heard_from.len(), totals.by_source.len()),
        );
    }
    let is_sum = |t: &Tally| t.received == t.accepted + t.duplicate + t.late + t.rejected;
    if let Some((start, before)) = totals.begun_hours.iter().find(|(_, before)| !is_sum(before)) {
        let start = EventTime::from_ms(*start);
        return wrong(
            format!("the hour from {start}"),
            format!("what was counted before it is not the sum of its parts, {before:?}"),
        );
    }
    let (mut of_hours, mut of_day) = (Tally::default(), Tally::default());
    let is_today = |start: &i64| (0..DAY_MS).contains(&(start - totals.today_ms()));
    totals.by_hour().filter(|(start, _)| is_today(start)).for_each(|(_, tally)| of_hours.add(&tally));
    totals.today().for_each(|book| of_day.add(&book.tally));
    if of_hours != of_day {
        return wrong("the newest day".to_owned(), format!("its hours come to {of_hours:?}, and the counters to {of_day:?}"));
    }
    Ok(())
}

/// The sums by partition, source and topic of what comes `from`, as rows of [`TAKEN`].
macro_rules! sums {
    ($from:literal) => {
        concat!(
            "select partition, -1, source, topic, cast(sum(received) as bigint), cast(sum(accepted) as bigint),
                 cast(sum(duplicate) as bigint), cast(sum(late) as bigint), cast(sum(rejected) as bigint)
             from ",
            $from,
            " group by partition, source, topic"
        )
    };
}

/// Adds them to those that are there.
macro_rules! added {
    () => {
        "on conflict (partition, day_ms, source, topic) do update
         set received = daily_books.received + excluded.received, accepted = daily_books.accepted + excluded.accepted,
             duplicate = daily_books.duplicate + excluded.duplicate, late = daily_books.late + excluded.late,
             rejected = daily_books.rejected + excluded.rejected"
    };
}

impl Store {
    /// The books of the days from `from` on, of one partition or of all, in order of partition, day, source and topic: the sums of those
    /// that retention has taken first.
    pub async fn day_books(&self, partition: Option<u32>, from: i64) -> Result<Vec<(u32, DayBook)>, StoreError> {
        let rows: Vec<Row> = either!(self, pools => {
            sqlx::query_as(
                "select partition, day_ms, source, topic, received, accepted, duplicate, late, rejected from daily_books
                 where (partition = $1 or $1 is null) and day_ms >= $2",
            )
            .bind(partition.map(i64::from))
            .bind(from)
            .fetch_all(&pools.readers)
            .await?
        });
        let mut books = rows.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        // Databases order texts each in their own way.
        books.sort_unstable();
        Ok(books)
    }

    /// C1 by day, see `check`, of what is stored of `partition`.
    pub async fn check_days(&self, partition: u32, totals: &Totals) -> Result<(), StoreError> {
        check(either!(self, pools => stored!(&pools.writer, i64::from(partition), totals)), totals)
    }

    /// Puts the days that end before `cutoff` together; how many rows that changed. Their sum is kept: with it the books of all days still are
    /// what the counters say. The newest day that is stored stays, because a checkpoint may write it once more.
    pub(super) async fn forget_days(&self, cutoff: i64) -> Result<u64, StoreError> {
        let before = cutoff - cutoff.rem_euclid(DAY_MS);
        let gone = match &self.database {
            // One writer: nothing comes between.
            Database::Sqlite(pools) => {
                let mut tx = pools.begin().await?;
                sqlx::query(concat!(
                    "insert into daily_books (partition, day_ms, source, topic, received, accepted, duplicate, late, rejected) ",
                    sums!(
                        "daily_books of_day
                     where day_ms >= 0 and day_ms < $1
                         and day_ms < (select max(day_ms) from daily_books newest where newest.partition = of_day.partition)"
                    ),
                    " ",
                    added!()
                ))
                .bind(before)
                .execute(&mut *tx)
                .await?;
                let gone = sqlx::query(
                    "delete from daily_books
                     where day_ms >= 0 and day_ms < $1
                         and day_ms < (select max(day_ms) from daily_books newest where newest.partition = daily_books.partition)",
                )
                .bind(before)
                .execute(&mut *tx)
                .await?;
                tx.commit().await?;
                gone.rows_affected()
            }
            // Several processes do this at once, and others write meanwhile: added is what this very statement has deleted.
            Database::Postgres(pools, _) => sqlx::query(concat!(
                "with gone as (
                     delete from daily_books
                     where day_ms >= 0 and day_ms < $1
                         and day_ms < (select max(day_ms) from daily_books newest where newest.partition = daily_books.partition)
                     returning partition, source, topic, received, accepted, duplicate, late, rejected
                 )
                 insert into daily_books (partition, day_ms, source, topic, received, accepted, duplicate, late, rejected) ",
                sums!("gone"),
                " ",
                added!()
            ))
            .bind(before)
            .execute(&pools.writer)
            .await?
            .rows_affected(),
        };
        Ok(gone)
    }
}
