//! The relay between real sockets: bytes, half-close, limits, time-outs, drain
//! and back-pressure, over TCP, and over vsock where the kernel has it.

use std::time::{Duration, Instant};

use bastide_host_shim::Snapshot;
use bastide_host_shim::endpoint::Endpoint;
use bastide_host_shim::limits::Limits;
use bastide_host_shim::log::{Level, Log};
use bastide_host_shim::relay::{BindError, Relay};
use bastide_host_shim::shutdown::Shutdown;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::timeout;

const SECOND: Duration = Duration::from_secs(1);
/// Longer than anything here takes; a hang fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(20);

fn generous() -> Limits {
    Limits {
        max_connections: 64,
        per_address: 64,
        connect_timeout: 5 * SECOND,
        idle_timeout: 60 * SECOND,
        max_lifetime: 60 * SECOND,
        drain_timeout: 10 * SECOND,
    }
}

/// A relay on a free loopback port.
struct Running {
    port: u16,
    shutdown: Shutdown,
    ended: JoinHandle<Snapshot>,
}

impl Running {
    async fn start(to: &str, limits: Limits) -> Self {
        let relay = bind("tcp:127.0.0.1:0", to, limits).await.unwrap();
        let Endpoint::Tcp { port, .. } = *relay.listen() else {
            panic!("a TCP relay")
        };
        let shutdown = Shutdown::default();
        let token = shutdown.clone();
        let ended = tokio::spawn(async move { relay.run(&token).await });
        Self {
            port,
            shutdown,
            ended,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port)).await.unwrap()
    }

    /// Whether a new connection gets through. One that is refused can end before
    /// it is seen to begin.
    async fn serves(&self) -> bool {
        match TcpStream::connect(("127.0.0.1", self.port)).await {
            Ok(mut stream) => echoes(&mut stream).await,
            Err(_) => false,
        }
    }

    /// Stops it and gives its counters.
    async fn stop(self) -> Snapshot {
        self.shutdown.drain.cancel();
        timeout(PATIENCE, self.ended).await.expect("it drains").unwrap()
    }
}

async fn bind(listen: &str, to: &str, limits: Limits) -> Result<Relay, BindError> {
    let (listen, to) = (listen.parse().unwrap(), to.parse().unwrap());
    Relay::bind(&listen, to, limits, Log::new(Level::Error)).await
}

/// A guest, and its address.
async fn guest() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("tcp:{}", listener.local_addr().unwrap());
    (listener, address)
}

/// A guest that sends everything back.
async fn echo() -> String {
    let (listener, address) = guest().await;
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
                let _ = write.shutdown().await;
            });
        }
    });
    address
}

/// Bytes without a period that a chunk could hide.
fn pattern(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_u32;
    std::iter::repeat_with(|| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        state.to_be_bytes()[0]
    })
    .take(length)
    .collect()
}

/// Waits until the peer has ended the connection, and says whether in order.
async fn ended_in_order(stream: &mut TcpStream) -> bool {
    let mut rest = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("it ends")
        .is_ok()
}

async fn echoes(stream: &mut TcpStream) -> bool {
    let mut back = [0; 4];
    let exchange = async {
        stream.write_all(b"ping").await?;
        stream.read_exact(&mut back).await
    };
    timeout(PATIENCE, exchange)
        .await
        .expect("an answer or an end")
        .is_ok()
        && back == *b"ping"
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_megabytes_go_both_ways_unchanged_and_a_half_close_is_passed_on() {
    let relay = Running::start(&echo().await, generous()).await;
    let sent = pattern(8 << 20);
    let (mut read, mut write) = relay.connect().await.into_split();
    let bytes = sent.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&bytes).await.unwrap();
        // The guest answers the rest only if it learns of this.
        write.shutdown().await.unwrap();
        write
    });
    let mut back = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut back))
        .await
        .expect("no hang")
        .unwrap();
    assert!(back == sent, "{} bytes came back", back.len());
    drop(writer.await.unwrap());
    let counters = relay.stop().await;
    assert_eq!(
        (counters.bytes_to_guest, counters.bytes_to_client),
        (8 << 20, 8 << 20)
    );
    assert_eq!((counters.accepted, counters.complete), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_reaches_a_client_that_is_still_sending() {
    let (listener, to) = guest().await;
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut some = [0; 1024];
        stream.read_exact(&mut some).await.unwrap();
        stream.write_all(b"too much").await.unwrap();
        // Closes with most of the request unread, which resets the connection.
    });
    let relay = Running::start(&to, generous()).await;
    let (mut read, mut write) = relay.connect().await.into_split();
    let writer = tokio::spawn(async move {
        let _ = write.write_all(&vec![7; 1 << 20]).await;
        write
    });
    let mut answer = [0; 8];
    timeout(PATIENCE, read.read_exact(&mut answer))
        .await
        .expect("no hang")
        .unwrap();
    assert_eq!(&answer, b"too much");
    drop((read, writer.await.unwrap()));
    assert_eq!(relay.stop().await.broken, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_over_the_limit_are_refused_and_the_others_go_on() {
    let limits = Limits {
        max_connections: 2,
        ..generous()
    };
    let relay = Running::start(&echo().await, limits).await;
    let (mut one, mut two) = (relay.connect().await, relay.connect().await);
    assert!(echoes(&mut one).await && echoes(&mut two).await);
    assert!(!relay.serves().await);
    assert!(echoes(&mut one).await && echoes(&mut two).await);

    drop(one);
    let freed = async {
        while !relay.serves().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, freed)
        .await
        .expect("a closed connection frees its place");
    drop(two);
    assert!(relay.stop().await.refused_full >= 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_gets_its_share_and_another_is_still_served() {
    let limits = Limits {
        per_address: 1,
        ..generous()
    };
    let relay = Running::start(&echo().await, limits).await;
    let mut one = relay.connect().await;
    assert!(echoes(&mut one).await);
    assert!(!relay.serves().await);
    // All of 127.0.0.0/8 is this machine.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
    let mut other = socket.connect(([127, 0, 0, 1], relay.port).into()).await.unwrap();
    assert!(echoes(&mut other).await);
    drop((one, other));
    assert_eq!(relay.stop().await.refused_per_address, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_ended_and_both_ends_are_told() {
    let (listener, to) = guest().await;
    let limits = Limits {
        idle_timeout: Duration::from_millis(300),
        ..generous()
    };
    let relay = Running::start(&to, limits).await;
    let mut client = relay.connect().await;
    let (mut at_guest, _) = listener.accept().await.unwrap();
    let began = Instant::now();
    assert!(
        !ended_in_order(&mut client).await,
        "the client sees an abrupt end"
    );
    assert!(
        !ended_in_order(&mut at_guest).await,
        "the guest sees an abrupt end"
    );
    assert!(
        began.elapsed() >= Duration::from_millis(250),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(relay.stop().await.idle, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_is_ended_with_its_lifetime_however_busy() {
    let limits = Limits {
        max_lifetime: Duration::from_millis(400),
        ..generous()
    };
    let relay = Running::start(&echo().await, limits).await;
    let mut client = relay.connect().await;
    let began = Instant::now();
    while echoes(&mut client).await {
        assert!(began.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(
        began.elapsed() >= Duration::from_millis(350),
        "{:?}",
        began.elapsed()
    );
    assert_eq!(relay.stop().await.lifetime, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_is_down_ends_the_client_at_once_and_is_tried_again() {
    let (listener, to) = guest().await;
    let address = listener.local_addr().unwrap();
    drop(listener);
    let relay = Running::start(&to, generous()).await;
    let began = Instant::now();
    assert!(!relay.serves().await);
    assert!(began.elapsed() < 3 * SECOND, "{:?}", began.elapsed());

    let listener = TcpListener::bind(address).await.unwrap();
    let _client = relay.connect().await;
    timeout(PATIENCE, listener.accept())
        .await
        .expect("the guest is back")
        .unwrap();
    relay.shutdown.now.cancel();
    assert_eq!(relay.stop().await.upstream_failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_does_not_answer_costs_a_client_the_connect_timeout() {
    // A listener whose queue is full takes no more connections.
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(stream) = timeout(Duration::from_millis(300), TcpStream::connect(address)).await {
        queued.push(stream.unwrap());
    }
    let limits = Limits {
        connect_timeout: Duration::from_millis(300),
        ..generous()
    };
    let relay = Running::start(&format!("tcp:{address}"), limits).await;
    let mut client = relay.connect().await;
    let began = Instant::now();
    assert!(!ended_in_order(&mut client).await);
    assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
    assert_eq!(relay.stop().await.upstream_failed, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_takes_no_one_new_and_lets_the_open_ones_end() {
    let relay = Running::start(&echo().await, generous()).await;
    let mut client = relay.connect().await;
    assert!(echoes(&mut client).await);
    relay.shutdown.drain.cancel();
    let refused = async {
        while TcpStream::connect(("127.0.0.1", relay.port)).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(PATIENCE, refused).await.expect("the port is closed");
    assert!(echoes(&mut client).await, "the open connection goes on");
    drop(client);
    let counters = relay.stop().await;
    assert_eq!((counters.complete, counters.cut), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_at_its_deadline_or_at_the_second_signal() {
    for second_signal in [false, true] {
        let drain_timeout = if second_signal {
            PATIENCE
        } else {
            Duration::from_millis(300)
        };
        let relay = Running::start(
            &echo().await,
            Limits {
                drain_timeout,
                ..generous()
            },
        )
        .await;
        let mut client = relay.connect().await;
        assert!(echoes(&mut client).await);
        let shutdown = relay.shutdown.clone();
        let began = Instant::now();
        let stopped = tokio::spawn(relay.stop());
        if second_signal {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert!(!stopped.is_finished(), "the first signal only drains");
            shutdown.now.cancel();
        }
        assert_eq!(stopped.await.unwrap().cut, 1);
        assert!(began.elapsed() < 5 * SECOND, "{:?}", began.elapsed());
        assert!(!ended_in_order(&mut client).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_that_cannot_be_listened_on_says_why() {
    let (_listener, taken) = guest().await;
    let error = bind(&taken, "tcp:127.0.0.1:1", generous()).await.unwrap_err();
    assert_eq!(error.code(), "shim.listen.address_in_use");
    assert!(
        error.to_string().contains(&taken) && error.remedy().contains("port 0"),
        "{error}"
    );
    let error = bind("tcp:192.0.2.1:0", "tcp:127.0.0.1:1", generous())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "shim.listen.address_not_here");
    // No machine is context 4242424242.
    let error = bind("vsock:4242424242:0", "tcp:127.0.0.1:1", generous())
        .await
        .unwrap_err();
    assert_eq!(error.code(), "shim.listen.no_vsock");
}

#[tokio::test(flavor = "multi_thread")]
async fn vsock_serves_on_either_side_where_the_kernel_has_loopback() {
    // The outer relay's far side is the inner relay's near side, by vsock.
    let Ok(inner) = bind("vsock:1:0", &echo().await, generous()).await else {
        println!("ignored: no loopback vsock");
        return;
    };
    let between = inner.listen().to_string();
    let shutdown = Shutdown::default();
    let token = shutdown.clone();
    let inner = tokio::spawn(async move { inner.run(&token).await });
    let outer = Running::start(&between, generous()).await;
    let sent = pattern(1 << 20);
    let (mut read, mut write) = outer.connect().await.into_split();
    let bytes = sent.clone();
    let writer = tokio::spawn(async move {
        write.write_all(&bytes).await.unwrap();
        write.shutdown().await.unwrap();
        write
    });
    let mut back = Vec::new();
    timeout(PATIENCE, read.read_to_end(&mut back))
        .await
        .expect("no hang")
        .unwrap();
    assert!(back == sent, "{} bytes came back", back.len());
    drop(writer.await.unwrap());
    assert_eq!(outer.stop().await.complete, 1);
    shutdown.drain.cancel();
    assert_eq!(inner.await.unwrap().complete, 1);
}
