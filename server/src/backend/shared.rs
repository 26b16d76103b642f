//! One answer for all who ask the same at the same time.

use std::time::Instant;
use tokio::sync::Mutex;

/// An answer that costs much and is the same for everybody. Who asks gets one that was begun after that, never an older one; so a
/// thousand who ask at once cost two.
#[derive(Debug, Default)]
pub struct Shared<T>(Mutex<Option<(Instant, T)>>);

impl<T: Clone> Shared<T> {
    /// What `make` answers, or what it answered to somebody who asked meanwhile.
    pub async fn get<E>(&self, make: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        let asked = Instant::now();
        let mut last = self.0.lock().await;
        if let Some((begun, answer)) = &*last
            && *begun >= asked
        {
            return Ok(answer.clone());
        }
        let begun = Instant::now();
        let answer = make.await?;
        *last = Some((begun, answer.clone()));
        Ok(answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test]
    async fn many_at_once_cost_two_and_nobody_gets_an_old_one() {
        let (shared, made) = (Shared::default(), AtomicU32::new(0));
        let answer = || async {
            tokio::task::yield_now().await;
            Ok::<_, ()>(made.fetch_add(1, Ordering::Relaxed) + 1)
        };
        let all = futures::future::join_all((0..100).map(|_| shared.get(answer()))).await;
        assert!(all.iter().all(Result::is_ok) && made.load(Ordering::Relaxed) <= 2, "{all:?}");
        let before = made.load(Ordering::Relaxed);
        assert_eq!(shared.get(answer()).await, Ok(before + 1));
    }
}
