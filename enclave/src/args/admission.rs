//! Flags of admission: who may come in, and how fast.

use std::time::Duration;

use clap::Args;

use crate::admission::{AdmissionLimits, ClientKey, Rate};

/// Limits on who may come in, as flags. Limits of one client don't apply where
/// each connection is a client of its own.
#[derive(Debug, Args)]
#[command(next_help_heading = "Admission")]
pub struct AdmissionArgs {
    /// What counts as one client: its address (IPv6: its /64), or each connection, which is what
    /// vsock and relays need; auto takes the address unless it is a loopback one.
    #[arg(long, value_enum, value_name = "KEY", default_value_t = ClientKey::Auto)]
    pub client_key: ClientKey,
    /// TLS handshakes at once.
    #[arg(long, value_name = "N", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub max_handshakes: u32,
    /// TLS handshakes at once of one client; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub per_client_handshakes: u32,
    /// Connections at once of one client; 0 for no limit.
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::value_parser!(u32).range(0..=65_536))]
    pub per_client_connections: u32,
    /// New connections of one client: N a minute, BURST at once, or `off`.
    #[arg(long, value_name = "N/BURST", default_value_t = AdmissionLimits::default().client_arrivals)]
    pub per_client_arrivals: Rate,
    /// Attests of all clients: N a minute, BURST at once, or `off`.
    #[arg(long, value_name = "N/BURST", default_value_t = AdmissionLimits::default().attests)]
    pub max_attests: Rate,
    /// Attests of one client: N a minute, BURST at once, or `off`.
    #[arg(long, value_name = "N/BURST", default_value_t = AdmissionLimits::default().client_attests)]
    pub per_client_attests: Rate,
    /// Attests on one connection, renewals included: N a minute, BURST at once, or `off`.
    #[arg(long, value_name = "N/BURST", default_value_t = AdmissionLimits::default().connection_attests)]
    pub per_connection_attests: Rate,
    /// Clients that are remembered; those beyond share one place.
    #[arg(long, value_name = "N", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1..=1_048_576))]
    pub max_clients: u32,
    /// Longest time for a request's head from its first byte, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=60))]
    pub head_seconds: u32,
    /// Longest time for a request's body from its head, seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=3600))]
    pub body_seconds: u32,
}

impl From<&AdmissionArgs> for AdmissionLimits {
    fn from(args: &AdmissionArgs) -> Self {
        let count = |number: u32| usize::try_from(number).expect("a usize has at least 32 bits here");
        let seconds = |number: u32| Duration::from_secs(u64::from(number));
        Self {
            client_key: args.client_key,
            handshakes: count(args.max_handshakes),
            client_handshakes: count(args.per_client_handshakes),
            client_connections: count(args.per_client_connections),
            client_arrivals: args.per_client_arrivals,
            attests: args.max_attests,
            client_attests: args.per_client_attests,
            connection_attests: args.per_connection_attests,
            clients: count(args.max_clients),
            head: seconds(args.head_seconds),
            body: seconds(args.body_seconds),
        }
    }
}
