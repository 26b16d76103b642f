//! Messages that have to arrive before a checkpoint may be committed: sent again until brokers have acknowledged them. Only those that
//! failed are sent again, and one that brokers will never take, being too large, holds nobody up for ever.

use super::produce::{Outgoing, Producer};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaErrorCode;
use std::time::Duration;

/// Before what was not acknowledged is sent again.
const PAUSE: Duration = Duration::from_millis(500);

/// Whether a message will fare no better the next time.
fn is_final(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    matches!(code, Some(RDKafkaErrorCode::MessageSizeTooLarge | RDKafkaErrorCode::InvalidRecord))
}

/// Sends `count` messages, with the topics that `message` says, until each is acknowledged or refused for good; those refused, with why.
/// After each round `waits` is told what some of them wait for, where they do.
pub(super) async fn insist<'a>(
    producer: &Producer,
    count: usize,
    message: impl Fn(usize) -> (&'a str, Outgoing<'a>),
    mut waits: impl FnMut(Option<(&'a str, &KafkaError)>),
) -> Vec<(usize, KafkaError)> {
    let (mut left, mut refused): (Vec<usize>, Vec<_>) = ((0..count).collect(), Vec::new());
    loop {
        let sent = std::mem::take(&mut left);
        let results = producer.deliver_each(sent.iter().map(|index| message(*index))).await;
        let (mut failed, mut doubtful) = (None, Vec::new());
        for (index, result) in sent.into_iter().zip(results) {
            match result {
                Ok(()) => {}
                Err(error) if is_final(&error) => doubtful.push(index),
                Err(error) => {
                    left.push(index);
                    failed = Some((message(index).0, error));
                }
            }
        }
        // A batch is refused as a whole: alone each message shows whether it is the one.
        for index in doubtful {
            match producer.deliver_each(std::iter::once(message(index))).await.pop() {
                Some(Err(error)) if is_final(&error) && !domain::planted("refused-message-is-tried-for-ever") => {
                    refused.push((index, error));
                }
                Some(Err(error)) => {
                    left.push(index);
                    failed = Some((message(index).0, error));
                }
                Some(Ok(())) | None => {}
            }
        }
        waits(failed.as_ref().map(|(topic, error)| (*topic, error)));
        if left.is_empty() {
            return refused;
        }
        tokio::time::sleep(PAUSE).await;
    }
}
