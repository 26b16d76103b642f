//! Many who write at once: that SQLite has one writer is nobody's affair but the store's.

use crate::support::{Server, envelope, now_ms};
use futures::stream::{FuturesUnordered, StreamExt};
use server::store::{Store, StoreAddress};

/// Writers of each kind: senders, people who decide of dead letters, and other programs that make keys, each with the database open for itself.
const SENDERS: usize = 32;
const DECIDERS: usize = 16;
const KEYS: usize = 16;
/// What each of them does.
const TURNS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn sixty_four_at_once_and_no_error() {
    // Checkpoints all the time: they write too.
    let server = Server::start_with(&["--checkpoint-ms", "1"]).await;
    let wrong = |n: usize| envelope(&format!("w-{n}"), "d", now_ms(), "500");
    let reply = server.post_lines((0..DECIDERS * TURNS).map(wrong).collect::<Vec<_>>().join("\n")).await;
    assert_eq!(reply.json()["rejected"], DECIDERS * TURNS, "{}", reply.text);
    let server = &server;
    let send = async |n: usize| {
        for turn in 0..TURNS {
            server.accept(&[envelope(&format!("s-{n}-{turn}"), &format!("d{n}"), now_ms(), "4.5")]).await;
        }
    };
    let decide = async |n: usize| {
        for turn in 0..TURNS {
            let position = n * TURNS + turn + 1;
            if turn % 2 == 0 { server.discard(position).await } else { server.replay(position).await }
        }
    };
    let make = async |n: usize| {
        for turn in 0..TURNS {
            let store = Store::open(&StoreAddress::Sqlite, server.dir()).await.expect("opens");
            store.create_key(&format!("k-{n}-{turn}"), None, "ingest", now_ms()).await.expect("makes a key");
            store.close().await;
        }
    };
    let mut all = FuturesUnordered::new();
    all.extend((0..SENDERS).map(|n| Box::pin(send(n)) as std::pin::Pin<Box<dyn Future<Output = ()>>>));
    all.extend((0..DECIDERS).map(|n| Box::pin(decide(n)) as _));
    all.extend((0..KEYS).map(|n| Box::pin(make(n)) as _));
    let mut ended = 0;
    while all.next().await.is_some() {
        ended += 1;
    }
    assert_eq!(ended, 64);
    let [received, unique, .., rejected] = server.stats().await;
    // What was taken in again was refused again.
    let replayed = (DECIDERS * TURNS / 2) as u64;
    assert_eq!(unique, (SENDERS * TURNS) as u64);
    assert_eq!((received, rejected), (unique + 3 * replayed, 3 * replayed));
}
