//! What other builds left in a database: a state in another format, and an older schema.

use crate::store::{NOW, Place, device, empty, encoded, named, places, totals};
use domain::engine::EngineConfig;
use domain::window::WindowConfig;
use server::store::{Checkpoint, StoreAddress, StoreError};

/// What another build encoded in its own way is not read, and nobody loses a place over it; of a state with nothing in it any build makes
/// its own.
#[tokio::test(flavor = "multi_thread")]
async fn a_state_in_another_format_is_refused() {
    const OTHER: &str = "update input_position set state_format = 99, totals = null, epoch = epoch + 10";
    let config = WindowConfig::default();
    for place in places().await {
        let store = place.open().await;
        store.load(0, "log", NOW).await.expect("loads");
        store.load(2, "log", NOW).await.expect("loads");
        place.run(OTHER, OTHER).await;
        let epoch = store.load(0, "log", NOW).await.expect("nothing was committed").epoch;
        store.checkpoint(&empty(1, 7), epoch, &config).await.expect("writes");
        let epoch = store.load(2, "log", NOW).await.expect("nothing was committed").epoch;
        store.checkpoint(&Checkpoint { partition: 2, ..empty(1, 9) }, epoch, &config).await.expect("writes");
        store.check_format().await.expect("it is ours");
        place.run("update input_position set state_format = 99", "update input_position set state_format = 99").await;
        for partition in [0, 2] {
            let refused = store.load(partition, "log", NOW).await.expect_err("refused");
            assert!(matches!(refused, StoreError::OtherFormat { found: 99, .. }), "{refused}");
        }
        for refused in [store.check_format().await, store.peek(0, "log").await.map(drop)] {
            let refused = refused.expect_err("refused").to_string();
            assert!(refused.contains("in format 99") && refused.contains("`rantai rebuild`"), "{refused}");
        }
        if !place.is_sqlite() {
            assert!(matches!(store.overview().await, Err(StoreError::OtherFormat { .. })));
        }
        // Whoever holds it goes on.
        store.checkpoint(&Checkpoint { partition: 2, ..empty(9, 10) }, epoch, &config).await.expect("writes");
        // It can be made anew without being read; until that is done it stays what it is.
        let (logs, rules) = ([(0, "log".to_owned())], EngineConfig::default());
        let (made, fresh) = store.begin_rebuild(&logs, &rules, NOW).await.expect("begins");
        assert!(fresh[0].epoch > epoch);
        drop(made);
        assert!(matches!(store.load(0, "log", NOW).await, Err(StoreError::OtherFormat { .. })));
        let (made, _) = store.begin_rebuild(&logs, &rules, NOW).await.expect("begins");
        made.commit().await.expect("commits");
        assert_eq!(store.load(0, "log", NOW).await.expect("loads").next_block, 1);
        store.close().await;
    }
}

/// A database of the first release is taken over as it is.
#[tokio::test(flavor = "multi_thread")]
async fn the_first_schema_is_brought_up() {
    let place = Place { address: StoreAddress::Sqlite, dir: tempfile::tempdir().expect("a directory") };
    place.run(concat!(include_str!("../../migrations/sqlite/0001_init.sql"), "pragma user_version = 1;"), "").await;
    place
        .run(
            "insert into input_position values (0, 4, 17, 5, 6);
             insert into identity_runs values ('a.run', 12, 99);
             insert into window_blocks values (1, 10000, 0, 0, 0, 0, 0, 0, x'');
             insert into api_keys values (1, 'gateway', 'ingest', x'00', 5);",
            "",
        )
        .await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.dir.path().join("rantai.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("connects");
    sqlx::query("insert into facts values ('totals', $1)")
        .bind(postcard::to_stdvec(&totals(16)).expect("encodes"))
        .execute(&pool)
        .await
        .expect("runs");
    sqlx::query("insert into devices values (3, $1)").bind(encoded(&device("d", 5))).execute(&pool).await.expect("runs");
    pool.close().await;
    let store = place.open().await;
    // Nobody knows how its state is encoded; this time somebody does.
    let refused = store.load(0, "log", NOW).await;
    assert!(matches!(refused, Err(StoreError::OtherFormat { partition: 0, found: 0 })), "{refused:?}");
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(place.dir.path().join("rantai.db"));
    let pool = sqlx::SqlitePool::connect_with(options).await.expect("connects");
    let ours = sqlx::query("update input_position set state_format = $1").bind(server::store::STATE_FORMAT);
    ours.execute(&pool).await.expect("runs");
    let books = "insert into daily_books values (0, -1, 'gateway', 'temperature', 16, 16, 0, 0, 0)";
    sqlx::raw_sql(books).execute(&pool).await.expect("runs");
    pool.close().await;
    let loaded = store.load(0, "log", NOW).await.expect("loads");
    assert_eq!((loaded.next_block, loaded.epoch, loaded.now.ms()), (17, 5, 5));
    assert_eq!((loaded.totals, loaded.devices), (totals(16), vec![(3, device("d", 5))]));
    assert_eq!(loaded.runs, [named("a.run", 12, 99)]);
    store.windows((0, 10_000), (0, 9), i64::MIN, i64::MAX, |_| ()).await.expect("reads");
    // From now on the log is known.
    assert!(matches!(store.load(0, "another", NOW).await, Err(StoreError::OtherLog)));
    store.close().await;
}
