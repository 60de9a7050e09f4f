//! A ring in one process: each stage with its own simulated machine, its own
//! sockets, its own range of the committed model.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{ChipId, Salt};
use bastide_attested_tls::LinkTimes;
use bastide_engine::{LoadOptions, Model, SamplingParams};
use bastide_pipeline::compute::{EngineDrafter, EngineLayers, bounds, stage_terms};
use bastide_pipeline::head::{HeadTerms, HeadTimes, Record, Speculation};
use bastide_pipeline::message::Sampling;
use bastide_pipeline::node::{
    Answer, Ask, Connector, HeadUpdate, PipelineHead, StageLinks, StageNode, StopCheck,
};
use bastide_pipeline::stage::{Cancelled, PartContent, SignParts, Stage};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use zeroize::Zeroizing;

use crate::enclave::Enclave;
use crate::layers::Slow;

pub(crate) const PLAN: [u8; 32] = [0x11; 32];
const MAX_SEQUENCES: u16 = 16;

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../engine/models")
        .join(name)
}

pub(crate) fn load(layers: Option<std::ops::Range<usize>>) -> Arc<Model> {
    let options = LoadOptions {
        layers,
        threads: std::num::NonZeroUsize::MIN,
        ..LoadOptions::default()
    };
    Arc::new(Model::load(&folder("bastide-5m"), &options).unwrap())
}

pub(crate) fn load_draft() -> Arc<Model> {
    let options = LoadOptions {
        threads: std::num::NonZeroUsize::MIN,
        ..LoadOptions::default()
    };
    Arc::new(Model::load(&folder("bastide-5m-draft"), &options).unwrap())
}

/// Signs by saying what it would sign.
struct Plain(u16);

impl SignParts for Plain {
    fn sign(&self, content: &PartContent) -> Option<Vec<u8>> {
        let rows = content.rows.to_be_bytes();
        Some(
            [
                &self.0.to_be_bytes()[..],
                &rows[..],
                &content.input[..],
                &content.output[..],
            ]
            .concat(),
        )
    }
}

fn range(stage: u16, stages: u16) -> std::ops::Range<usize> {
    let cut = |stage: u16| 6 * usize::from(stage) / usize::from(stages);
    cut(stage)..cut(stage + 1)
}

fn stage(stage: u16, fleet: &Fleet) -> Stage<Slow> {
    let model = load(Some(range(stage, fleet.stages())));
    let terms = stage_terms(&model, PLAN, stage, fleet.stages(), MAX_SEQUENCES, 100);
    let layers = Slow(EngineLayers::new(model), fleet.slow);
    Stage::new(terms, layers, Box::new(Plain(stage)), Cancelled::new())
}

/// A stage that runs; dropping it is pulling its plug.
pub(crate) struct Running {
    pub(crate) node: Arc<StageNode>,
    pub(crate) address: SocketAddr,
    serving: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl Running {
    pub(crate) async fn start(number: u16, fleet: &Fleet, links: StageLinks) -> Self {
        Self::start_at("127.0.0.1:0", number, fleet, links).await
    }

    pub(crate) async fn start_at(address: &str, number: u16, fleet: &Fleet, links: StageLinks) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let node = Arc::new(StageNode::start(stage(number, fleet), links).unwrap());
        let serving = Arc::clone(&node);
        let serving = tokio::spawn(async move {
            serving.serve(&listener).await.unwrap();
        });
        Self {
            node,
            address,
            serving,
        }
    }

    pub(crate) async fn shut_down(self, limit: Duration) {
        self.node.shut_down(limit).await;
    }
}

/// Machines of a ring: for each stage, one and its spares.
pub(crate) struct Fleet {
    pub(crate) head: Enclave,
    pub(crate) nodes: Vec<Vec<Enclave>>,
    pub(crate) times: LinkTimes,
    pub(crate) head_times: HeadTimes,
    /// What each frame takes longer at each stage.
    pub(crate) slow: Duration,
    /// Bare TCP instead of attested links.
    #[cfg(feature = "plain-transport")]
    pub(crate) plain: bool,
}

impl Fleet {
    /// As many machines for each stage but the head's.
    pub(crate) async fn new(stages: u16, each: usize) -> Self {
        let mut chip = 0;
        let mut next = async || {
            chip += 1;
            Enclave::on_chip(chip).await
        };
        let head = next().await;
        let mut nodes = vec![Vec::new()];
        for _ in 1..stages {
            let mut of_stage = Vec::new();
            for _ in 0..each {
                of_stage.push(next().await);
            }
            nodes.push(of_stage);
        }
        Self {
            head,
            nodes,
            times: LinkTimes::default(),
            // A busy machine is not to lose stages by what its frames and answers to
            // pings take; tests of the heartbeat have their own.
            head_times: HeadTimes {
                slack: Duration::from_secs(20),
                ping: Duration::from_secs(4),
                ..HeadTimes::default()
            },
            slow: Duration::ZERO,
            #[cfg(feature = "plain-transport")]
            plain: false,
        }
    }

    pub(crate) fn stages(&self) -> u16 {
        u16::try_from(self.nodes.len()).unwrap()
    }

    pub(crate) fn chips(&self) -> Vec<ChipId> {
        let others = self.nodes.iter().flatten().map(|enclave| enclave.chip);
        std::iter::once(self.head.chip).chain(others).collect()
    }

    pub(crate) fn links(&self, enclave: &Enclave, stage: u16) -> StageLinks {
        StageLinks {
            stage,
            connector: self.connector(enclave, stage),
            attester: enclave.attester(stage),
            bounds: bounds(&load(Some(0..1))),
        }
    }

    #[cfg(not(feature = "plain-transport"))]
    fn connector(&self, enclave: &Enclave, stage: u16) -> Connector {
        self.attested(enclave, stage)
    }

    #[cfg(feature = "plain-transport")]
    fn connector(&self, enclave: &Enclave, stage: u16) -> Connector {
        if self.plain {
            Connector::plain(stage)
        } else {
            self.attested(enclave, stage)
        }
    }

    fn attested(&self, enclave: &Enclave, stage: u16) -> Connector {
        let endpoint = enclave.endpoint(stage, self.stages(), &self.chips(), self.times);
        Connector::attested(endpoint)
    }

    /// Starts every stage but the head's.
    pub(crate) async fn start(&self) -> Vec<Vec<Option<Running>>> {
        let mut ring = Vec::new();
        for (number, nodes) in (0u16..).zip(&self.nodes) {
            let mut of_stage = Vec::new();
            for enclave in nodes {
                let links = self.links(enclave, number);
                of_stage.push(Some(Running::start(number, self, links).await));
            }
            ring.push(of_stage);
        }
        ring
    }

    /// Starts the head, which finds stages at these addresses.
    pub(crate) fn start_head(&self, nodes: Vec<Vec<String>>, speculation: Speculation) -> PipelineHead {
        let digest = |stage| *load(Some(range(stage, self.stages()))).range_digest();
        let own = stage(0, self);
        let terms = HeadTerms {
            plan: PLAN,
            engine: own.terms().engine,
            weights: (0..self.stages()).map(digest).collect(),
            max_positions: own.terms().max_positions,
            max_sequences: MAX_SEQUENCES,
            width: own.terms().width,
            vocabulary: 2048,
            eos: vec![5, 2],
            speculation,
            nodes,
            times: self.head_times,
        };
        let model = load(Some(0..1));
        let drafter = EngineDrafter::new(load_draft(), &model).unwrap();
        let drafter = (speculation != Speculation::Off).then_some(drafter);
        let links = self.links(&self.head, 0);
        PipelineHead::start(terms, own, links, drafter).unwrap()
    }
}

pub(crate) fn addresses(ring: &[Vec<Option<Running>>]) -> Vec<Vec<String>> {
    let of_stage = |nodes: &Vec<Option<Running>>| {
        let addresses = nodes.iter().flatten().map(|running| running.address.to_string());
        addresses.collect()
    };
    ring.iter().map(of_stage).collect()
}

pub(crate) const PROMPT: &str = "Once upon a time there was a small town";

/// Greedy, or by a seed.
pub(crate) fn sampling(seed: Option<u64>) -> Sampling {
    Sampling {
        temperature: if seed.is_some() { 0.8 } else { 0.0 },
        top_p: 0.95,
        seed: seed.unwrap_or(0),
        top_logprobs: None,
    }
}

/// What one node answers: ids, without one that ends the answer.
pub(crate) fn plain(model: &Model, prompt: &str, budget: usize, sampling: &Sampling) -> Vec<u32> {
    let prompt = model.tokenizer().encode(prompt).unwrap();
    let params = SamplingParams {
        temperature: sampling.temperature,
        top_p: sampling.top_p,
        seed: sampling.seed,
        max_tokens: budget,
        top_logprobs: Some(0),
        ..SamplingParams::default()
    };
    let mut generation = model.generate(&prompt, params).unwrap();
    let mut ids = Vec::new();
    while let Some(step) = generation.next().unwrap() {
        ids.extend(step.tokens.iter().map(|token| token.id));
    }
    ids
}

pub(crate) fn ask(prompt: &str, budget: u32, sampling: Sampling, stop: Option<StopCheck>) -> Ask {
    let tokenizer = load_tokenizer();
    Ask {
        prompt: Zeroizing::new(tokenizer.encode(prompt).unwrap()),
        budget,
        sampling,
        salt: Salt::new([0x77; 32]),
        stop,
    }
}

fn load_tokenizer() -> &'static bastide_engine::Tokenizer {
    static MODEL: std::sync::OnceLock<Arc<Model>> = std::sync::OnceLock::new();
    MODEL.get_or_init(load_draft).tokenizer()
}

/// All of an answer: ids, without one that ends it.
pub(crate) async fn read(answer: &mut Answer) -> (Vec<u32>, Result<Box<Record>, &'static str>) {
    let mut ids = Vec::new();
    loop {
        match answer.next().await.expect("an answer ends by Done or Failed") {
            HeadUpdate::Tokens(targets) => ids.extend(targets.iter().map(|target| target.id)),
            HeadUpdate::Done(record) => {
                ids.retain(|id| ![5, 2].contains(id));
                return (ids, Ok(record));
            }
            HeadUpdate::Failed(code) => return (ids, Err(code)),
        }
    }
}

/// Every part joins the next: what one stage handed on, the next one got.
pub(crate) fn assert_parts_join(record: &Record, stages: u16) {
    assert_eq!(record.parts.len(), usize::from(stages));
    let part = |stage: usize| &record.parts[stage];
    for stage in 0..usize::from(stages) {
        assert_eq!(part(stage)[..2], u16::try_from(stage).unwrap().to_be_bytes());
        assert_eq!(part(stage)[2..6], record.rows.to_be_bytes());
    }
    for stage in 1..usize::from(stages) {
        assert_eq!(part(stage - 1)[38..70], part(stage)[6..38], "stage {stage}");
    }
    assert_eq!(part(usize::from(stages) - 1)[38..70], record.emitted);
}
