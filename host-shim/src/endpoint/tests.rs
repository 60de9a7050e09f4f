//! The text forms of endpoints: what is taken, what is refused, and that what
//! is printed can be read back.

use proptest::prelude::*;

use super::*;

#[test]
fn the_documented_forms_are_taken() {
    for text in [
        "tcp:127.0.0.1:0",
        "tcp:0.0.0.0:443",
        "tcp:[::1]:8443",
        "tcp:[2001:db8::7]:1",
        "tcp:localhost:8443",
        "tcp:node-1.example.org:65535",
        "vsock:42:8443",
        "vsock:2:0",
        "vsock:any:8443",
        "vsock:1:4294967294",
    ] {
        let endpoint: Endpoint = text.parse().unwrap_or_else(|error| panic!("{text}: {error}"));
        assert_eq!(endpoint.to_string(), text);
    }
}

#[test]
fn everything_else_is_refused_with_what_would_do() {
    for (text, hint) in [
        ("", "tcp:HOST:PORT"),
        ("tcp", "tcp:HOST:PORT"),
        ("127.0.0.1:8443", "neither"),
        ("http://127.0.0.1:8443", "tcp:HOST:PORT"),
        ("tcp:127.0.0.1", "tcp:HOST:PORT"),
        ("TCP:127.0.0.1:1", "tcp:HOST:PORT"),
        ("tcp:127.0.0.1:65536", "no TCP port"),
        ("tcp:127.0.0.1:+1", "no TCP port"),
        ("tcp:127.0.0.1:", "no TCP port"),
        ("tcp::1:8443", "brackets"),
        ("tcp:::1:8443", "brackets"),
        ("tcp:[127.0.0.1]:8443", "neither"),
        ("tcp:1.2.3.256:8443", "neither"),
        ("tcp:127.1:8443", "neither"),
        ("tcp:a b:8443", "neither"),
        ("tcp:-a:8443", "neither"),
        ("tcp:a..b:8443", "neither"),
        ("vsock:8443", "tcp:HOST:PORT"),
        ("vsock:x:8443", "context id"),
        ("vsock:4294967296:1", "context id"),
        ("vsock:2:4294967295", "vsock port"),
        ("vsock:2:-1", "vsock port"),
    ] {
        let message = match text.parse::<Endpoint>() {
            Ok(endpoint) => panic!("{text:?} was taken for {endpoint}"),
            Err(error) => error.to_string(),
        };
        // An address without a scheme is read as scheme `127.0.0.1`.
        let expected = if hint == "neither" && !text.starts_with("tcp") {
            "tcp:HOST:PORT"
        } else {
            hint
        };
        assert!(message.contains(expected), "{text:?}: {message}");
    }
}

#[test]
fn what_only_a_listener_can_use_is_refused_as_a_target() {
    for text in ["tcp:127.0.0.1:0", "vsock:3:0", "vsock:any:8443"] {
        assert!(text.parse::<Endpoint>().is_ok());
        let error = Endpoint::parse_connectable(text).unwrap_err();
        assert_eq!(error, EndpointError::NotConnectable(text.to_owned()));
    }
    assert!(Endpoint::parse_connectable("vsock:3:8443").is_ok());
}

fn endpoints() -> impl Strategy<Value = Endpoint> {
    let host = prop_oneof![
        any::<[u8; 4]>().prop_map(|bytes| Host::Address(bytes.into())),
        any::<[u8; 16]>().prop_map(|bytes| Host::Address(bytes.into())),
        "[a-z][a-z0-9]{0,20}(\\.[a-z]([a-z0-9-]{0,10}[a-z0-9])?){0,4}".prop_map(Host::Name),
    ];
    prop_oneof![
        (host, any::<u16>()).prop_map(|(host, port)| Endpoint::Tcp { host, port }),
        (any::<u32>(), 0..VSOCK_PORT_ANY).prop_map(|(cid, port)| Endpoint::Vsock {
            cid: cid.into(),
            port
        }),
    ]
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back(endpoint in endpoints()) {
        prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
    }

    #[test]
    fn any_text_is_either_refused_or_read_back_the_same(
        text in "(tcp:|vsock:)?[\\[\\]:.a-z0-9%+ \\-]{0,40}|\\PC{0,40}"
    ) {
        if let Ok(endpoint) = text.parse::<Endpoint>() {
            prop_assert_eq!(endpoint.to_string().parse(), Ok(endpoint));
        }
    }
}
