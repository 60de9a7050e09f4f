//! The command line: what an operator can say. Parses and checks ranges;
//! opens nothing.

mod admission;
mod pipeline;

use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use bastide_endorsements::kds::KdsAddress;
use clap::{Args, Parser, Subcommand, ValueEnum};

pub use self::admission::AdmissionArgs;
pub use self::pipeline::{LayerRange, PipelineArgs, SpeculationChoice, StageAddress};
use crate::server::{LONGEST_LEASE, Limits, MOST_TOKENS};

const EXAMPLES: &str = "\
Examples:
  In an SEV-SNP guest, listening to the host's relay over vsock:
    bastide-enclave serve --model /models/bastide-5m --listen vsock:4433 --vek /etc/bastide/vcek.der

  The same, with a directory that is filled from AMD's key server, where the guest may reach it:
    bastide-enclave serve --model /models/bastide-5m --listen vsock:4433 \
        --endorsements /var/lib/bastide/endorsements --kds https://kdsintf.amd.com

  The same, with a GPU in confidential computing mode, and what NVIDIA issued for it:
    bastide-enclave serve --model /models/bastide-5m --listen vsock:4433 --vek /etc/bastide/vcek.der \
        --gpus nvml --rim-dir /etc/bastide/gpu

  The same, with a certificate that names the node, for policies that ask for names (web_pki):
    bastide-enclave serve --model /models/bastide-5m --listen vsock:4433 --vek /etc/bastide/vcek.der \
        --tls-certificate /run/tls/fullchain.pem --tls-key /run/tls/privkey.pem

  On any machine, with a build that can simulate (nothing is confidential):
    bastide-enclave serve --model enclave/engine/models/bastide-5m --attester simulator

  The digest that a policy pins, with its parts:
    bastide-enclave manifest --model /models/bastide-5m

  The same for a pipeline: with its draft, and the digests of the layer ranges that a plan names:
    bastide-enclave manifest --model /models/bastide-5m --draft /models/bastide-5m-draft --ranges 0-2,2-4,4-6

  The last of two stages, and the head that clients talk to:
    bastide-enclave serve --model /models/bastide-5m --pipeline plan.cose --stage 1 --links 0.0.0.0:4434
    bastide-enclave serve --model /models/bastide-5m --pipeline plan.cose --stage 0 \
        --draft /models/bastide-5m-draft --stage-address 1=10.0.0.7:4434 --listen tcp:0.0.0.0:4433

Exit codes: 0 stopped when asked to, 1 cannot start or cannot attest any more, 2 wrong usage.
One JSON line on stdout says when it is ready; logs are JSON lines on stderr and never hold content.";

/// Serves a language model inside a confidential VM, over attested TLS.
#[derive(Debug, Parser)]
#[command(name = "bastide-enclave", version, after_help = EXAMPLES)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Serve a model until SIGTERM.
    #[command(after_help = EXAMPLES)]
    Serve(Box<ServeArgs>),
    /// Print a model's manifest digest and its parts as JSON.
    Manifest {
        /// Directory with config.json, *.safetensors, tokenizer.json and chat_template.jinja.
        #[arg(long, value_name = "DIR")]
        model: PathBuf,
        /// Draft model, where the manifest is a pipeline's that speculates.
        #[arg(long, value_name = "DIR")]
        draft: Option<PathBuf>,
        /// Also the digests of the weights of these ranges of layers, FIRST-END, END not included.
        #[arg(long, value_name = "FIRST-END", value_delimiter = ',')]
        ranges: Vec<LayerRange>,
    },
}

/// What to serve, where, and within which limits.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// Directory with config.json, *.safetensors, tokenizer.json and chat_template.jinja.
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Where clients come in: tcp:IP:PORT (port 0 takes a free one) or vsock:PORT.
    #[arg(long, value_name = "ADDRESS", default_value = "tcp:127.0.0.1:0")]
    pub listen: ListenAddress,
    /// Certificate of this node's name, PEM, with those that lead to a root behind it: for clients whose
    /// policy asks for one of a public authority; read once. Without it a key and a certificate are made at every start.
    #[arg(long, value_name = "PEM", requires = "tls_key")]
    pub tls_certificate: Option<PathBuf>,
    /// Private key of --tls-certificate, PEM, without a password; read once.
    #[arg(long, value_name = "PEM", requires = "tls_certificate")]
    pub tls_key: Option<PathBuf>,
    /// Where /metrics, /livez and /readyz are answered in plain HTTP; a loopback address.
    #[arg(long, value_name = "IP:PORT", default_value = "127.0.0.1:0", value_parser = loopback)]
    pub metrics_listen: SocketAddr,
    /// Where evidence comes from.
    #[arg(long, value_enum, default_value_t = AttesterChoice::Auto)]
    pub attester: AttesterChoice,
    /// The processor to simulate; with --attester simulator.
    #[arg(long, value_enum, value_name = "GENERATION")]
    pub simulated_generation: Option<SimulatedGeneration>,
    /// Whether to simulate a bare guest or an Azure VM; with --attester simulator.
    #[arg(long, value_enum, value_name = "PLATFORM")]
    pub simulated_platform: Option<SimulatedPlatform>,
    /// Have every Nth report take so many milliseconds longer; for tests, with --attester simulator.
    #[arg(long, value_name = "N:MS", hide = true)]
    pub simulated_stalls: Option<SimulatedStalls>,
    /// VCEK or VLEK to send along, DER or PEM, if the host gives none.
    #[arg(long, value_name = "FILE")]
    pub vek: Option<PathBuf>,
    /// ASK or ASVK, then ARK, to send along, DER or PEM.
    #[arg(long, value_name = "FILE", requires = "vek")]
    pub chain: Option<PathBuf>,
    /// The ARK's revocation list to send along, DER or PEM.
    #[arg(long, value_name = "FILE", requires = "vek")]
    pub crl: Option<PathBuf>,
    /// Directory of endorsements, as `bastide endorsements` keeps it; read anew for every report.
    #[arg(long, value_name = "DIR")]
    pub endorsements: Option<PathBuf>,
    /// AMD's key server, `https://kdsintf.amd.com`, or a mirror, to ask for what nobody else has;
    /// nothing is asked without it.
    #[arg(long, value_name = "URL")]
    pub kds: Option<KdsAddress>,
    /// Where evidence of GPUs comes from; by default `simulated` with --attester simulator, else
    /// `none`: then the enclave names no GPU, and policies that ask for one refuse it.
    #[arg(long, value_enum, value_name = "SOURCE")]
    pub gpus: Option<GpuChoice>,
    /// NVIDIA's management library; with --gpus nvml, and by default the system's libnvidia-ml.so.1.
    #[arg(long, value_name = "PATH")]
    pub nvml_library: Option<PathBuf>,
    /// Directory of what NVIDIA issued for the GPUs, to send along: *.xml (reference manifests),
    /// *.ocsp or *.der (OCSP responses) and *.crl, or what `bastide endorsements` keeps; read anew every minute. With --gpus nvml.
    #[arg(long, value_name = "DIR")]
    pub rim_dir: Option<PathBuf>,
    /// Policy whose `[gpu]` section the enclave judges its GPUs by before they may work; by default
    /// the shipped `production`, and `development` for simulated ones.
    #[arg(long, value_name = "FILE")]
    pub gpu_policy: Option<PathBuf>,
    /// Also write the ready line to this file.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// Threads that one generation computes with; all of the machine's if left out.
    #[arg(long, value_name = "N")]
    pub engine_threads: Option<NonZeroUsize>,
    /// Where it stands in a pipeline, if it is part of one.
    #[command(flatten)]
    pub pipeline: PipelineArgs,
    /// Limits; each is part of the configuration digest in the evidence.
    #[command(flatten)]
    pub limits: LimitArgs,
}

/// Where evidence comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AttesterChoice {
    /// configfs-tsm, or else /dev/sev-guest.
    Auto,
    /// /dev/sev-guest.
    SevGuest,
    /// /sys/kernel/config/tsm/report.
    ConfigfsTsm,
    /// No hardware: keys that everyone knows. In builds with the `simulator` feature only.
    Simulator,
}

/// Where evidence of GPUs comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GpuChoice {
    /// Nowhere: this machine has no GPU, or none that is used.
    None,
    /// NVIDIA's management library, NVML.
    Nvml,
    /// No hardware: keys that everyone knows. In builds with the `simulator` feature only.
    Simulated,
}

/// The processor to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SimulatedGeneration {
    /// EPYC 9004.
    Genoa,
    /// EPYC 9005.
    Turin,
}

/// The platform to simulate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SimulatedPlatform {
    /// A bare SEV-SNP guest.
    Snp,
    /// An Azure confidential VM: a paravisor, and a vTPM that quotes.
    Azure,
}

/// When a simulated security processor stalls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulatedStalls {
    /// On every so manieth report.
    pub every: NonZeroU32,
    /// For so long.
    pub lasting: Duration,
}

impl FromStr for SimulatedStalls {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected N:MS, a number from 1 and milliseconds up to 60000";
        let (every, lasting) = text.split_once(':').ok_or(expected)?;
        let lasting: u64 = lasting.parse().map_err(|_| expected)?;
        if lasting > 60_000 {
            return Err(expected);
        }
        Ok(Self {
            every: every.parse().map_err(|_| expected)?,
            lasting: Duration::from_millis(lasting),
        })
    }
}

/// Where clients come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListenAddress {
    /// A TCP address.
    Tcp(SocketAddr),
    /// A vsock port, for any peer.
    Vsock(u32),
}

impl ListenAddress {
    /// The kind, for the configuration digest.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Tcp(_) => "tcp",
            Self::Vsock(_) => "vsock",
        }
    }
}

impl core::fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Vsock(port) => write!(f, "vsock:{port}"),
        }
    }
}

impl FromStr for ListenAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected `tcp:IP:PORT` or `vsock:PORT`, for example `tcp:127.0.0.1:4433`";
        match text.split_once(':') {
            Some(("tcp", address)) => address.parse().map(Self::Tcp).map_err(|_| expected),
            Some(("vsock", port)) => port.parse().map(Self::Vsock).map_err(|_| expected),
            _ => Err(expected),
        }
    }
}

fn loopback(text: &str) -> Result<SocketAddr, String> {
    let address: SocketAddr = text
        .parse()
        .map_err(|_| "expected `IP:PORT`, for example `127.0.0.1:9090`".to_owned())?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        Err(format!(
            "metrics are for the inside of the VM: expected a loopback address, got `{}`",
            address.ip()
        ))
    }
}

/// Limits, as flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub struct LimitArgs {
    /// Largest request body, bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 256 * 1024, value_parser = clap::value_parser!(u32).range(1024..=64 * 1024 * 1024))]
    pub max_body_bytes: u32,
    /// Largest request head, bytes.
    #[arg(long, value_name = "BYTES", default_value_t = 16 * 1024, value_parser = clap::value_parser!(u32).range(8192..=1024 * 1024))]
    pub max_header_bytes: u32,
    /// Connections at once.
    #[arg(long, value_name = "N", default_value_t = 1024, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_connections: u32,
    /// Longest silence between requests on a connection, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub idle_seconds: u32,
    /// Longest TLS handshake, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub handshake_seconds: u32,
    /// Longest time from the handshake to the attest request, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub attest_seconds: u32,
    /// How long one attestation lets a connection be used, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=300))]
    pub lease_seconds: u32,
    /// Longest time for one request and its answer, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 120, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub request_seconds: u32,
    /// Generations at once.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=256))]
    pub generations: u32,
    /// Generations that may wait; one more is answered 503.
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub queue: u32,
    /// Most tokens that one request may ask for.
    #[arg(long, value_name = "N", default_value_t = 4096, value_parser = clap::value_parser!(u32).range(1..=i64::from(MOST_TOKENS)))]
    pub max_tokens: u32,
    /// Longest time to finish running requests after SIGTERM, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(0..=3600))]
    pub drain_seconds: u32,
    /// Least time between two hardware reports, milliseconds. 0: as fast as the hardware allows, which is
    /// found out at start-up and while serving; a host that throttles reports needs no flag.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=10_000))]
    pub report_pace_ms: u32,
    /// How long one session key signs before a new one is made and stated, hours.
    #[arg(long, value_name = "HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=168))]
    pub session_key_hours: u32,
    /// Who may come in.
    #[command(flatten)]
    pub admission: AdmissionArgs,
}

impl From<&LimitArgs> for Limits {
    fn from(args: &LimitArgs) -> Self {
        let count = |number: u32| usize::try_from(number).expect("a usize has at least 32 bits here");
        let seconds = |number: u32| Duration::from_secs(u64::from(number));
        Self {
            body_bytes: count(args.max_body_bytes),
            header_bytes: count(args.max_header_bytes),
            connections: count(args.max_connections),
            idle: seconds(args.idle_seconds),
            handshake: seconds(args.handshake_seconds),
            attest: seconds(args.attest_seconds),
            lease: seconds(args.lease_seconds).min(LONGEST_LEASE),
            request: seconds(args.request_seconds),
            generations: count(args.generations),
            queue: count(args.queue),
            tokens: args.max_tokens,
            drain: seconds(args.drain_seconds),
            report_pace: Duration::from_millis(u64::from(args.report_pace_ms)),
            session_key: seconds(args.session_key_hours * 3600),
            admission: (&args.admission).into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Cli, Command, ListenAddress, SimulatedStalls};
    use crate::admission::Rate;
    use crate::server::Limits;
    use clap::{CommandFactory as _, Parser as _};
    use std::time::Duration;

    fn serve(extra: &[&str]) -> Result<Limits, String> {
        let args = ["bastide-enclave", "serve", "--model", "m"].iter().chain(extra);
        match Cli::try_parse_from(args)
            .map_err(|error| error.to_string())?
            .command
        {
            Command::Serve(args) => Ok(Limits::from(&args.limits)),
            Command::Manifest { .. } => Err("manifest".to_owned()),
        }
    }

    #[test]
    fn the_flags_default_to_the_default_limits() {
        Cli::command().debug_assert();
        assert_eq!(serve(&[]).unwrap(), Limits::default());
    }

    #[test]
    fn addresses_are_checked() {
        assert_eq!("vsock:7".parse(), Ok(ListenAddress::Vsock(7)));
        assert_eq!(
            "tcp:[::1]:7".parse::<ListenAddress>().unwrap().to_string(),
            "tcp:[::1]:7"
        );
        for bad in [
            "",
            "tcp",
            "tcp:localhost:1",
            "vsock:x",
            "udp:127.0.0.1:1",
            "127.0.0.1:1",
        ] {
            assert!(bad.parse::<ListenAddress>().is_err(), "{bad}");
        }
        assert!(
            serve(&["--metrics-listen", "0.0.0.0:1"])
                .unwrap_err()
                .contains("loopback")
        );
        assert!(serve(&["--lease-seconds", "301"]).is_err());
        assert!(serve(&["--queue", "0"]).is_err());
        assert_eq!(
            serve(&["--report-pace-ms", "1100"])
                .unwrap()
                .report_pace
                .as_millis(),
            1100
        );
        assert!(serve(&["--report-pace-ms", "10001"]).is_err());
        assert!(serve(&["--session-key-hours", "0"]).is_err());
        let limits = serve(&["--client-key", "connection", "--per-client-attests", "off"]).unwrap();
        assert_eq!(limits.admission.client_attests, Rate::UNLIMITED);
        assert!(serve(&["--per-client-attests", "6"]).is_err());
        assert!(serve(&["--chain", "c.pem"]).is_err());
        assert!(serve(&["--tls-certificate", "c.pem", "--tls-key", "k.pem"]).is_ok());
        assert!(serve(&["--tls-certificate", "c.pem"]).is_err());
        assert!(serve(&["--tls-key", "k.pem"]).is_err());
        assert!(serve(&["--kds", "https://kdsintf.amd.com", "--endorsements", "d"]).is_ok());
        assert!(serve(&["--kds", "kdsintf.amd.com"]).is_err());
    }

    #[test]
    fn stalls_are_a_count_and_milliseconds() {
        let stalls: SimulatedStalls = "10:10200".parse().unwrap();
        assert_eq!(
            (stalls.every.get(), stalls.lasting),
            (10, Duration::from_millis(10_200))
        );
        for text in ["", "10", "0:5", "10:", ":5", "10:60001", "-1:5", "10:5:5"] {
            assert!(text.parse::<SimulatedStalls>().is_err(), "{text}");
        }
    }
}
