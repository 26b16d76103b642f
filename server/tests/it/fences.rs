//! A process that lost its place: it changes no copy of a run of identities, which whoever takes a partition over reads from the database,
//! none that nobody named stays, and a state made anew is not its own.

use crate::store::{NOW, Place, empty, named, places, write_run};
use crate::support::until;
use domain::engine::EngineConfig;
use domain::window::WindowConfig;
use server::store::{Checkpoint, Store, StoreAddress, StoreError};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{Connection, Executor};
use std::borrow::Cow;
use std::path::Path;
use std::time::Duration;

/// A connection of the test's own; `None` where processes share no database.
async fn connect(place: &Place) -> Option<PgConnection> {
    match &place.address {
        StoreAddress::Sqlite => None,
        StoreAddress::Postgres(url) => Some(PgConnection::connect(url).await.expect("connects")),
    }
}

/// How many of the runs in the database have a copy, and how many of these nobody named.
async fn copies(connection: &mut PgConnection) -> (i64, i64) {
    let text = "select count(distinct p.name), count(distinct p.name) filter (where r.name is null)
                from identity_run_pieces p left join identity_runs r using (partition, name)";
    sqlx::query_as(text).fetch_one(connection).await.expect("counts")
}

/// What a restart with an empty folder would have of the run.
async fn fetched(store: &Store, dir: &Path, name: &str) -> Vec<u8> {
    store.fetch_runs(0, dir).await.expect("fetches");
    std::fs::read(dir.join(name)).expect("it was fetched")
}

#[tokio::test(flavor = "multi_thread")]
async fn who_lost_its_place_changes_no_run() {
    let config = WindowConfig::default();
    for place in places().await {
        let (zombie, owner) = (place.open().await, place.open().await);
        let old = zombie.load(0, "log", NOW).await.expect("loads").epoch;
        let [of_zombie, of_owner] = ["zombie", "owner"].map(|name| place.dir.path().join(name));
        write_run(&of_zombie, "a.run", 100);
        // Kept and not yet named when its place was lost.
        zombie.keep_run(0, old, &of_zombie.join("a.run")).await.expect("keeps");
        let new = owner.load(0, "log", NOW).await.expect("loads").epoch;
        let bytes = write_run(&of_owner, "a.run", 90);
        owner.fetch_runs(0, &of_owner).await.expect("has nothing to fetch");
        if let Some(mut connection) = connect(&place).await {
            assert_eq!(copies(&mut connection).await, (0, 0), "nobody named what the zombie kept");
        }
        owner.keep_run(0, new, &of_owner.join("a.run")).await.expect("keeps");
        let run = Some(("a.run".to_owned(), 90));
        owner.checkpoint(&Checkpoint { run, ..empty(1, 5) }, new, &config).await.expect("writes");
        // The same name again: names follow from the place in the log.
        let kept = zombie.keep_run(0, old, &of_zombie.join("a.run")).await;
        assert_eq!(matches!(kept, Err(StoreError::Fenced)), !place.is_sqlite(), "{kept:?}");
        let named_by_zombie = Checkpoint { run: Some(("z.run".to_owned(), 100)), ..empty(5, 6) };
        let forgotten_by_zombie = Checkpoint { forgotten_runs: vec!["a.run".to_owned()], ..empty(5, 6) };
        for checkpoint in [named_by_zombie, forgotten_by_zombie] {
            let refused = zombie.checkpoint(&checkpoint, old, &config).await;
            assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
        }
        assert_eq!(owner.load(0, "log", NOW).await.expect("loads").runs, [named("a.run", 4, 90)]);
        if let Some(mut connection) = connect(&place).await {
            assert_eq!(copies(&mut connection).await, (1, 0));
            assert!(fetched(&owner, &place.dir.path().join("third"), "a.run").await == bytes, "it is the owner's");
        }
        zombie.close().await;
        owner.close().await;
    }
}

/// Between the look at the epoch and the last piece nobody can take the partition over: else the pieces of one process would end up under
/// the name of another's.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_over_waits_for_a_copy_on_its_way() {
    for place in places().await {
        let Some(mut connection) = connect(&place).await else { continue };
        let (zombie, owner) = (place.open().await, place.open().await);
        let old = zombie.load(0, "log", NOW).await.expect("loads").epoch;
        let dir = place.dir.path().join("zombie");
        write_run(&dir, "a.run", 100);
        // The copy stands still behind its look at the epoch.
        let mut held = connection.begin().await.expect("begins");
        held.execute("lock table identity_run_pieces in access exclusive mode").await.expect("locks");
        let copy = tokio::spawn({
            let (zombie, run) = (zombie.clone(), dir.join("a.run"));
            async move { zombie.keep_run(0, old, &run).await }
        });
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        // Within a transaction it would be the same for ever.
        let mut watching = connect(&place).await.expect("a Postgres");
        let mut count = async |expected: i64| {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watching).await.expect("counts");
            (count >= expected).then_some(())
        };
        until("the copy waits", async || count(1).await).await;
        let taking = tokio::spawn({
            let owner = owner.clone();
            async move { owner.load(0, "log", NOW).await.map(|snapshot| snapshot.epoch) }
        });
        until("the other waits too, or has gone on", async || if taking.is_finished() { Some(()) } else { count(2).await }).await;
        assert!(!taking.is_finished(), "the partition was taken over under the copy");
        held.rollback().await.expect("lets go");
        copy.await.expect("ends").expect("keeps");
        assert!(taking.await.expect("ends").expect("loads") > old);
        // It was there when the partition was taken over, and nobody had named it: it goes.
        assert_eq!(copies(&mut connection).await, (1, 1));
        owner.fetch_runs(0, &place.dir.path().join("owner")).await.expect("has nothing to fetch");
        assert_eq!(copies(&mut connection).await, (0, 0));
        zombie.close().await;
        owner.close().await;
    }
}

/// Sooner than Postgres itself ends who says nothing.
const SOON: Duration = Duration::from_secs(12);

/// A connection of ours, as Postgres sees it, that has begun a checkpoint of partition 0.
async fn in_a_checkpoint(url: &str) -> PgConnection {
    let options: PgConnectOptions = url.parse().expect("an address");
    let mut connection = PgConnection::connect_with(&options.application_name("rantai")).await.expect("connects");
    connection.execute("begin; update input_position set next = next where partition = 0").await.expect("locks");
    connection
}

/// A process that is stopped in the middle of a checkpoint has its partition's row locked for as long as its connection lasts. Whoever takes
/// the partition over ends that: between two statements, and in the middle of a copy, which no time limit of Postgres ends. A rebuild, which
/// is silent while it computes, is waited for.
#[tokio::test(flavor = "multi_thread")]
async fn who_stands_still_keeps_no_partition() {
    for place in places().await {
        let StoreAddress::Postgres(url) = &place.address else { continue };
        let store = place.open().await;
        let mut epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        let mut copying = in_a_checkpoint(url).await;
        let mut copy = copying
            .copy_in_raw(
                "copy positions (at_ms, received_at_ms, position, longitude_e6, latitude_e6, partition, device_id) from stdin",
            )
            .await
            .expect("begins to copy");
        copy.send(&b"1\t"[..]).await.expect("sends");
        for is_copying in [true, false] {
            let mut idle = if is_copying { None } else { Some(in_a_checkpoint(url).await) };
            let taken = tokio::time::timeout(SOON, store.load(0, "log", NOW)).await.expect("in time").expect("takes over");
            assert!(taken.epoch > epoch);
            epoch = taken.epoch;
            if let Some(idle) = &mut idle {
                idle.execute("select 1").await.expect_err("its connection is gone");
            }
        }
        let ended = copy.send(&b"2\n"[..]).await.err();
        let ended = match ended {
            Some(error) => error,
            None => copy.finish().await.expect_err("its connection is gone"),
        };
        // Postgres says so, or has gone.
        let code = ended.as_database_error().and_then(|error| error.code().map(Cow::into_owned));
        assert!(code.as_deref().is_none_or(|code| code == "57P01"), "{ended}");

        let (rebuilding, _) = store.begin_rebuild(&[(0, "log".to_owned())], &EngineConfig::default(), NOW).await.expect("begins");
        let taking = tokio::spawn({
            let store = store.clone();
            async move { store.load(0, "log", NOW).await.map(|snapshot| snapshot.epoch) }
        });
        let mut watching = connect(&place).await.expect("a Postgres");
        let waiting = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                       and query_start < clock_timestamp() - interval '5 s'";
        until("it has waited for longer than for one that stands still", async || {
            let count: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watching).await.expect("counts");
            (count > 0 || taking.is_finished()).then_some(())
        })
        .await;
        assert!(!taking.is_finished(), "a rebuild was not waited for");
        rebuilding.commit().await.expect("was left alone");
        assert!(taking.await.expect("ends").expect("loads") > epoch);
        store.close().await;
    }
}

/// Who held a partition while its state was made anew writes no more, although the new state ends where its own did.
#[tokio::test(flavor = "multi_thread")]
async fn who_slept_through_a_rebuild_is_fenced() {
    let (config, rules) = (WindowConfig::default(), EngineConfig::default());
    for place in places().await {
        let store = place.open().await;
        let epoch = store.load(0, "log", NOW).await.expect("loads").epoch;
        store.checkpoint(&empty(1, 3), epoch, &config).await.expect("writes");
        let (mut made, _) = store.begin_rebuild(&[(0, "log".to_owned())], &rules, NOW).await.expect("begins");
        made.add(&empty(1, 3), &config).await.expect("adds");
        made.commit().await.expect("commits");
        let refused = store.checkpoint(&empty(3, 5), epoch, &config).await;
        assert!(matches!(refused, Err(StoreError::Fenced)), "{refused:?}");
        store.close().await;
    }
}
