//! A ring in one process: each stage with its own simulated machine, its own
//! threads and sockets, and a relay before it that stands for the distance.
//!
//! Owns the ring's parts for as long as it is asked. Refuses nothing: what is
//! refused, links and machines refuse.

use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::ChipId;
use bastide_attested_tls::{LinkEndpoint, LinkTimes};
use bastide_engine::{LoadOptions, Model};
use bastide_pipeline::compute::{EngineDrafter, EngineLayers, bounds, stage_terms};
use bastide_pipeline::head::{HeadTerms, HeadTimes, Speculation};
use bastide_pipeline::message::Bounds;
use bastide_pipeline::node::{Connector, PipelineHead, StageLinks, StageNode};
use bastide_pipeline::stage::{Cancelled, PartContent, SignParts, Stage};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use crate::delay::Delay;
use crate::enclave::Enclave;

pub(crate) const PLAN: [u8; 32] = [0x11; 32];
const MAX_SEQUENCES: u16 = 4;
pub(crate) const LAYERS: usize = 6;

/// What carries messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    /// Attested links.
    Attested,
    /// TCP that proves and hides nothing.
    #[cfg(feature = "plain-transport")]
    Bare,
}

/// The layers of a stage, where each has as many as may be.
pub(crate) fn range(stage: u16, stages: u16) -> Range<usize> {
    let cut = |stage: u16| LAYERS * usize::from(stage) / usize::from(stages);
    cut(stage)..cut(stage + 1)
}

/// A committed model, or some of its layers.
pub(crate) fn load(name: &str, layers: Option<Range<usize>>) -> Arc<Model> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/models");
    let options = LoadOptions {
        layers,
        threads: NonZeroUsize::MIN,
        ..LoadOptions::default()
    };
    Arc::new(Model::load(&folder.join(name), &options).expect("the committed model loads"))
}

/// Signs by saying what it would sign: what a signature costs is known elsewhere.
struct Unsigned;

impl SignParts for Unsigned {
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>> {
        Some([&content.input[..], &content.output[..]].concat())
    }
}

/// A running ring. Dropping it ends every stage but the relays, whose threads
/// have nothing to do any more.
pub(crate) struct Ring {
    pub(crate) head: PipelineHead,
    nodes: Vec<(Arc<StageNode>, JoinHandle<()>)>,
}

impl Drop for Ring {
    fn drop(&mut self) {
        for (_, serving) in &self.nodes {
            serving.abort();
        }
    }
}

/// Machines and models of a ring, of which several can be made.
pub(crate) struct Fleet {
    enclaves: Vec<Enclave>,
    models: Vec<Arc<Model>>,
    draft: Arc<Model>,
}

impl Fleet {
    pub(crate) async fn new(stages: u16) -> Self {
        let (mut enclaves, mut models) = (Vec::new(), Vec::new());
        for (chip, stage) in (1..).zip(0..stages) {
            enclaves.push(Enclave::on_chip(chip).await);
            models.push(load("bastide-5m", Some(range(stage, stages))));
        }
        Self {
            enclaves,
            models,
            draft: load("bastide-5m-draft", None),
        }
    }

    pub(crate) fn drafter(&self) -> EngineDrafter {
        EngineDrafter::new(Arc::clone(&self.draft), &self.models[0]).expect("the committed draft fits")
    }

    pub(crate) fn stages(&self) -> u16 {
        u16::try_from(self.models.len()).expect("a few")
    }

    pub(crate) fn bounds(&self) -> Bounds {
        bounds(&self.models[0])
    }

    pub(crate) fn stage(&self, stage: u16) -> Stage<EngineLayers> {
        let layers = EngineLayers::new(Arc::clone(&self.models[usize::from(stage)]));
        let row_us = layers.measure_row_us();
        let terms = stage_terms(layers.model(), PLAN, stage, self.stages(), MAX_SEQUENCES, row_us);
        Stage::new(terms, layers, Box::new(Unsigned), Cancelled::new())
    }

    /// An end of attested links of this stage's.
    pub(crate) fn endpoint(&self, stage: u16) -> LinkEndpoint {
        let chips: Vec<ChipId> = self.enclaves.iter().map(|enclave| enclave.chip).collect();
        self.enclaves[usize::from(stage)].endpoint(stage, self.stages(), &chips, LinkTimes::default())
    }

    fn links(&self, stage: u16, transport: Transport) -> StageLinks {
        let enclave = &self.enclaves[usize::from(stage)];
        let connector = match transport {
            Transport::Attested => Connector::attested(self.endpoint(stage)),
            #[cfg(feature = "plain-transport")]
            Transport::Bare => Connector::plain(stage),
        };
        StageLinks {
            stage,
            connector,
            attester: enclave.attester(stage),
            bounds: self.bounds(),
        }
    }

    /// Starts a ring whose hops take `one_way` each.
    pub(crate) async fn start(
        &self,
        transport: Transport,
        one_way: Duration,
        speculation: Speculation,
    ) -> Ring {
        let (mut nodes, mut addresses) = (Vec::new(), vec![Vec::new()]);
        for number in 1..self.stages() {
            let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            let address = listener.local_addr().expect("a bound socket has an address");
            let delay = Delay::start(&address.to_string(), one_way);
            addresses.push(vec![delay.address().to_string()]);
            let node = StageNode::start(self.stage(number), self.links(number, transport));
            let node = Arc::new(node.expect("a thread for the stage"));
            let serving = Arc::clone(&node);
            let serving = tokio::spawn(async move {
                // It ends with the ring.
                let _ = serving.serve(&listener).await;
            });
            nodes.push((node, serving));
        }
        let own = self.stage(0);
        let terms = HeadTerms {
            plan: PLAN,
            engine: own.terms().engine,
            weights: self.models.iter().map(|model| *model.range_digest()).collect(),
            max_positions: own.terms().max_positions,
            max_sequences: MAX_SEQUENCES,
            width: own.terms().width,
            vocabulary: u32::try_from(self.models[0].config().vocab).expect("a small model"),
            eos: self.models[0].config().eos.clone(),
            speculation,
            nodes: addresses,
            times: HeadTimes {
                slack: Duration::from_secs(20),
                ..HeadTimes::default()
            },
        };
        let drafter = (speculation != Speculation::Off).then(|| self.drafter());
        let head = PipelineHead::start(terms, own, self.links(0, transport), drafter);
        Ring {
            head: head.expect("threads for the head"),
            nodes,
        }
    }
}
