//! Kafka's own brokers, started and ended by a test: three of them, one that is killed and comes back, one behind a wire that can be cut,
//! one that wants TLS and a password. Their libraries lie where the variable `RANTAI_TEST_KAFKA_LIBRARIES` says, as `cargo xtask test`
//! sees to.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A name for a cluster: 16 bytes in base64.
const CLUSTER: &str = "cmFudGFpLXRlc3RzLTAwMA";
/// A broker on a busy machine takes no longer to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ports that nobody listens on.
fn free_ports(count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind(("127.0.0.1", 0)).expect("a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

/// A broker, which is a controller too.
pub struct Broker {
    folder: PathBuf,
    port: u16,
    child: Option<Child>,
}

impl Broker {
    fn java(&self, main: &str) -> Command {
        let libraries = std::env::var_os("RANTAI_TEST_KAFKA_LIBRARIES").expect("was there when the cluster was made");
        let mut java = Command::new("java");
        java.current_dir(&self.folder).args(["-Xmx256m", "-cp"]).arg(Path::new(&libraries).join("*")).arg(main);
        java
    }

    /// Makes its folder; `format` are further arguments of Kafka's tool.
    fn make(&self, properties: &str, format: &[&str]) {
        fs::create_dir(&self.folder).expect("a folder");
        fs::write(self.folder.join("server.properties"), properties).expect("writes");
        let mut tool = self.java("kafka.tools.StorageTool");
        let made = tool.args(["format", "-t", CLUSTER, "-c", "server.properties"]).args(format).output().expect("Java starts");
        assert!(made.status.success(), "{}{}", String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    }

    /// Starts it; whether it is ready shows later.
    pub fn start(&mut self) {
        let log = File::create(self.folder.join("log")).expect("a log");
        let mut java = self.java("kafka.Kafka");
        java.arg("server.properties").stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        self.child = Some(java.spawn().expect("Java starts"));
    }

    /// Waits until it listens.
    pub fn wait(&mut self) {
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
            let has_ended = self.child.as_mut().is_none_or(|child| child.try_wait().expect("our own child").is_some());
            assert!(!has_ended && begun.elapsed() < PATIENCE, "the broker does not start: {}", log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("it runs");
            child.wait().expect("it has ended");
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Brokers with the numbers 1 and up.
pub struct Cluster {
    pub brokers: Vec<Broker>,
    /// Where to begin.
    pub address: String,
    /// Lives as long as they do.
    _dir: TempDir,
}

/// What one broker shows to clients.
#[derive(Default)]
pub struct Extra<'a> {
    /// Clients are told this port in place of its own.
    pub told_port: Option<u16>,
    /// Another protocol than `PLAINTEXT`, and what has to be set for it.
    pub protocol: Option<(&'a str, &'a str)>,
    /// For Kafka's tool that makes its folder.
    pub format: &'a [&'a str],
}

impl Cluster {
    /// `count` brokers, ready; `None`, and a word about it, where there are none to start.
    pub fn start(count: usize) -> Option<Self> {
        Self::start_with(count, &Extra::default())
    }

    pub fn start_with(count: usize, extra: &Extra<'_>) -> Option<Self> {
        if std::env::var_os("RANTAI_TEST_KAFKA_LIBRARIES").is_none() {
            eprintln!("Without RANTAI_TEST_KAFKA_LIBRARIES no broker is started.");
            return None;
        }
        let dir = tempfile::tempdir().expect("a directory");
        let ports = free_ports(2 * count);
        let (ports, controllers) = ports.split_at(count);
        let voters: Vec<String> = controllers.iter().enumerate().map(|(n, port)| format!("{}@127.0.0.1:{port}", n + 1)).collect();
        let (protocol, more) = extra.protocol.unwrap_or(("PLAINTEXT", ""));
        let (voters, copies, in_sync) = (voters.join(","), count.min(3), count.min(2));
        let mut brokers = Vec::new();
        for (n, (port, controller)) in ports.iter().zip(controllers).enumerate() {
            let folder = dir.path().join(format!("broker-{}", n + 1));
            let told = extra.told_port.unwrap_or(*port);
            let properties = format!(
                "process.roles=broker,controller\n\
                 node.id={id}\n\
                 controller.quorum.voters={voters}\n\
                 listeners={protocol}://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
                 advertised.listeners={protocol}://127.0.0.1:{told}\n\
                 listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SASL_SSL:SASL_SSL\n\
                 controller.listener.names=CONTROLLER\n\
                 inter.broker.listener.name={protocol}\n\
                 log.dirs={data}\n\
                 broker.session.timeout.ms=3000\n\
                 broker.heartbeat.interval.ms=500\n\
                 offsets.topic.num.partitions=3\n\
                 offsets.topic.replication.factor={copies}\n\
                 transaction.state.log.replication.factor={copies}\n\
                 transaction.state.log.min.isr={in_sync}\n\
                 share.coordinator.state.topic.replication.factor={copies}\n\
                 share.coordinator.state.topic.min.isr={in_sync}\n\
                 group.initial.rebalance.delay.ms=0\n\
                 group.min.session.timeout.ms=1000\n\
                 auto.create.topics.enable=false\n\
                 {more}",
                id = n + 1,
                data = folder.join("data").display(),
            );
            let broker = Broker { folder, port: *port, child: None };
            broker.make(&properties, extra.format);
            brokers.push(broker);
        }
        brokers.iter_mut().for_each(Broker::start);
        brokers.iter_mut().for_each(Broker::wait);
        let address: Vec<String> = ports.iter().map(|port| format!("127.0.0.1:{}", extra.told_port.unwrap_or(*port))).collect();
        Some(Self { brokers, address: address.join(","), _dir: dir })
    }
}

/// A wire between clients and a broker: what the broker answers can be held back, and then the wire be cut.
pub struct Wire {
    pub port: u16,
    is_mute: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    broker: Arc<Mutex<Option<u16>>>,
}

impl Wire {
    pub fn new() -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let wire = Self {
            port: listener.local_addr().expect("bound").port(),
            is_mute: Arc::default(),
            open: Arc::default(),
            broker: Arc::default(),
        };
        let (is_mute, open, broker) = (Arc::clone(&wire.is_mute), Arc::clone(&wire.open), Arc::clone(&wire.broker));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(port) = *broker.lock().expect("no panic") else { continue };
                let Ok(server) = TcpStream::connect(("127.0.0.1", port)) else { continue };
                let both = || (client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
                open.lock().expect("no panic").extend([both().0, both().1]);
                let ((from_client, to_server), (to_client, from_server)) = (both(), both());
                std::thread::spawn(move || pass(from_client, to_server, None));
                let is_mute = Arc::clone(&is_mute);
                std::thread::spawn(move || pass(from_server, to_client, Some(&is_mute)));
            }
        });
        wire
    }

    /// From now on to the broker at `port`.
    pub fn leads_to(&self, port: u16) {
        *self.broker.lock().expect("no panic") = Some(port);
    }

    /// What the broker answers from now on is lost.
    pub fn mute(&self) {
        self.is_mute.store(true, Ordering::SeqCst);
    }

    /// Cuts what is connected; who connects again is answered.
    pub fn heal(&self) {
        for socket in self.open.lock().expect("no panic").drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
        self.is_mute.store(false, Ordering::SeqCst);
    }
}

/// Hands on what comes, until one end is closed.
fn pass(mut from: TcpStream, mut to: TcpStream, is_mute: Option<&AtomicBool>) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = from.read(&mut buffer) {
        if !is_mute.is_some_and(|is_mute| is_mute.load(Ordering::SeqCst)) && to.write_all(&buffer[..read]).is_err() {
            break;
        }
    }
    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
}

impl Cluster {
    /// The port that the only broker itself listens on.
    pub fn port(&self) -> u16 {
        self.brokers[0].port
    }
}
