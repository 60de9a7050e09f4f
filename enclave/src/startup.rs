//! From settings to a serving enclave and down again: model, keys, evidence of
//! itself, listeners; then service until drained or unattestable.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bastide_attestation::{Attester, AttesterError, Binder, BootId, GpuAttester, StatementDigest};
use bastide_attested_tls::{
    EnclaveFacts, LaneError, LaneHealth, LaneLimits, LaneM, ServerIdentity, SessionKey,
};
use bastide_engine::Model;
use tokio::net::TcpListener;
use tokio::time::{interval, interval_at, sleep, timeout};

use crate::admission::Admission;
use crate::args::ListenAddress;
use crate::capacity::Capacity;
use crate::clock;
use crate::configuration::configuration_digest;
use crate::drain::Lifecycle;
use crate::endorsing::Endorser;
use crate::error::StartError;
use crate::gpus::{GpuState, Gpus};
use crate::identity::{Boot, random};
use crate::inference::{Engine, Inference};
use crate::metrics::Metrics;
use crate::model;
use crate::pipeline::{Member, PipelineSettings, Place};
use crate::ready::Ready;
use crate::receipts::Ledger;
use crate::sealed::{ROTATION, SealedMode};
use crate::server::{Limits, Listener, ModelCard, Node, NodeGpus, monitor, serve};
use crate::telemetry::ops;

/// How often the lane's health is looked at.
const HEALTH: Duration = Duration::from_millis(500);

/// Reports made at start-up to learn whether the host throttles them.
const PROBE: u32 = 12;
/// A pace from which on there is nothing to learn: hosts that throttle allow it.
const NO_PROBE: Duration = Duration::from_secs(1);

/// What an enclave is started with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model's directory.
    pub model: PathBuf,
    /// Where clients come in.
    pub listen: ListenAddress,
    /// Where metrics and health are answered.
    pub metrics_listen: SocketAddr,
    /// Threads that one generation computes with; all if `None`.
    pub engine_threads: Option<NonZeroUsize>,
    /// Who it is on TLS; a new key and its own certificate if `None`.
    pub identity: Option<ServerIdentity>,
    /// Its place in a pipeline, if it has one.
    pub pipeline: Option<PipelineSettings>,
    /// Limits.
    pub limits: Limits,
}

/// How an enclave's service ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to stop, and did.
    Drained,
    /// It can't attest any more until the VM boots again.
    Unattestable,
}

/// A started enclave: it has attested itself and listens.
#[derive(Debug)]
pub struct Enclave {
    pub(crate) node: Arc<Node>,
    listener: Listener,
    monitor: TcpListener,
    ready: Ready,
    member: Option<Member>,
}

impl Enclave {
    /// Loads the model, makes this boot's keys, attests itself once, listens.
    ///
    /// # Errors
    /// [`StartError`] says what is missing and what to do.
    pub async fn start(settings: Settings, attester: Arc<dyn Attester>) -> Result<Self, StartError> {
        Self::start_with(settings, attester, None, None).await
    }

    /// As [`Self::start`], with GPUs, which are attested before anything else,
    /// and with who fetches endorsements for the attester: what is on its way when
    /// it first attests is waited for.
    ///
    /// # Errors
    /// [`StartError`] says what is missing and what to do.
    pub async fn start_with(
        settings: Settings,
        attester: Arc<dyn Attester>,
        gpus: Option<Gpus>,
        endorser: Option<Arc<Endorser>>,
    ) -> Result<Self, StartError> {
        let Settings {
            model: dir,
            listen,
            metrics_listen,
            engine_threads,
            identity,
            pipeline,
            limits,
        } = settings;
        let boot = Boot::generate()?;
        let gpu_configuration = gpus.as_ref().map(Gpus::configuration);
        let gpus = attest_gpus(gpus, boot.id).await?;
        let place = pipeline.as_ref().map(Place::configured);
        let loading = tokio::task::spawn_blocking(move || load(&dir, engine_threads, pipeline));
        let (model, pipeline) = loading
            .await
            .map_err(|error| StartError::Runtime(error.into()))??;
        let drafted_by = pipeline.as_ref().and_then(Place::draft_manifest);
        let manifest = model::manifest(&model, drafted_by).digest();
        let attester_name = attester.name();
        let sealed = SealedMode::start()?;
        let facts = EnclaveFacts {
            boot_id: boot.id,
            session_key: boot.session_key,
            receipt_key: boot.receipts.thumbprint(),
            sealed_key: sealed.current().map(|keys| keys.digest()),
            model: manifest,
            configuration: configuration_digest(
                &limits,
                attester_name,
                listen.kind(),
                gpu_configuration,
                place,
            ),
            // There is no debug mode to be in: nothing shows more in any build.
            debug: false,
            pipeline: pipeline.as_ref().is_some_and(Place::is_head),
        };
        let lane_limits = LaneLimits {
            pace: limits.report_pace,
            probe: if limits.report_pace < NO_PROBE { PROBE } else { 0 },
            ..LaneLimits::default()
        };
        let gpu_attester = gpus
            .as_ref()
            .map(|gpus| -> Arc<dyn GpuAttester> { Arc::<GpuState>::clone(&gpus.state) });
        let lane =
            LaneM::start_with_gpus(attester, gpu_attester, facts, lane_limits).map_err(StartError::Lane)?;
        if let Some(gpus) = &gpus {
            gpus.state.tell(lane.signal());
        }
        let identity = identity.map_or_else(ServerIdentity::generate, Ok)?;
        let first = attest_self(&lane, endorser.as_deref()).await?;
        let metrics = Arc::new(Metrics::new());
        let draft = pipeline.as_ref().and_then(|place| place.draft.clone());
        let member = match pipeline {
            None => None,
            Some(place) => {
                let sequences = limits.generations;
                Some(Member::start(place, &model, &lane, &boot.receipts, first, sequences).await?)
            }
        };
        let engine = match &member {
            None => Some(Engine::Whole(Arc::clone(&model))),
            Some(member) => member.head().map(|head| Engine::Piped(Arc::clone(&model), head)),
        };
        let inference = engine
            .map(|engine| Inference::start(&engine, limits.generations, limits.queue, &metrics))
            .transpose()
            .map_err(StartError::Threads)?;
        let listener = bind(listen).await?;
        let monitor = TcpListener::bind(metrics_listen)
            .await
            .map_err(|source| refused(&metrics_listen, source))?;
        let addresses = listener.address().and_then(|listen| {
            let metrics = monitor.local_addr()?.to_string();
            Ok((listen, metrics))
        });
        let (listen, metrics_address) = addresses.map_err(|source| refused(&listen, source))?;
        let simulated = attester_name == "simulator";
        let ready = Ready::new(
            listen,
            metrics_address,
            model.name().to_owned(),
            &manifest,
            simulated,
        );
        let ready = match &member {
            None => ready,
            Some(member) => ready.of_stage(member.stage(), member.links()),
        };
        let node = Node {
            admission: Admission::new(limits.admission.clone(), limits.connections, &metrics),
            identity,
            lane,
            model: ModelCard {
                name: model.name().to_owned(),
                manifest,
                loaded: clock::now().as_secs(),
            },
            inference,
            capacity: Arc::new(Capacity::new(
                limits.generations,
                draft,
                member.as_ref().map(Member::link_key),
            )),
            head: member.as_ref().and_then(Member::head),
            stage: member.as_ref().map(Member::stage),
            loaded: model,
            limits,
            ledger: Ledger::new(boot.receipts, manifest),
            sealed,
            metrics,
            life: Arc::new(Lifecycle::new()),
            gpus,
        };
        node.life.become_ready();
        ops!(
            INFO,
            "enclave.ready",
            attester = attester_name,
            listen = ready.listen.as_str(),
            metrics = ready.metrics.as_str(),
            model = ready.model.as_str(),
            manifest = ready.manifest.as_str(),
            simulated = simulated,
        );
        Ok(Self {
            node: Arc::new(node),
            listener,
            monitor,
            ready,
            member,
        })
    }

    /// Where it can be reached.
    #[must_use]
    pub const fn ready(&self) -> &Ready {
        &self.ready
    }

    /// What it states about itself, and how that is changed.
    #[must_use]
    pub fn lane(&self) -> LaneM {
        self.node.lane.clone()
    }

    /// The switch that takes it down.
    #[must_use]
    pub fn life(&self) -> Arc<Lifecycle> {
        Arc::clone(&self.node.life)
    }

    /// Serves until drained. Requests that then still run get the drain limit's
    /// time; what is left after it is cut.
    pub async fn run(self) -> Ended {
        let Self {
            node,
            listener,
            monitor: monitor_listener,
            member,
            ..
        } = self;
        let monitor = tokio::spawn(monitor(Arc::clone(&node), monitor_listener));
        let watch = tokio::spawn(watch(Arc::clone(&node)));
        let sealed_keys = tokio::spawn(rotate_sealed_keys(Arc::clone(&node)));
        let rotation = tokio::spawn(rotate(node.lane.clone(), node.limits.session_key));
        let stage = member.and_then(Member::into_stage);
        match &stage {
            None => serve(Arc::clone(&node), listener).await,
            // Links go on until draining starts, which ends both.
            Some(stage) => tokio::select! {
                () = serve(Arc::clone(&node), listener) => {}
                () = stage.serve() => {}
            },
        }
        if let Some(stage) = stage {
            stage.shut_down(node.limits.drain).await;
        }
        let finished = timeout(node.limits.drain, node.life.connections().wait()).await;
        ops!(
            INFO,
            "enclave.drained",
            phase = if finished.is_ok() { "finished" } else { "cut" },
        );
        monitor.abort();
        watch.abort();
        sealed_keys.abort();
        rotation.abort();
        if let Some(gpus) = &node.gpus {
            gpus.renewal.stop();
        }
        match unattestable(&node) {
            None => Ended::Drained,
            Some(_) => Ended::Unattestable,
        }
    }
}

/// Opens the GPUs, if there are some, or says why not.
async fn attest_gpus(gpus: Option<Gpus>, boot_id: BootId) -> Result<Option<NodeGpus>, StartError> {
    let Some(gpus) = gpus else { return Ok(None) };
    let (state, renewal) = tokio::task::spawn_blocking(move || gpus.start(boot_id))
        .await
        .map_err(|error| StartError::Runtime(error.into()))?
        .map_err(StartError::Gpus)?;
    Ok(Some(NodeGpus { state, renewal }))
}

/// Why the enclave can't attest itself any more, if it can't.
fn unattestable(node: &Node) -> Option<String> {
    match node.lane.health() {
        LaneHealth::Unattestable(reason) => Some(reason),
        LaneHealth::Healthy => node.gpus.as_ref().and_then(|gpus| gpus.state.over()),
    }
}

/// Loads what this enclave computes: the whole model, or the layers of its stage
/// of a pipeline, which is then held against the plan.
fn load(
    dir: &Path,
    threads: Option<NonZeroUsize>,
    pipeline: Option<PipelineSettings>,
) -> Result<(Arc<Model>, Option<Place>), StartError> {
    let Some(settings) = pipeline else {
        return model::load(dir, threads).map(|model| (Arc::new(model), None));
    };
    let layers = settings.own()?.layers;
    let layers = usize::from(layers.first())..usize::from(layers.end());
    let model = model::load_layers(dir, threads, Some(layers))?;
    let place = Place::take(settings, &model, threads)?;
    Ok((Arc::new(model), Some(place)))
}

/// Shows that evidence can be made before anybody asks for it.
async fn attest_self(lane: &LaneM, endorser: Option<&Endorser>) -> Result<StatementDigest, StartError> {
    let first = lane.attest(Binder::new(random()?)).await;
    let error = match (first, endorser) {
        (Ok(attested), _) => return Ok(attested.statement_digest),
        (Err(error), None) => error,
        (Err(error), Some(endorser)) => {
            let unendorsed = matches!(&error, LaneError::Attester(AttesterError::Unendorsed { .. }));
            if unendorsed && endorser.arrival().await {
                let again = lane.attest(Binder::new(random()?)).await;
                return again
                    .map(|attested| attested.statement_digest)
                    .map_err(StartError::SelfAttestation);
            }
            error
        }
    };
    Err(StartError::SelfAttestation(error))
}

/// Takes the enclave down when it can't attest any more: sessions that are
/// attested may finish, nobody new can be served.
async fn watch(node: Arc<Node>) {
    let mut tick = interval(HEALTH);
    loop {
        tick.tick().await;
        if let Some(reason) = unattestable(&node) {
            ops!(ERROR, "enclave.unattestable", cause = reason.as_str());
            node.life.drain();
            return;
        }
    }
}

/// Replaces the session key again and again: what signs without the hardware
/// doesn't do so for long.
async fn rotate(lane: LaneM, every: Duration) {
    let mut tick = interval_at(tokio::time::Instant::now() + every, every);
    loop {
        tick.tick().await;
        match SessionKey::generate() {
            Ok(key) => {
                lane.restate(|facts| facts.session_key = key);
                ops!(INFO, "enclave.session_key", phase = "replaced");
            }
            Err(error) => ops!(ERROR, "enclave.session_key", cause = error.to_string().as_str()),
        }
    }
}

/// Replaces the keys of sealed mode before their day is over. If that fails it is
/// tried again; when the day is over, nobody is given a key.
async fn rotate_sealed_keys(node: Arc<Node>) {
    let mut wait = ROTATION;
    loop {
        sleep(wait).await;
        wait = match node.sealed.rotate() {
            Ok(keys) => {
                node.lane.restate(|facts| facts.sealed_key = Some(keys.digest()));
                ROTATION
            }
            Err(_) => {
                ops!(ERROR, "sealed.rotation_failed", code = "sealed.no_key");
                HEALTH
            }
        };
    }
}

async fn bind(listen: ListenAddress) -> Result<Listener, StartError> {
    match listen {
        ListenAddress::Tcp(address) => Listener::tcp(address).await,
        ListenAddress::Vsock(port) => Listener::vsock(port),
    }
    .map_err(|source| refused(&listen, source))
}

fn refused(address: &impl ToString, source: std::io::Error) -> StartError {
    StartError::Listen {
        address: address.to_string(),
        source,
    }
}
