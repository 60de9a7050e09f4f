//! What a node sees through the relay, byte for byte: a real socket takes the
//! node's place and writes down everything that comes.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use bastide_host_shim::shutdown::Shutdown;
use bastide_ohttp_relay::server::Server;

struct Running {
    address: SocketAddr,
    shutdown: Shutdown,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Running {
    fn before(gateway: SocketAddr) -> Self {
        let shutdown = Shutdown::default();
        let (send, receive) = mpsc::channel();
        let stop = shutdown.clone();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(async {
                let gateway = format!("http://{gateway}").parse().unwrap();
                let server = Server::bind("127.0.0.2:0".parse().unwrap(), gateway, 4, 3)
                    .await
                    .unwrap();
                send.send(server.listen().unwrap()).unwrap();
                server.run(&stop).await;
            });
        });
        Self {
            address: receive.recv().unwrap(),
            shutdown,
            thread: Some(thread),
        }
    }

    fn send(&self, request: &str) -> TcpStream {
        let mut socket = TcpStream::connect(self.address).unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        socket.write_all(request.as_bytes()).unwrap();
        socket
    }

    fn ask(&self, request: &str) -> String {
        let mut socket = self.send(request);
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        answer
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown.drain.cancel();
        self.shutdown.now.cancel();
        if let Some(thread) = self.thread.take() {
            let ended = thread.join();
            assert!(ended.is_ok() || std::thread::panicking());
        }
    }
}

/// Takes one connection, reads until `end` came, answers, and gives what came and from where.
fn node(listener: &TcpListener, end: &str, answer: &str) -> (String, SocketAddr) {
    let (mut socket, peer) = listener.accept().unwrap();
    let mut came = Vec::new();
    let mut buffer = [0; 4096];
    while !came.ends_with(end.as_bytes()) {
        let read = socket.read(&mut buffer).unwrap();
        assert!(
            read > 0,
            "the relay closed before: {}",
            String::from_utf8_lossy(&came)
        );
        came.extend_from_slice(&buffer[..read]);
    }
    socket.write_all(answer.as_bytes()).unwrap();
    (String::from_utf8(came).unwrap(), peer)
}

const SEALED: &str = "HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\nset-cookie: node=1\r\n\
                      content-length: 6\r\n\r\nsealed";

#[test]
fn the_relay_shows_the_node_nothing_of_the_client() {
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let relay = Running::before(listener.local_addr().unwrap());
    let came = std::thread::spawn(move || node(&listener, "opaque", SEALED));
    let mut client = TcpStream::connect(relay.address).unwrap();
    let own = client.local_addr().unwrap();
    client
        .write_all(
            format!(
                "POST /.well-known/bastide/sealed HTTP/1.1\r\nhost: relay.example\r\n\
                 content-type: message/ohttp-chunked-req\r\ncontent-length: 6\r\n\
                 user-agent: canary-agent/1\r\ncookie: canary=1\r\nauthorization: Bearer canary\r\n\
                 forwarded: for={own}\r\nx-forwarded-for: {own}\r\nx-real-ip: canary\r\nvia: canary\r\n\
                 accept-language: canary\r\nreferer: http://canary\r\ntraceparent: canary\r\n\
                 x-anything-new: canary\r\n\r\nopaque"
            )
            .as_bytes(),
        )
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(
        answer.contains("content-type: message/ohttp-chunked-res"),
        "{answer}"
    );
    assert!(answer.ends_with("\r\n\r\nsealed"), "{answer}");
    assert!(
        !answer.contains("cookie"),
        "the node can't mark a client: {answer}"
    );

    let (request, peer) = came.join().unwrap();
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    assert_eq!(lines.remove(0), "POST /.well-known/bastide/sealed HTTP/1.1");
    lines.sort_unstable();
    let names: Vec<&str> = lines.iter().map(|line| line.split(':').next().unwrap()).collect();
    assert_eq!(
        names,
        ["accept", "content-length", "content-type", "host", "incremental"]
    );
    assert_eq!(body, "opaque");
    assert!(!request.contains("canary") && !request.contains(&own.ip().to_string()));
    assert_ne!(peer, own);
    assert_ne!(peer.port(), own.port());
}

#[test]
fn an_answer_is_passed_on_as_it_comes() {
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let relay = Running::before(listener.local_addr().unwrap());
    let (go, wait) = mpsc::channel();
    let answering = std::thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        let _ = socket.read(&mut buffer).unwrap();
        socket
            .write_all(
                b"HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\n\
                  transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n",
            )
            .unwrap();
        // The second part is not sent before the client has the first.
        wait.recv_timeout(Duration::from_secs(20)).unwrap();
        socket.write_all(b"6\r\nsecond\r\n0\r\n\r\n").unwrap();
    });
    let mut client = relay.send(
        "POST /.well-known/bastide/sealed HTTP/1.1\r\nhost: x\r\n\
         content-type: message/ohttp-chunked-req\r\ncontent-length: 1\r\n\r\nx",
    );
    let mut came = String::new();
    let mut buffer = [0; 4096];
    while !came.contains("first") {
        let read = client.read(&mut buffer).unwrap();
        assert!(read > 0, "{came}");
        came.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }
    go.send(()).unwrap();
    client.read_to_string(&mut came).unwrap();
    assert!(came.contains("second") && came.ends_with("0\r\n\r\n"), "{came}");
    answering.join().unwrap();
}

/// T20: an answer that breaks off is not ended as if it were whole.
#[test]
fn t20_an_answer_that_breaks_off_breaks_off_for_the_client() {
    let listener = TcpListener::bind("127.0.0.3:0").unwrap();
    let relay = Running::before(listener.local_addr().unwrap());
    let answering = std::thread::spawn(move || {
        let cut = "HTTP/1.1 200 OK\r\ncontent-type: message/ohttp-chunked-res\r\n\
                   transfer-encoding: chunked\r\n\r\n5\r\nfirst\r\n";
        node(&listener, "x", cut);
    });
    let mut client = relay.send(
        "POST /.well-known/bastide/sealed HTTP/1.1\r\nhost: x\r\n\
         content-type: message/ohttp-chunked-req\r\ncontent-length: 1\r\n\r\nx",
    );
    let mut came = Vec::new();
    let _ = client.read_to_end(&mut came);
    assert!(!String::from_utf8_lossy(&came).contains("0\r\n\r\n"));
    answering.join().unwrap();
}

#[test]
fn nothing_but_the_two_paths_goes_further() {
    // Nobody listens there: whatever were passed on would be 502.
    let gone = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let relay = Running::before(gone);
    let head = |method: &str, path: &str, kind: &str| {
        format!("{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 0\r\n\r\n")
    };
    let sealed = "message/ohttp-chunked-req";
    for (method, path, kind, status) in [
        ("POST", "/", sealed, 404),
        ("POST", "/v1/chat/completions", "application/json", 404),
        ("POST", "/.well-known/bastide/attest", "application/cbor", 404),
        ("POST", "/.well-known/bastide/sealed?client=7", sealed, 404),
        ("POST", "http://elsewhere.example/", sealed, 404),
        ("CONNECT", "elsewhere.example:443", sealed, 404),
        ("GET", "/.well-known/bastide/sealed", sealed, 405),
        ("POST", "/.well-known/bastide/sealed", "application/json", 415),
        ("POST", "/.well-known/bastide/sealed", "message/ohttp-req", 415),
        ("POST", "/.well-known/bastide/sealed-key", sealed, 415),
        ("POST", "/.well-known/bastide/sealed", sealed, 502),
        ("POST", "/.well-known/bastide/sealed-key", "application/cbor", 502),
    ] {
        let answer = relay.ask(&head(method, path, kind));
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{method} {path}: {answer}"
        );
    }
}

#[test]
fn a_client_above_its_limit_is_closed_before_a_byte_is_read() {
    let gone = TcpListener::bind("127.0.0.3:0").unwrap().local_addr().unwrap();
    let relay = Running::before(gone);
    let open: Vec<_> = (0..3).map(|_| relay.send("POST ")).collect();
    std::thread::sleep(Duration::from_millis(200));
    let mut fourth = relay.send("");
    let mut nothing = Vec::new();
    assert!(matches!(fourth.read_to_end(&mut nothing), Ok(0) | Err(_)));
    drop(open);
    std::thread::sleep(Duration::from_millis(200));
    let answer = relay.ask("GET / HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404 "), "{answer}");
}
