//! The command line of `bastide-ohttp-relay`. A value that parses is usable.

use std::net::SocketAddr;
use std::path::PathBuf;

use bastide_attested_tls::Carrier;
use clap::Parser;

const HELP: &str = "\
Clients reach it over HTTP. Put it behind a TLS terminator of the relay's operator, who should
not be the node's: together the two know who asks what size of question when. Neither knows what.

When it listens, it prints one line on stdout; faults of its own go to stderr, as JSON lines:
  {\"schema\":\"bastide.shim-ready/v1\",\"listen\":\"tcp:127.0.0.1:40321\"}

SIGTERM or SIGINT: takes no new connections and lets exchanges end for 25 s. A second signal cuts
them at once. It writes nothing about its clients, ever.

Examples:
  bastide-shim relay-ohttp --listen 127.0.0.1:8080 --gateway https://node.example
  bastide proxy --sealed --relay http://127.0.0.1:8080 https://node.example --policy ours.toml

Exit codes: 0 stopped as asked, 1 it couldn't listen or another fault of its surroundings, 2 usage.";

/// Pass sealed requests on to one node, which learns no client's address.
#[derive(Debug, Parser)]
#[command(name = "bastide-ohttp-relay", version, after_help = HELP)]
pub struct Arguments {
    /// Where clients connect, `IP:PORT`; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS")]
    pub listen: SocketAddr,
    /// The node, `https://HOST[:PORT]`: the only place that anything is passed on to.
    #[arg(long, value_name = "URL")]
    pub gateway: Carrier,
    /// Connections at a time; each takes two file descriptors.
    #[arg(long, value_name = "N", default_value = "400", value_parser = parse_count)]
    pub max_connections: usize,
    /// Connections at a time from one IPv4 address or IPv6 /64.
    #[arg(long, value_name = "N", default_value = "64", value_parser = parse_count)]
    pub per_address: usize,
    /// A file that holds the ready line while the relay listens.
    #[arg(long, value_name = "PATH")]
    pub ready_file: Option<PathBuf>,
}

/// A number of connections: 1 to 100000.
fn parse_count(text: &str) -> Result<usize, String> {
    text.parse()
        .ok()
        .filter(|count| (1..=100_000).contains(count))
        .ok_or_else(|| "expected a number from 1 to 100000".to_owned())
}

#[cfg(test)]
mod tests {
    use super::Arguments;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }
}
