//! `rantai kafka`: topics, the state against their messages and from them, and what to do about a gap.

use super::open;
use server::config::{KafkaStateArgs, KafkaToolArgs};
use server::kafka::setup::{AcceptGapArgs, SetupArgs, accept_gap, setup};

/// What can be done.
#[derive(clap::Subcommand)]
pub enum KafkaCommand {
    /// Make the topics that are missing, and check those that are there
    Setup {
        #[command(flatten)]
        tool: KafkaToolArgs,
        #[command(flatten)]
        args: SetupArgs,
    },
    /// Check that what is stored is what the messages lead to; ends with 1 and names the partition and the first law that is broken. No
    /// engine may be at work meanwhile
    Verify {
        #[command(flatten)]
        state: KafkaStateArgs,
    },
    /// Make all results anew from the messages alone. No engine may be at work meanwhile, and Kafka must have kept every message; a crash
    /// leaves the old state or the new one
    Rebuild {
        #[command(flatten)]
        state: KafkaStateArgs,
    },
    /// Let a partition go on although part of its log is gone from Kafka; noted in the database
    AcceptGap {
        #[command(flatten)]
        tool: KafkaToolArgs,
        #[command(flatten)]
        args: AcceptGapArgs,
    },
}

impl KafkaCommand {
    /// Does it.
    pub async fn run(self) -> anyhow::Result<()> {
        match self {
            KafkaCommand::Setup { tool, args } => {
                let kafka = tool.resolve()?.kafka();
                kafka.check()?;
                setup(&kafka, &args).await
            }
            KafkaCommand::Verify { state } => super::verify_kafka(&state).await,
            KafkaCommand::Rebuild { state } => super::rebuild_kafka(&state).await,
            KafkaCommand::AcceptGap { tool, args } => {
                let config = tool.resolve()?;
                config.kafka().check()?;
                let store = open(&config).await?;
                let done = accept_gap(&config.kafka(), &store, &args).await;
                store.close().await;
                done
            }
        }
    }
}
