//! Flags of an enclave that is one stage of a pipeline.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;

use bastide_pipeline::head::Speculation;
use clap::Args;

/// A place in a pipeline, as flags.
#[derive(Debug, Args)]
#[command(next_help_heading = "Pipeline")]
pub struct PipelineArgs {
    /// Plan of the pipeline that this enclave is a stage of, as `bastide pipeline sign` writes it.
    #[arg(long, value_name = "FILE", requires = "stage")]
    pub pipeline: Option<PathBuf>,
    /// Which stage: 0 is the head, which clients talk to.
    #[arg(long, value_name = "N", requires = "pipeline", value_parser = clap::value_parser!(u16).range(0..16))]
    pub stage: Option<u16>,
    /// Where the head and the stage before link in: IP:PORT; port 0 takes a free one. For every stage but the head.
    #[arg(
        long,
        value_name = "IP:PORT",
        requires = "pipeline",
        default_value = "127.0.0.1:0"
    )]
    pub links: SocketAddr,
    /// Where stage N can be reached: N=HOST:PORT, once for each stage behind the head and once more for each
    /// spare; the first one named for a stage is joined first. For the head.
    #[arg(long = "stage-address", value_name = "N=HOST:PORT", requires = "pipeline")]
    pub stage_addresses: Vec<StageAddress>,
    /// Directory of the draft model that the plan names. For the head.
    #[arg(long, value_name = "DIR", requires = "pipeline")]
    pub draft: Option<PathBuf>,
    /// How the head drafts: `auto` measures and decides, `off`, `sync:K` or `pipelined:K:DEPTH`. For the head of a
    /// plan with a draft.
    #[arg(long, value_name = "FORM", requires = "pipeline", default_value = "auto")]
    pub speculation: SpeculationChoice,
    /// This enclave's membership credential, where the plan's rules ask for one: read whenever a link is opened,
    /// since it is issued after the start, by `bastide credential issue --node`. May not be there yet.
    #[arg(long, value_name = "FILE", requires = "pipeline")]
    pub credential: Option<PathBuf>,
}

/// Where a stage can be reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageAddress {
    /// The stage.
    pub stage: u16,
    /// `HOST:PORT`.
    pub address: String,
}

/// Most bytes of an address: what a message of the pipeline can carry.
const MAX_ADDRESS_BYTES: usize = 256;

impl FromStr for StageAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected N=HOST:PORT with a stage from 1 to 15, for example `2=10.0.0.7:4434`";
        let (stage, address) = text.split_once('=').ok_or(expected)?;
        let stage: u16 = stage.parse().map_err(|_| expected)?;
        let (host, port) = address.rsplit_once(':').ok_or(expected)?;
        let named = !host.is_empty() && address.len() <= MAX_ADDRESS_BYTES;
        if !named || !(1..16).contains(&stage) || port.parse::<u16>().map_or(true, |port| port == 0) {
            return Err(expected);
        }
        Ok(Self {
            stage,
            address: address.to_owned(),
        })
    }
}

/// Layers `first..end` of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerRange(pub Range<usize>);

impl FromStr for LayerRange {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected FIRST-END, END not included, for example `0-2`";
        let (first, end) = text.split_once('-').ok_or(expected)?;
        let number = |text: &str| text.parse::<u16>().map(usize::from).map_err(|_| expected);
        let range = number(first)?..number(end)?;
        if range.is_empty() {
            return Err(expected);
        }
        Ok(Self(range))
    }
}

/// How the head drafts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpeculationChoice(pub Speculation);

impl FromStr for SpeculationChoice {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let expected = "expected `auto`, `off`, `sync:K` or `pipelined:K:DEPTH`, K and DEPTH from 1 to 16";
        let number = |text: &str| {
            let number = text.parse::<u8>().ok();
            number.filter(|number| (1..=16).contains(number)).ok_or(expected)
        };
        let mut words = text.split(':');
        let form = match (words.next(), words.next(), words.next(), words.next()) {
            (Some("auto"), None, ..) => Speculation::Auto,
            (Some("off"), None, ..) => Speculation::Off,
            (Some("sync"), Some(k), None, _) => Speculation::Synchronous { k: number(k)? },
            (Some("pipelined"), Some(k), Some(depth), None) => Speculation::Pipelined {
                k: number(k)?,
                depth: number(depth)?,
            },
            _ => return Err(expected),
        };
        Ok(Self(form))
    }
}

#[cfg(test)]
mod tests {
    use super::{SpeculationChoice, StageAddress};
    use bastide_pipeline::head::Speculation;

    #[test]
    fn an_address_names_its_stage() {
        let address: StageAddress = "2=[::1]:443".parse().unwrap();
        assert_eq!((address.stage, address.address.as_str()), (2, "[::1]:443"));
        let long = format!("1={}:1", "h".repeat(256));
        for bad in [
            "",
            "2",
            "0=h:1",
            "16=h:1",
            "1=h",
            "1=:1",
            "1=h:0",
            "1=h:x",
            "x=h:1",
            long.as_str(),
        ] {
            assert!(bad.parse::<StageAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_form_of_speculation_is_exact_or_refused() {
        let form = |text: &str| text.parse::<SpeculationChoice>().map(|choice| choice.0);
        assert_eq!(form("auto"), Ok(Speculation::Auto));
        assert_eq!(form("sync:8"), Ok(Speculation::Synchronous { k: 8 }));
        assert_eq!(
            form("pipelined:2:5"),
            Ok(Speculation::Pipelined { k: 2, depth: 5 })
        );
        for bad in [
            "",
            "sync",
            "sync:0",
            "sync:17",
            "sync:1:1",
            "pipelined:1",
            "off:1",
            "pipelined:1:1:1",
        ] {
            assert!(form(bad).is_err(), "{bad}");
        }
    }
}
