//! GPUs from boot to every session: opened by an appraisal, named in statements,
//! closed by an event; and clients that judge what they are sent.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use bastide_attestation::{
    Appraiser, AttestationResult, EpochStatement, Evidence, SessionExpectation, UnixTime, Untrusted, Verdict,
    sha256,
};
use bastide_attested_tls::ConnectError;
use bastide_enclave::gpus::Rhythm;
use bastide_enclave::startup::Ended;
use bastide_verifier::shipped::{DEVELOPMENT, PRODUCTION};
use bastide_verifier::{Policy, Verifier};
use hyper::Method;
use serde_json::json;

use crate::serving::node::{Client, Log, Node, ask};
use crate::serving::nvml::{Machine, RHYTHM};

type Change = Box<dyn Fn(&mut Evidence) + Send + Sync>;

/// A client's verifier with the development policy, and somebody before it who
/// keeps what comes and may change it.
struct Watched {
    verifier: Verifier,
    change: Change,
    seen: Mutex<Vec<Evidence>>,
}

impl Watched {
    fn new() -> Arc<Self> {
        Self::changing(|_| ())
    }

    fn changing(change: impl Fn(&mut Evidence) + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self {
            verifier: Verifier::new(Policy::parse(DEVELOPMENT.as_bytes()).unwrap()),
            change: Box::new(change),
            seen: Mutex::default(),
        })
    }

    fn last(&self) -> Evidence {
        self.seen.lock().unwrap().last().unwrap().clone()
    }
}

impl Appraiser for Watched {
    fn appraise(
        &self,
        evidence: &Untrusted<Evidence>,
        session: &SessionExpectation,
        now: UnixTime,
    ) -> Result<AttestationResult, Box<Verdict>> {
        let mut evidence = evidence.as_unverified().clone();
        self.seen.lock().unwrap().push(evidence.clone());
        (self.change)(&mut evidence);
        self.verifier.appraise(&Untrusted::new(evidence), session, now)
    }
}

fn stated(evidence: &Evidence) -> EpochStatement {
    EpochStatement::decode(&evidence.statement).unwrap()
}

/// The verdict's code of a session that was refused.
fn refusal(connected: Result<Client, ConnectError>) -> &'static str {
    match connected.map(drop) {
        Err(ConnectError::Refused { verdict, .. }) => verdict.code.unwrap(),
        other => panic!("expected a verdict, got {other:?}"),
    }
}

async fn metric(node: &Node, name: &str) -> f64 {
    let text = node.monitor("/metrics").await;
    let prefix = format!("bastide_enclave_{name} ");
    let value = text.lines().find_map(|line| line.strip_prefix(&prefix));
    value
        .unwrap_or_else(|| panic!("{name} in {text}"))
        .parse()
        .unwrap()
}

/// Waits until the metric is at least this.
async fn metric_reaches(node: &Node, name: &str, least: f64) {
    for _ in 0..1000 {
        if metric(node, name).await >= least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("{name} never reached {least}: {}", node.monitor("/metrics").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_open_by_an_appraisal_and_are_in_the_evidence_of_every_session() {
    let machine = Machine::boot();
    let node = Node::with_gpus(machine.gpus(DEVELOPMENT, RHYTHM)).await.unwrap();
    assert_eq!(machine.ready(), 1);
    assert_eq!(metric(&node, "gpu_epoch").await, 1.0);
    assert_eq!(metric(&node, "gpu_attested").await, 1.0);
    assert!(metric(&node, "gpu_collection_seconds").await > 0.0);
    for _ in 0..2 {
        let watched = Watched::new();
        let mut client = node.judged_by(Arc::clone(&watched) as _).await.unwrap();
        let verdict = &client.connection.result().verdict;
        assert!(verdict.simulated);
        assert_eq!(verdict.gpus[0]["driver"], "580.159.03");
        let evidence = watched.last();
        let (statement, part) = (stated(&evidence), evidence.gpu.unwrap());
        assert_eq!(statement.gpu_epoch, 1);
        assert_eq!(statement.gpu_digest, Some(sha256(&[&part.evidence])));
        assert_eq!(
            (part.endorsements.rims.len(), part.endorsements.crls.len()),
            (2, 0)
        );
        let more = json!({"max_tokens": 2});
        assert_eq!(client.chat(&ask("Hello", &more)).await.status, 200);
    }
    // A process that ends leaves no GPU open.
    node.life.drain();
    assert_eq!(node.running.await.unwrap(), Ended::Drained);
    assert_eq!(machine.ready(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gpu_epoch_has_the_latest_statement_as_its_seed() {
    let rhythm = Rhythm {
        renew: Duration::from_millis(150),
        ..RHYTHM
    };
    let node = Node::with_gpus(Machine::boot().gpus(DEVELOPMENT, rhythm))
        .await
        .unwrap();
    let watched = Watched::new();
    node.judged_by(Arc::clone(&watched) as _).await.unwrap();
    let first = watched.last();
    let after = metric(&node, "gpu_epoch").await + 2.0;
    metric_reaches(&node, "gpu_epoch", after).await;
    node.judged_by(Arc::clone(&watched) as _).await.unwrap();
    let second = watched.last();
    assert!(stated(&second).gpu_epoch > stated(&first).gpu_epoch);
    assert_eq!(second.gpu.unwrap().seed, sha256(&[&first.statement]));
    // A renewal is no event.
    assert_eq!(metric(&node, "gpu_failures_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn gpus_that_the_policy_refuses_stay_closed_and_nothing_starts() {
    let machine = Machine::boot();
    let error = Node::with_gpus(machine.gpus(PRODUCTION, RHYTHM))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!((error.code(), error.exit_code()), ("gpu.root.unknown", 1));
    let report = error.report();
    assert!(report.contains("GPUs are closed (ready state 0)"), "{report}");
    assert!(report.contains("policy `production`"), "{report}");

    machine.lose_manifests();
    let error = Node::with_gpus(machine.gpus(DEVELOPMENT, RHYTHM))
        .await
        .map(drop)
        .unwrap_err();
    assert_eq!(error.code(), "gpu.rim.missing");
    assert_eq!((machine.ready(), machine.was_opened()), (0, false));
}

#[tokio::test(flavor = "multi_thread")]
async fn t13_an_event_closes_gpus_and_refuses_requests_until_they_are_attested_again() {
    let machine = Machine::boot();
    let node = Node::with_gpus(machine.gpus(DEVELOPMENT, RHYTHM)).await.unwrap();
    let asks = node.judged_by(Watched::new()).await.unwrap();
    // Several, and each asks again until it is cut: however fast this machine
    // answers, the event finds an answer under way.
    let mut generations = Vec::new();
    for seed in 3..9 {
        let mut generates = node.judged_by(Watched::new()).await.unwrap();
        generations.push(tokio::spawn(async move {
            let more = json!({"temperature": 2, "seed": seed, "max_tokens": 900, "stream": true});
            loop {
                let Ok(answer) = generates.try_chat(&ask("Tell me a story", &more)).await else {
                    return (0, String::new());
                };
                let body = String::from_utf8_lossy(&answer.body).into_owned();
                if answer.status != 200 || !body.contains("\"finish_reason\":\"") {
                    return (answer.status, body);
                }
            }
        }));
    }
    metric_reaches(&node, "generations_running", 1.0).await;

    machine.set_developer_tools(true);
    metric_reaches(&node, "gpu_failures_total", 2.0).await;
    assert_eq!(machine.ready(), 0);
    assert_eq!(metric(&node, "gpu_attested").await, 0.0);
    assert_eq!(metric(&node, "ready").await, 0.0);
    let ready = node.monitor("/readyz").await;
    assert!(
        ready.starts_with("HTTP/1.1 503") && ready.ends_with("GPUs are not attested\n"),
        "{ready}"
    );
    // Nobody keeps a connection from before the event.
    asks.closed().await;
    assert!(node.judged_by(Watched::new()).await.is_err());
    // What was being answered ends as a failure, and what was asked after it is refused.
    let mut cut = 0;
    for generation in generations {
        let (status, body) = generation.await.unwrap();
        assert!(matches!(status, 0 | 200 | 503), "{status}: {body}");
        // Whoever asked in between found the connection closed.
        assert!(status == 0 || body.contains("gpus_not_attested"), "{body}");
        cut += usize::from(status == 200);
    }
    assert!(cut > 0, "no answer was under way at the event");

    machine.set_developer_tools(false);
    metric_reaches(&node, "ready", 1.0).await;
    assert_eq!(machine.ready(), 1);
    let watched = Watched::new();
    let mut client = node.judged_by(Arc::clone(&watched) as _).await.unwrap();
    assert!(stated(&watched.last()).gpu_epoch > 1);
    assert_eq!(client.send(Method::GET, "/v1/models", "").await.status, 200);
    let log = Log::of_process().text();
    assert!(
        log.contains("gpus.not_attested") && log.contains("developer tools"),
        "{log}"
    );
}

/// A newer GPU epoch that nobody forced: answers under way go on, and the
/// connection then has to be attested anew.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_an_older_gpu_epoch_ends_after_the_answer_under_way() {
    let rhythm = Rhythm {
        renew: Duration::from_millis(1500),
        ..RHYTHM
    };
    let node = Node::with_gpus(Machine::boot().gpus(DEVELOPMENT, rhythm))
        .await
        .unwrap();
    let idle = node.judged_by(Watched::new()).await.unwrap();
    let mut asks = node.judged_by(Watched::new()).await.unwrap();
    asks.answers_until_closed().await;
    idle.closed().await;
    assert!(metric(&node, "gpu_epoch").await >= 2.0);
    assert_eq!(metric(&node, "gpu_failures_total").await, 0.0);
    assert!(node.judged_by(Watched::new()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gpu_that_hangs_ends_the_enclave() {
    let machine = Machine::boot();
    let node = Node::with_gpus(machine.gpus(DEVELOPMENT, RHYTHM)).await.unwrap();
    machine.hang(true);
    let ended = tokio::time::timeout(Duration::from_secs(30), node.running).await;
    assert_eq!(ended.unwrap().unwrap(), Ended::Unattestable);
    // The call that returns after all finds GPUs to be closed.
    machine.hang(false);
    for _ in 0..500 {
        if machine.ready() == 0 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("GPUs stayed open");
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_of_another_boot_or_over_another_nonce_is_refused_by_the_client() {
    let machine = Machine::boot();
    let rhythm = RHYTHM;
    let other = Node::with_gpus(machine.gpus(DEVELOPMENT, rhythm)).await.unwrap();
    let watched = Watched::new();
    other.judged_by(Arc::clone(&watched) as _).await.unwrap();
    let foreign = watched.last().gpu;

    // The same GPU, another boot.
    let node = Node::with_gpus(machine.gpus(DEVELOPMENT, rhythm)).await.unwrap();
    let replaced = Watched::changing(move |evidence| evidence.gpu = foreign.clone());
    assert_eq!(refusal(node.judged_by(replaced).await), "gpu.evidence.digest");
    let reseeded = Watched::changing(|evidence| evidence.gpu.as_mut().unwrap().seed[0] ^= 1);
    assert_eq!(refusal(node.judged_by(reseeded).await), "gpu.nonce.mismatch");
    let left_out = Watched::changing(|evidence| evidence.gpu = None);
    assert_eq!(refusal(node.judged_by(left_out).await), "gpu.evidence.missing");
    assert!(node.judged_by(Watched::new()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_without_gpus_is_refused_by_a_policy_that_asks_for_one() {
    let node = Node::start().await;
    assert_eq!(
        refusal(node.judged_by(Watched::new()).await),
        "gpu.evidence.missing"
    );
}
