//! Where the server is: AMD's own address or a mirror's.

use core::fmt;
use core::str::FromStr;

use bastide_attestation::snp::KDS_ADDRESS;
use hyper::Uri;

/// Most characters of an address.
const MAX_CHARACTERS: usize = 512;

/// `http://` or `https://`, a host, perhaps a port and a path before AMD's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KdsAddress(String);

/// The text is no address of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected `https://HOST` or `http://HOST`, perhaps with a port and a path, without name, password or `?`; AMD's is {KDS_ADDRESS}"
)]
pub struct AddressError;

impl KdsAddress {
    /// The address of a path and query that begins with a slash.
    pub(super) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl Default for KdsAddress {
    /// AMD's.
    fn default() -> Self {
        Self(KDS_ADDRESS.to_owned())
    }
}

impl fmt::Display for KdsAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for KdsAddress {
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
    use super::KdsAddress;

    #[test]
    fn hosts_ports_and_paths_are_taken_and_all_else_refused() {
        for (text, url) in [
            ("https://kdsintf.amd.com", "https://kdsintf.amd.com/vcek"),
            ("http://127.0.0.1:8080/", "http://127.0.0.1:8080/vcek"),
            ("http://[::1]:80/kds/", "http://[::1]:80/kds/vcek"),
        ] {
            assert_eq!(text.parse::<KdsAddress>().unwrap().url("/vcek"), url);
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
            assert!(text.parse::<KdsAddress>().is_err(), "{text}");
        }
        assert_eq!(
            KdsAddress::default().to_string().parse(),
            Ok(KdsAddress::default())
        );
    }
}
