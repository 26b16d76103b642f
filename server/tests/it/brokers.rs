//! Kafka's own brokers, started and ended by a test: three of them, one that is killed and comes back, one behind a wire that can be cut,
//! one that wants TLS and a password. Their libraries lie where the variable `RANTAI_TEST_KAFKA_LIBRARIES` says, as `cargo xtask test`
//! sees to.

use crate::kill::address_of_its_own;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddrV4, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// A name for a cluster: 16 bytes in base64.
const CLUSTER: &str = "cmFudGFpLXRlc3RzLTAwMA";
/// A broker lives for seconds: what makes a long-lived one fast costs more than it gains.
const SHORT_LIVED: [&str; 3] = ["-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-XX:-UsePerfData"];
/// A broker on a busy machine takes no longer to start.
const PATIENCE: Duration = Duration::from_mins(1);

/// Ports of `host` that nobody listens on.
fn free_ports(host: Ipv4Addr, count: usize) -> Vec<u16> {
    let held: Vec<TcpListener> = (0..count).map(|_| TcpListener::bind((host, 0)).expect("a free port")).collect();
    held.iter().map(|listener| listener.local_addr().expect("bound").port()).collect()
}

/// A broker, which is a controller too.
pub struct Broker {
    folder: PathBuf,
    address: SocketAddrV4,
    child: Option<Child>,
}

impl Broker {
    fn java(&self, main: &str) -> Command {
        let libraries = std::env::var_os("RANTAI_TEST_KAFKA_LIBRARIES").expect("was there when the cluster was made");
        let mut java = Command::new("java");
        java.current_dir(&self.folder).args(SHORT_LIVED).args(["-Xmx256m", "-cp"]).arg(Path::new(&libraries).join("*")).arg(main);
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
        while TcpStream::connect(self.address).is_err() {
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
pub struct Extra<'a> {
    /// Its own, so that nobody else listens at its port while it is down.
    pub host: Ipv4Addr,
    /// Clients are told this address in place of its own.
    pub told: Option<SocketAddrV4>,
    /// Another protocol than `PLAINTEXT`, and what has to be set for it.
    pub protocol: Option<(&'a str, &'a str)>,
    /// For Kafka's tool that makes its folder.
    pub format: &'a [&'a str],
}

impl Default for Extra<'_> {
    fn default() -> Self {
        Self { host: address_of_its_own(), told: None, protocol: None, format: &[] }
    }
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
        let host = extra.host;
        let ports = free_ports(host, 2 * count);
        let (ports, controllers) = ports.split_at(count);
        let voters: Vec<String> = controllers.iter().enumerate().map(|(n, port)| format!("{}@{host}:{port}", n + 1)).collect();
        let (protocol, more) = extra.protocol.unwrap_or(("PLAINTEXT", ""));
        let (voters, copies, in_sync) = (voters.join(","), count.min(3), count.min(2));
        let mut brokers = Vec::new();
        for (n, (port, controller)) in ports.iter().zip(controllers).enumerate() {
            let folder = dir.path().join(format!("broker-{}", n + 1));
            let address = SocketAddrV4::new(host, *port);
            let told = extra.told.unwrap_or(address);
            let properties = format!(
                "process.roles=broker,controller\n\
                 node.id={id}\n\
                 controller.quorum.voters={voters}\n\
                 listeners={protocol}://{address},CONTROLLER://{host}:{controller}\n\
                 advertised.listeners={protocol}://{told}\n\
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
            let broker = Broker { folder, address, child: None };
            broker.make(&properties, extra.format);
            brokers.push(broker);
        }
        brokers.iter_mut().for_each(Broker::start);
        brokers.iter_mut().for_each(Broker::wait);
        let address: Vec<String> = brokers.iter().map(|broker| extra.told.unwrap_or(broker.address).to_string()).collect();
        Some(Self { brokers, address: address.join(","), _dir: dir })
    }
}

/// A wire between clients and a broker: what the broker answers can be held back, and then the wire be cut.
pub struct Wire {
    pub address: SocketAddrV4,
    is_mute: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    broker: Arc<Mutex<Option<SocketAddrV4>>>,
}

impl Wire {
    pub fn new() -> Self {
        let host = Ipv4Addr::LOCALHOST;
        let listener = TcpListener::bind((host, 0)).expect("a free port");
        let wire = Self {
            address: SocketAddrV4::new(host, listener.local_addr().expect("bound").port()),
            is_mute: Arc::default(),
            open: Arc::default(),
            broker: Arc::default(),
        };
        let (is_mute, open, broker) = (Arc::clone(&wire.is_mute), Arc::clone(&wire.open), Arc::clone(&wire.broker));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let Some(address) = *broker.lock().expect("no panic") else { continue };
                let Ok(server) = TcpStream::connect(address) else { continue };
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

    /// From now on to the broker at `address`.
    pub fn leads_to(&self, address: SocketAddrV4) {
        *self.broker.lock().expect("no panic") = Some(address);
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
    /// What the only broker itself listens on.
    pub fn listens_on(&self) -> SocketAddrV4 {
        self.brokers[0].address
    }
}
