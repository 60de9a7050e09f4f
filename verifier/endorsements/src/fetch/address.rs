//! Where a server is: a vendor's own address or a mirror's.

use core::fmt;
use core::str::FromStr;

use hyper::Uri;

/// Most characters of an address.
const MAX_CHARACTERS: usize = 512;

/// `http://` or `https://`, a host, perhaps a port and a path before the
/// vendor's own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address(String);

/// The text is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `https://HOST` or `http://HOST`, perhaps with a port and a path, without name, password or `?`"
)]
pub struct AddressError;

impl Address {
    /// The address of a path and query that begins with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl Address {
    /// A vendor's own address, which is known to be one.
    pub(crate) fn of_vendor(text: &'static str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let text = text.trim_end_matches('/');
        if text.len() > MAX_CHARACTERS || text.contains('#') {
            return Err(AddressError);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError)?;
        let authority = uri.authority().ok_or(AddressError)?;
        let scheme = matches!(uri.scheme_str(), Some("http" | "https"));
        if !scheme || authority.host().is_empty() || authority.as_str().contains('@') || uri.query().is_some()
        {
            return Err(AddressError);
        }
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::Address;

    #[test]
    fn hosts_ports_and_paths_are_taken_and_all_else_refused() {
        for (text, url) in [
            ("https://kdsintf.amd.com", "https://kdsintf.amd.com/vcek"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/vcek"),
            ("http://[::1]:80/kds/", "http://[::1]:80/kds/vcek"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().url("/vcek"), url);
        }
        for text in [
            "",
            "kdsintf.amd.com",
            "/vcek",
            "ftp://kdsintf.amd.com",
            "https://",
            "https://a b",
            "https://name:password@kdsintf.amd.com",
            "https://kdsintf.amd.com/?q",
            "https://kdsintf.amd.com#f",
        ] {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }
}
