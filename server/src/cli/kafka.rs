//! `rantai kafka`: topics, and what to do about a gap.

use super::open;
use server::config::KafkaToolArgs;
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
