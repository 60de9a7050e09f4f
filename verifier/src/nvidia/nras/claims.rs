//! Claims of NRAS tokens: whose they are, when they are valid, what they
//! answer, and what a GPU must have passed. Version 3.0 has a status for each
//! certificate chain; 2.0 has truth values alone.

use std::collections::BTreeMap;

use bastide_attestation::{GpuNonce, Json, UnixTime};

use super::fault::{NrasFault, shown};
use super::{NrasDevice, NrasExpectation};

const ISSUER: &str = "https://nras.attestation.nvidia.com";
const OVERALL_SUBJECT: &str = "NVIDIA-PLATFORM-ATTESTATION";
const DEVICE_SUBJECT: &str = "NVIDIA-GPU-ATTESTATION";
/// Most bytes of a text that is passed on.
const MAX_TEXT: usize = 128;

/// Claims that are `true` in every version.
const BOTH: [&str; 14] = [
    "secboot",
    "x-nvidia-gpu-arch-check",
    "x-nvidia-gpu-attestation-report-parsed",
    "x-nvidia-gpu-attestation-report-nonce-match",
    "x-nvidia-gpu-attestation-report-signature-verified",
    "x-nvidia-gpu-driver-rim-fetched",
    "x-nvidia-gpu-driver-rim-schema-validated",
    "x-nvidia-gpu-driver-rim-signature-verified",
    "x-nvidia-gpu-driver-rim-measurements-available",
    "x-nvidia-gpu-vbios-rim-fetched",
    "x-nvidia-gpu-vbios-rim-schema-validated",
    "x-nvidia-gpu-vbios-rim-signature-verified",
    "x-nvidia-gpu-vbios-rim-measurements-available",
    "x-nvidia-gpu-vbios-index-no-conflict",
];
/// Claims that are `true` in version 2.0.
const SECOND: [&str; 3] = [
    "x-nvidia-gpu-attestation-report-cert-chain-validated",
    "x-nvidia-gpu-driver-rim-cert-validated",
    "x-nvidia-gpu-vbios-rim-cert-validated",
];
/// Claims that are `true` in version 3.0.
const THIRD: [&str; 3] = [
    "x-nvidia-gpu-attestation-report-cert-chain-fwid-match",
    "x-nvidia-gpu-driver-rim-version-match",
    "x-nvidia-gpu-vbios-rim-version-match",
];
/// Certificate chains of version 3.0.
const CHAINS: [&str; 3] = [
    "x-nvidia-gpu-attestation-report-cert-chain",
    "x-nvidia-gpu-driver-rim-cert-chain",
    "x-nvidia-gpu-vbios-rim-cert-chain",
];

/// A version of a device's claims.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Generation {
    /// 2.0.
    Second,
    /// 3.0.
    Third,
}

impl Generation {
    /// A device's own version where it has one, else the overall token's.
    pub(super) fn of(overall: &Claims<'_>, device: &Claims<'_>) -> Result<Self, NrasFault> {
        let own = "x-nvidia-gpu-claims-version";
        let (claims, claim) = if device.members.contains_key(own) {
            (device, own)
        } else {
            (overall, "x-nvidia-ver")
        };
        match claims.text(claim)? {
            "2.0" => Ok(Self::Second),
            "3.0" => Ok(Self::Third),
            other => Err(NrasFault::ClaimsVersion {
                token: claims.token.to_owned(),
                got: shown(other),
            }),
        }
    }
}

/// When a token was issued, and when it expires.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) issued: UnixTime,
    pub(super) expires: UnixTime,
}

/// Claims of a token whose signature holds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Claims<'c> {
    token: &'c str,
    members: &'c BTreeMap<String, Json>,
}

impl<'c> Claims<'c> {
    pub(super) const fn new(token: &'c str, members: &'c BTreeMap<String, Json>) -> Self {
        Self { token, members }
    }

    fn wrong(&self, claim: &str, expected: &'static str) -> NrasFault {
        NrasFault::Claim {
            token: self.token.to_owned(),
            claim: claim.to_owned(),
            expected,
        }
    }

    fn text(&self, claim: &str) -> Result<&'c str, NrasFault> {
        let text = self.members.get(claim).and_then(Json::as_text);
        text.ok_or_else(|| self.wrong(claim, "text"))
    }

    /// Text that is passed on: short and printable.
    fn name(&self, claim: &str) -> Result<String, NrasFault> {
        let text = self.text(claim)?;
        if matches!(text.len(), 1..=MAX_TEXT) && text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            Ok(text.to_owned())
        } else {
            Err(self.wrong(claim, "1 to 128 printable characters"))
        }
    }

    fn time(&self, claim: &str) -> Result<UnixTime, NrasFault> {
        let seconds = self.members.get(claim).and_then(Json::as_number);
        let seconds = seconds.ok_or_else(|| self.wrong(claim, "whole seconds since 1970"))?;
        Ok(UnixTime::from_secs(seconds))
    }

    fn require_issuer(&self) -> Result<(), NrasFault> {
        match self.text("iss")? {
            ISSUER => Ok(()),
            other => Err(NrasFault::Issuer {
                token: self.token.to_owned(),
                got: shown(other),
            }),
        }
    }

    fn subject(&self, got: &str) -> NrasFault {
        NrasFault::Subject {
            token: self.token.to_owned(),
            got: shown(got),
        }
    }

    /// Issued by the service, about the whole machine.
    pub(super) fn require_overall_subject(&self) -> Result<(), NrasFault> {
        self.require_issuer()?;
        match self.text("sub")? {
            OVERALL_SUBJECT => Ok(()),
            other => Err(self.subject(other)),
        }
    }

    /// Issued by the service, about a GPU: tokens of version 2.0 and 3.0 have no
    /// subject, older ones this.
    pub(super) fn require_device_subject(&self) -> Result<(), NrasFault> {
        self.require_issuer()?;
        if self.members.contains_key("sub") {
            match self.text("sub")? {
                DEVICE_SUBJECT => {}
                other => return Err(self.subject(other)),
            }
        }
        let kind = "x-nvidia-device-type";
        if self.members.contains_key(kind) {
            match self.text(kind)? {
                "gpu" => {}
                other => return Err(self.subject(other)),
            }
        }
        Ok(())
    }

    /// Requires that the token is valid now \[RFC 7519 §4.1\].
    pub(super) fn times(&self, expected: &NrasExpectation) -> Result<Times, NrasFault> {
        let (issued, expires) = (self.time("iat")?, self.time("exp")?);
        let from = self.time("nbf")?.max(issued);
        let (now, token) = (expected.now, || self.token.to_owned());
        let later = |time: UnixTime| UnixTime::from_secs(time.as_secs().saturating_add(expected.skew));
        if from > later(now) {
            return Err(NrasFault::NotYetValid {
                token: token(),
                from,
                now,
            });
        }
        // At the very second it expires it isn't valid any more.
        if now >= later(expires) {
            return Err(NrasFault::Expired {
                token: token(),
                at: expires,
                now,
            });
        }
        Ok(Times { issued, expires })
    }

    /// Requires that the token answers this challenge.
    pub(super) fn require_nonce(&self, expected: GpuNonce) -> Result<(), NrasFault> {
        let got = self.text("eat_nonce")?;
        // Neither is secret: there is nothing that the time taken could tell.
        if got.parse() == Ok(expected) {
            Ok(())
        } else {
            Err(NrasFault::NonceMismatch {
                token: self.token.to_owned(),
                got: shown(got),
            })
        }
    }

    /// SHA-256 of each device's token: `{"GPU-0": ["DIGEST", ["SHA-256", hex]]}`.
    pub(super) fn submods(&self) -> Result<BTreeMap<String, [u8; 32]>, NrasFault> {
        let wrong = || self.wrong("submods", "[\"DIGEST\", [\"SHA-256\", hex]] for each device");
        let members = self.members.get("submods").and_then(Json::as_object);
        let digest = |value: &Json| {
            let [kind, digest] = value.as_list()? else {
                return None;
            };
            let [algorithm, digest] = digest.as_list()? else {
                return None;
            };
            let mut bytes = [0; 32];
            let usable = kind.as_text() == Some("DIGEST")
                && matches!(algorithm.as_text(), Some("SHA-256" | "SHA256"))
                && hex::decode_to_slice(digest.as_text()?, &mut bytes).is_ok();
            usable.then_some(bytes)
        };
        let digests = members.ok_or_else(wrong)?.iter();
        digests
            .map(|(name, value)| Ok((name.clone(), digest(value).ok_or_else(wrong)?)))
            .collect()
    }

    /// Requires that the machine passed.
    pub(super) fn require_overall_result(&self) -> Result<(), NrasFault> {
        match self.members.get("x-nvidia-overall-att-result") {
            Some(Json::Bool(true)) => Ok(()),
            _ => Err(NrasFault::OverallResult),
        }
    }

    /// Requires that the device passed every check that the service makes.
    pub(super) fn require_passed(&self, generation: Generation) -> Result<(), NrasFault> {
        let fault = |claim: String| NrasFault::NotPassed {
            device: self.token.to_owned(),
            claim,
        };
        let text = |claim| self.members.get(claim).and_then(Json::as_text);
        let success = match text("measres") {
            Some("success") => true,
            Some("comparison-successful") => generation == Generation::Second,
            _ => false,
        };
        if !success {
            return Err(fault("measres".to_owned()));
        }
        if text("dbgstat") != Some("disabled") {
            return Err(fault("dbgstat".to_owned()));
        }
        let (own, chains) = match generation {
            Generation::Second => (SECOND, &[][..]),
            Generation::Third => (THIRD, &CHAINS[..]),
        };
        for claim in BOTH.into_iter().chain(own) {
            if self.members.get(claim) != Some(&Json::Bool(true)) {
                return Err(fault(claim.to_owned()));
            }
        }
        for chain in chains {
            let members = self.members.get(*chain).and_then(Json::as_object);
            for (claim, wanted) in [
                ("x-nvidia-cert-status", "valid"),
                ("x-nvidia-cert-ocsp-status", "good"),
            ] {
                let got = members.and_then(|members| members.get(claim)?.as_text());
                if got != Some(wanted) {
                    return Err(fault(format!("{chain}.{claim}")));
                }
            }
        }
        // Said of a device that did not pass, and absent or empty otherwise.
        for claim in ["x-nvidia-error-details", "x-nvidia-mismatch-measurement-records"] {
            match self.members.get(claim) {
                None | Some(Json::Null) => {}
                Some(Json::List(items)) if items.is_empty() => {}
                Some(_) => return Err(fault(claim.to_owned())),
            }
        }
        Ok(())
    }

    /// Which device it is, and with which software.
    pub(super) fn device(&self) -> Result<NrasDevice, NrasFault> {
        Ok(NrasDevice {
            name: self.token.to_owned(),
            ueid: self.name("ueid")?,
            driver: self.name("x-nvidia-gpu-driver-version")?,
            vbios: self.name("x-nvidia-gpu-vbios-version")?,
            hwmodel: self.name("hwmodel")?,
        })
    }
}
