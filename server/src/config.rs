//! What the server is told on its command line or in its environment.

use anyhow::Context;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Options of `rantai serve`.
#[derive(Clone, Debug, clap::Args)]
pub struct ServeArgs {
    /// Address to listen on. Until sign-in exists only loopback is allowed
    #[arg(long, env = "RANTAI_LISTEN", default_value = "127.0.0.1:3000")]
    pub listen: SocketAddr,
    /// Folder with the log and the database; made where absent
    #[arg(long, env = "RANTAI_DATA_DIR", default_value = "./data-dir")]
    pub data_dir: PathBuf,
    /// Folder with the browser bundle and style sheets [default: `site` beside the folder of the program]
    #[arg(long, env = "RANTAI_SITE_DIR")]
    pub site_dir: Option<PathBuf>,
    /// File to which the newest closed window of every device is written every 5 seconds, replaced as a whole
    #[arg(long, env = "RANTAI_LATEST_FILE")]
    pub latest_file: Option<PathBuf>,
    /// Temperature windows as SIZE:DELAY pairs in seconds, shortest first
    #[arg(long, env = "RANTAI_WINDOWS", default_value = "10:60,300:120")]
    pub windows: String,
    /// Allowed lateness of temperature records, in seconds
    #[arg(long, env = "RANTAI_ALLOWED_LATENESS", default_value_t = 600)]
    pub allowed_lateness: i64,
    /// Longest time between two checkpoints while records come in, in milliseconds: as much of the log a restart reads again
    #[arg(long, env = "RANTAI_CHECKPOINT_MS", default_value_t = 5_000)]
    pub checkpoint_ms: u64,
    /// Mark this server as a demonstration: loopback only
    #[arg(long, env = "RANTAI_DEMO")]
    pub demo: bool,
}

impl ServeArgs {
    /// Refuses what would open people's data to a network.
    pub fn check(&self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.listen.ip().is_loopback(),
            "will not listen on {}: pages need no sign-in yet, so only loopback addresses (127.0.0.1, [::1]) are allowed",
            self.listen
        );
        Ok(())
    }

    /// The windows of the topic `temperature`.
    pub fn window_config(&self) -> anyhow::Result<domain::window::WindowConfig> {
        let definitions = self.windows.split(',').map(|pair| {
            let (size, delay) = pair.split_once(':').context("expected SIZE:DELAY")?;
            Ok(domain::window::WindowDefinition {
                size_ms: size.trim().parse::<i64>()?.saturating_mul(1_000),
                delay_ms: delay.trim().parse::<i64>()?.saturating_mul(1_000),
            })
        });
        let definitions = definitions.collect::<anyhow::Result<_>>().with_context(|| format!("--windows {}", self.windows))?;
        Ok(domain::window::WindowConfig::new(definitions, self.allowed_lateness.saturating_mul(1_000))?)
    }

    /// The folder of the bundle.
    pub fn site_dir(&self) -> anyhow::Result<PathBuf> {
        if let Some(dir) = &self.site_dir {
            return Ok(dir.clone());
        }
        let program = std::env::current_exe().context("find the program's own folder")?;
        Ok(program.parent().and_then(|dir| dir.parent()).unwrap_or(&program).join("site"))
    }
}
