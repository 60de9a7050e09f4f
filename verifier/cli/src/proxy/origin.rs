//! Who may talk to the proxy: programs on this machine. A web page may not,
//! not even through a name that was made to point here (DNS rebinding).

use hyper::HeaderMap;
use hyper::Uri;
use hyper::header::{HOST, ORIGIN};

/// Why a request is not answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Foreign {
    /// There isn't exactly one host, or it is not this machine's loopback.
    #[error("the `Host` of a request must be 127.0.0.1, [::1] or localhost")]
    Host,
    /// The request comes from a web page elsewhere.
    #[error("requests of web pages are not answered: `Origin` is another site's")]
    Origin,
}

/// Checks `Host`, the authority of an absolute URI, `Origin` and `Sec-Fetch-Site`.
///
/// # Errors
/// [`Foreign`] says which of them is not this machine's.
pub(super) fn check(uri: &Uri, headers: &HeaderMap) -> Result<(), Foreign> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().map_err(|_| Foreign::Host)?,
        _ => return Err(Foreign::Host),
    };
    if !is_loopback(host)
        || uri
            .authority()
            .is_some_and(|authority| !is_loopback(authority.as_str()))
    {
        return Err(Foreign::Host);
    }
    for origin in headers.get_all(ORIGIN) {
        let same = origin.to_str().is_ok_and(|origin| {
            origin
                .strip_prefix("http://")
                .is_some_and(|rest| rest.eq_ignore_ascii_case(host))
        });
        if !same {
            return Err(Foreign::Origin);
        }
    }
    // Sent by browsers, and not forgeable by a page.
    for site in headers.get_all("sec-fetch-site") {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return Err(Foreign::Origin);
        }
    }
    Ok(())
}

fn is_loopback(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((host, "")) => (host, None),
            Some((host, after)) => match after.strip_prefix(':') {
                Some(port) => (host, Some(port)),
                None => return false,
            },
            None => return false,
        },
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port_is_number =
        port.is_none_or(|port| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()));
    let bracketed = authority.starts_with('[');
    port_is_number
        && if bracketed {
            host == "::1"
        } else {
            host == "127.0.0.1" || host.eq_ignore_ascii_case("localhost")
        }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(headers: &[(&'static str, &str)]) -> Result<(), Foreign> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, value.parse().unwrap());
        }
        check(&Uri::from_static("/v1/models"), &map)
    }

    #[test]
    fn this_machine_is_answered_by_each_of_its_names() {
        for host in [
            "127.0.0.1:4181",
            "127.0.0.1",
            "localhost:1",
            "LocalHost",
            "[::1]:4181",
            "[::1]",
        ] {
            assert_eq!(of(&[("host", host)]), Ok(()), "{host}");
        }
        assert_eq!(
            of(&[("host", "localhost:9"), ("origin", "http://localhost:9")]),
            Ok(())
        );
        assert_eq!(of(&[("host", "localhost:9"), ("sec-fetch-site", "none")]), Ok(()));
    }

    #[test]
    fn other_names_and_several_are_not() {
        for host in [
            "evil.example",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example:127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:x",
            "::1",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "",
            "user@127.0.0.1",
            "0.0.0.0",
        ] {
            assert_eq!(of(&[("host", host)]), Err(Foreign::Host), "{host}");
        }
        assert_eq!(of(&[]), Err(Foreign::Host));
        assert_eq!(
            of(&[("host", "localhost"), ("host", "localhost")]),
            Err(Foreign::Host)
        );
        let absolute = Uri::from_static("http://evil.example/v1/models");
        let mut map = HeaderMap::new();
        map.insert(HOST, "localhost".parse().unwrap());
        assert_eq!(check(&absolute, &map), Err(Foreign::Host));
    }

    #[test]
    fn web_pages_of_other_origins_are_not() {
        for origin in [
            "https://evil.example",
            "null",
            "http://localhost:8",
            "https://localhost:9",
            "http://localhost",
        ] {
            assert_eq!(
                of(&[("host", "localhost:9"), ("origin", origin)]),
                Err(Foreign::Origin),
                "{origin}"
            );
        }
        for site in ["cross-site", "same-site", "anything"] {
            assert_eq!(
                of(&[("host", "localhost"), ("sec-fetch-site", site)]),
                Err(Foreign::Origin),
                "{site}"
            );
        }
    }

    proptest! {
        #[test]
        fn only_loopback_names_pass(host in "[a-z0-9.:\\[\\]@]{0,24}") {
            if is_loopback(&host) {
                let name = host.trim_end_matches(|c: char| c.is_ascii_digit() || c == ':');
                prop_assert!(
                    host.starts_with("127.0.0.1") || ["localhost", "[::1]"].contains(&name),
                    "{}", host
                );
            }
        }
    }
}
