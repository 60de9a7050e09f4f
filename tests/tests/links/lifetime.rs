//! Leases: renewed in band while messages go on, and the end of a link whose
//! peer gives no fresh evidence. Times are short; the default ones are tested
//! where the machine is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bastide_attestation::{Attestation, Attester, AttesterError, StatementBytes};
use bastide_attested_tls::{AttestedLink, LinkEnd, LinkEndpoint, LinkTimes};
use bastide_attester::simulator::{Generation, Simulator, SimulatorOptions};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

use crate::enclave::{Machine, chips, link, now, terms};

fn short() -> LinkTimes {
    LinkTimes {
        renew_after: Duration::from_millis(400),
        drain_after: Duration::from_millis(1500),
        lease: Duration::from_millis(2000),
        renew_gap: Duration::from_millis(50),
        close: Duration::from_millis(400),
        ..LinkTimes::default()
    }
}

fn endpoint(machine: &Machine, stage: u16, peer: &Machine, times: LinkTimes) -> LinkEndpoint {
    let mut terms = terms(stage, 1 - stage, chips(&[peer.chip]));
    terms.times = times;
    machine.with_terms(terms)
}

/// A simulated guest whose security processor can be switched off.
struct Switched {
    simulator: Simulator,
    off: AtomicBool,
}

impl Attester for Switched {
    fn attest(&self, statement: &StatementBytes) -> Result<Attestation, AttesterError> {
        if self.off.load(Ordering::SeqCst) {
            return Err(AttesterError::Unusable {
                reason: "switched off".to_owned(),
            });
        }
        self.simulator.attest(statement)
    }

    fn name(&self) -> &'static str {
        "switched"
    }
}

async fn switched() -> (Machine, Arc<Switched>) {
    let options = SimulatorOptions {
        chip: 2,
        ..SimulatorOptions::new(Generation::Genoa, now())
    };
    let attester = Arc::new(Switched {
        simulator: Simulator::new(options).unwrap(),
        off: AtomicBool::new(false),
    });
    (Machine::with_attester(attester.clone()).await, attester)
}

fn epoch(link: &AttestedLink) -> u64 {
    link.peer().unwrap().result.statement.epoch
}

#[tokio::test]
async fn a_link_outlives_many_leases_and_loses_no_message() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = endpoint(&one, 0, &two, short());
    let server = endpoint(&two, 1, &one, short());
    let (client, server) = link(&client, &server).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    let first = (epoch(&client), epoch(&server));
    for number in 0..500_u32 {
        let message = number.to_be_bytes().to_vec();
        client.send(message.clone()).await.unwrap();
        assert_eq!(server.recv().await, Ok(Some(message.clone())));
        server.send(message.clone()).await.unwrap();
        assert_eq!(client.recv().await, Ok(Some(message)));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    // Over five seconds: more than two leases of two.
    assert!(
        epoch(&client) >= first.0 + 5,
        "{} after {}",
        epoch(&client),
        first.0
    );
    assert!(
        epoch(&server) >= first.1 + 5,
        "{} after {}",
        epoch(&server),
        first.1
    );
}

#[tokio::test]
async fn an_enclave_that_can_no_longer_attest_drains_and_closes() {
    let one = Machine::on_chip(1).await;
    let (two, attester) = switched().await;
    let client = endpoint(&one, 0, &two, short());
    let server = endpoint(&two, 1, &one, short());
    let (client, server) = link(&client, &server).await;
    let (mut client, mut server) = (client.unwrap(), server.unwrap());
    attester.off.store(true, Ordering::SeqCst);
    // What was accepted for sending before still arrives.
    server.send(b"before".to_vec()).await.unwrap();
    assert_eq!(client.recv().await, Ok(Some(b"before".to_vec())));
    let end = client.recv().await.unwrap_err();
    assert_eq!(end.code(), "link.peer_closed", "{end}");
    assert!(end.to_string().contains("can't attest itself"), "{end}");
    assert_eq!(server.recv().await.unwrap_err().code(), "link.unattestable");
    assert!(server.send(b"after".to_vec()).await.is_err());
}

/// A network between the ends that stops passing anything on, and says nothing.
async fn with_dead_network(times: LinkTimes) -> (AttestedLink, AttestedLink) {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = endpoint(&one, 0, &two, times);
    let server = endpoint(&two, 1, &one, times);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let relay = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (behind, before) = (listener.local_addr().unwrap(), relay.local_addr().unwrap());
    let network = tokio::spawn(async move {
        let (mut near, _) = relay.accept().await.unwrap();
        let mut far = TcpStream::connect(behind).await.unwrap();
        // Dropped sockets would be closed ones: they are kept, and nobody reads.
        tokio::select! {
            _ = copy_bidirectional(&mut near, &mut far) => {}
            () = tokio::time::sleep(Duration::from_millis(300)) => {}
        }
        tokio::time::sleep(Duration::from_secs(60)).await;
        drop((near, far));
    });
    let accept = async {
        let (stream, _) = listener.accept().await.unwrap();
        server.accept_over(stream).await
    };
    let (client, server) = tokio::join!(client.connect(1, before), accept);
    drop(network);
    (client.unwrap(), server.unwrap())
}

#[tokio::test]
async fn a_peer_that_has_vanished_costs_no_more_than_a_lease() {
    let (mut client, mut server) = with_dead_network(short()).await;
    let began = std::time::Instant::now();
    for link in [&mut client, &mut server] {
        let end = link.recv().await.unwrap_err();
        assert_eq!(end.code(), "link.not_renewed", "{end}");
        assert!(link.send(b"x".to_vec()).await.is_err());
    }
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_peer_that_does_not_take_what_is_written_ends_the_link() {
    let times = LinkTimes {
        write: Duration::from_millis(500),
        ..LinkTimes::default()
    };
    let (client, _server) = with_dead_network(times).await;
    let sender = client.sender();
    tokio::time::sleep(Duration::from_millis(400)).await;
    let end = loop {
        let sent = tokio::time::timeout(Duration::from_secs(20), sender.send(vec![0; 1024 * 1024]));
        if let Err(end) = sent.await.expect("the write time-out ends it") {
            break end;
        }
    };
    // The end itself is known once the last words have had their time.
    let mut client = client;
    let last = client.recv().await.unwrap_err();
    assert!(matches!(last, LinkEnd::Connection { .. }), "{last} after {end}");
}

#[tokio::test]
async fn dropping_a_link_closes_it_for_the_peer() {
    let (one, two) = (Machine::on_chip(1).await, Machine::on_chip(2).await);
    let client = endpoint(&one, 0, &two, LinkTimes::default());
    let server = endpoint(&two, 1, &one, LinkTimes::default());
    let (client, server) = link(&client, &server).await;
    let mut server = server.unwrap();
    drop(client.unwrap());
    assert_eq!(server.recv().await, Ok(None));
    assert!(server.send(b"x".to_vec()).await.is_err());
}
