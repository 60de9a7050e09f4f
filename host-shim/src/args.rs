//! The command line of `bastide-shim`. Owns flags, their defaults and ranges.
//! A value that parses is usable: nothing is checked again later.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::endpoint::Endpoint;
use crate::limits::Limits;
use crate::log::Level;

const EXIT_CODES: &str = "\
Exit codes: 0 stopped as asked, 1 it couldn't listen or another fault of its surroundings, 2 usage.";

const RELAY_HELP: &str = "\
Addresses:
  tcp:HOST:PORT     an IPv4 address, a name, or an IPv6 address in brackets
  vsock:CID:PORT    1 this machine, 2 the host, 3 and up a guest; `any` to listen on all
  Port 0 listens on a free port; the ready line says which.

Durations: a number and a unit: 500ms, 30s, 5m, 2h.

When it listens, it prints one line on stdout; logs go to stderr, as JSON lines:
  {\"schema\":\"bastide.shim-ready/v1\",\"listen\":\"tcp:127.0.0.1:40321\"}

SIGTERM or SIGINT: takes no new connections and lets open ones end until
--drain-timeout. A second signal cuts them at once.

Examples:
  In front of a guest with context id 42:
    bastide-shim relay --listen tcp:0.0.0.0:443 --to vsock:42:8443
  On one machine, on a free port:
    bastide-shim relay --listen tcp:127.0.0.1:0 --to tcp:127.0.0.1:8443 --ready-file ready.json
  Behind a load balancer, all of whose clients have its address:
    bastide-shim relay --listen tcp:10.0.0.5:8443 --to vsock:42:8443 --per-address 400

Exit codes: 0 stopped as asked, 1 it couldn't listen or another fault of its surroundings, 2 usage.";

/// The untrusted host's side of a Bastide node: moves bytes, holds no key.
#[derive(Debug, Parser)]
#[command(name = "bastide-shim", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Moves bytes between the network and the guest, and understands none of them.
    #[command(after_help = RELAY_HELP)]
    Relay(RelayArguments),
    /// Passes sealed requests on to one node, which learns no client's address.
    ///
    /// Another command does it, `bastide-ohttp-relay`, which lies beside this one:
    /// it speaks HTTP and TLS, and this one links neither. Its flags: `-- --help`.
    #[command(disable_help_flag = true)]
    RelayOhttp(RelayOhttpArguments),
}

/// What `bastide-shim relay-ohttp` hands on.
#[derive(Debug, Args)]
pub struct RelayOhttpArguments {
    /// Flags of `bastide-ohttp-relay`.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "FLAG")]
    pub flags: Vec<OsString>,
}

/// Flags of `bastide-shim relay`.
#[derive(Debug, Args)]
pub struct RelayArguments {
    /// Where clients connect: tcp:HOST:PORT or vsock:CID:PORT.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Endpoint,
    /// Where the enclave listens: tcp:HOST:PORT or vsock:CID:PORT.
    #[arg(long, value_name = "ADDRESS", value_parser = Endpoint::parse_connectable)]
    pub to: Endpoint,
    /// Connections at a time; each takes two file descriptors.
    #[arg(long, value_name = "N", default_value = "400", value_parser = parse_count)]
    pub max_connections: usize,
    /// Connections at a time from one IPv4 address, IPv6 /64 or vsock context.
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_count)]
    pub per_address: usize,
    /// How long the guest may take to accept a connection.
    #[arg(long, value_name = "DURATION", default_value = "5s", value_parser = parse_duration)]
    pub connect_timeout: Duration,
    /// Ends a connection in which nothing moved for this long.
    #[arg(long, value_name = "DURATION", default_value = "5m", value_parser = parse_duration)]
    pub idle_timeout: Duration,
    /// Ends a connection of this age, whatever moves.
    #[arg(long, value_name = "DURATION", default_value = "12h", value_parser = parse_duration)]
    pub max_lifetime: Duration,
    /// How long open connections may go on after a signal to stop.
    #[arg(long, value_name = "DURATION", default_value = "25s", value_parser = parse_duration)]
    pub drain_timeout: Duration,
    /// A file that holds the ready line while the relay listens.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
    /// How much to log; only `debug` writes clients' addresses.
    #[arg(long, value_name = "LEVEL", default_value = "info")]
    pub log: Level,
}

impl RelayArguments {
    /// The limits among the flags.
    #[must_use]
    pub fn limits(&self) -> Limits {
        Limits {
            max_connections: self.max_connections,
            per_address: self.per_address,
            connect_timeout: self.connect_timeout,
            idle_timeout: self.idle_timeout,
            max_lifetime: self.max_lifetime,
            drain_timeout: self.drain_timeout,
        }
    }
}

/// A number of connections: 1 to 100000.
fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=100_000).contains(count))
        .ok_or_else(|| "expected a number from 1 to 100000".to_owned())
}

/// A duration from 1 ms to 30 days.
fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a number and a unit, such as 500ms, 30s, 5m or 2h; 1ms to 720h".to_owned();
    let unit = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = text.split_at(unit);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    let number: u64 = number.parse().map_err(|_| wrong())?;
    number
        .checked_mul(milliseconds)
        .filter(|total| (1..=720 * 3_600_000).contains(total))
        .map(Duration::from_millis)
        .ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn durations_have_units_and_ends() {
        for (text, milliseconds) in [
            ("1ms", 1),
            ("30s", 30_000),
            ("5m", 300_000),
            ("720h", 2_592_000_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(milliseconds)));
        }
        for text in [
            "",
            "30",
            "s",
            "0s",
            "1.5s",
            "-1s",
            "5 m",
            "5M",
            "721h",
            "99999999999999999999s",
        ] {
            assert!(parse_duration(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn counts_are_at_least_one() {
        assert_eq!(parse_count("1"), Ok(1));
        for text in ["0", "-1", "100001", "many", ""] {
            assert!(parse_count(text).is_err(), "{text:?}");
        }
    }
}
