use super::*;
use crate::metrics::Metrics;

fn limits() -> AdmissionLimits {
    AdmissionLimits {
        handshakes: 8,
        client_handshakes: 3,
        client_connections: 5,
        clients: 4,
        ..AdmissionLimits::default()
    }
}

fn admission(limits: AdmissionLimits, connections: usize) -> Arc<Admission> {
    Admission::new(limits, connections, &Arc::new(Metrics::new()))
}

fn address(last: u8) -> Option<IpAddr> {
    Some(IpAddr::from([192, 0, 2, last]))
}

#[test]
fn a_client_that_floods_leaves_room_for_another() {
    let (admission, now) = (admission(limits(), 100), Instant::now());
    let mut flood: Vec<_> = (0..3)
        .map(|_| admission.arrive(address(1), now).unwrap())
        .collect();
    assert_eq!(
        admission.arrive(address(1), now).unwrap_err(),
        Refusal::ClientHandshakes
    );
    let other = admission.arrive(address(2), now).unwrap();
    other.handshaken();
    flood.iter().for_each(Guest::handshaken);
    flood.extend((0..2).map(|_| admission.arrive(address(1), now).unwrap()));
    assert_eq!(
        admission.arrive(address(1), now).unwrap_err(),
        Refusal::ClientConnections
    );
    flood.clear();
    assert!(admission.arrive(address(1), now).is_ok());
}

#[test]
fn every_place_comes_back_when_a_guest_goes_however_it_goes() {
    let (admission, now) = (admission(limits(), 100), Instant::now());
    for round in 0..50 {
        let guests: Vec<_> = (0..3)
            .map(|_| admission.arrive(address(1), now).unwrap())
            .collect();
        if round % 2 == 0 {
            // Told twice, counted once.
            guests.iter().for_each(Guest::handshaken);
            guests.iter().for_each(Guest::handshaken);
        }
    }
    let state = admission.state();
    assert_eq!((state.connections, state.handshakes), (0, 0));
}

#[test]
fn the_nodes_own_limits_hold_for_all_clients_together() {
    let limits = AdmissionLimits {
        clients: 100,
        ..limits()
    };
    let (admission, now) = (admission(limits, 10), Instant::now());
    let guests: Vec<_> = (0..8)
        .map(|last| admission.arrive(address(last), now).unwrap())
        .collect();
    assert_eq!(
        admission.arrive(address(9), now).unwrap_err(),
        Refusal::Handshakes
    );
    guests.iter().for_each(Guest::handshaken);
    let more: Vec<_> = (0..2)
        .map(|_| admission.arrive(address(9), now).unwrap())
        .collect();
    assert_eq!(
        admission.arrive(address(10), now).unwrap_err(),
        Refusal::Connections
    );
    drop((guests, more));
}

#[test]
fn behind_a_relay_each_connection_is_a_client() {
    let (admission, now) = (admission(limits(), 100), Instant::now());
    let relay = Some(IpAddr::from([127, 0, 0, 1]));
    let guests: Vec<_> = (0..8).map(|_| admission.arrive(relay, now).unwrap()).collect();
    let mut shares: Vec<_> = guests.iter().map(Guest::share).collect();
    shares.dedup();
    assert_eq!(shares.len(), 8, "no two are dealt out together");
    assert_eq!(admission.arrive(None, now).unwrap_err(), Refusal::Handshakes);
}

#[test]
fn a_full_table_forgets_nobody_who_is_here_or_owes_something() {
    let admission = admission(
        AdmissionLimits {
            client_arrivals: Rate {
                per_minute: 60,
                burst: 2,
            },
            ..limits()
        },
        1000,
    );
    let start = Instant::now();
    // Four addresses spend their burst and go away.
    for last in 0..4 {
        for _ in 0..2 {
            admission.arrive(address(last), start).unwrap();
        }
    }
    // Strangers fill what is left: one place for all of them.
    let stranger = admission.arrive(address(100), start).unwrap();
    assert_eq!(stranger.seat, Some(Seat::Shared));
    admission.arrive(address(101), start).unwrap();
    assert_eq!(
        admission.arrive(address(102), start).unwrap_err(),
        Refusal::ClientArrivals
    );
    assert_eq!(
        admission.arrive(address(0), start).unwrap_err(),
        Refusal::ClientArrivals,
        "it was not forgotten"
    );
    // With nothing held against them they are.
    let later = start + Duration::from_secs(3);
    let guest = admission.arrive(address(103), later).unwrap();
    assert!(matches!(guest.seat, Some(Seat::Own(_))));
    assert_eq!(admission.state().clients.len(), 1);
}

#[test]
fn a_hundred_thousand_addresses_take_no_more_memory_than_the_table_has_places() {
    let admission = admission(
        AdmissionLimits {
            clients: 64,
            ..limits()
        },
        1000,
    );
    let start = Instant::now();
    for number in 0..100_000_u32 {
        let now = start + Duration::from_micros(u64::from(number) * 50);
        let peer = IpAddr::from((0x0a00_0000 + number).to_be_bytes());
        // Most are refused: they share the places of strangers.
        let _ = admission.arrive(Some(peer), now);
        assert!(admission.state().clients.len() <= 64);
    }
}

#[tokio::test]
async fn one_connection_reads_no_more_bodies_at_once_than_a_few() {
    let admission = admission(limits(), 10);
    let guest = admission.arrive(None, Instant::now()).unwrap();
    let mut places = Vec::new();
    for _ in 0..BODIES {
        places.push(guest.body_place().await);
    }
    let moment = Duration::from_millis(20);
    assert!(tokio::time::timeout(moment, guest.body_place()).await.is_err());
    places.pop();
    assert!(tokio::time::timeout(moment, guest.body_place()).await.is_ok());
}

#[test]
fn attests_are_limited_for_a_connection_a_client_and_the_node() {
    let rate = |burst| Rate {
        per_minute: 60,
        burst,
    };
    let admission = admission(
        AdmissionLimits {
            connection_attests: rate(2),
            client_attests: rate(3),
            attests: rate(5),
            ..limits()
        },
        100,
    );
    let now = Instant::now();
    let guest = |last| admission.arrive(address(last), now).unwrap();
    let refusal = |guest: &Guest| admission.attest(guest, now).map_err(|fast| fast.refusal);
    let (one, two, other, third) = (guest(1), guest(1), guest(2), guest(3));
    assert_eq!([refusal(&one), refusal(&one)], [Ok(()), Ok(())]);
    assert_eq!(refusal(&one), Err(Refusal::ConnectionAttests));
    assert_eq!(refusal(&two), Ok(()));
    assert_eq!(refusal(&two), Err(Refusal::ClientAttests));
    assert_eq!([refusal(&other), refusal(&other)], [Ok(()), Ok(())]);
    let fast = admission.attest(&third, now).unwrap_err();
    assert_eq!(
        (fast.refusal, fast.wait),
        (Refusal::Attests, Duration::from_secs(1))
    );
}
