//! From the certificates that came with a report to the pinned intermediate:
//! root, intermediate and revocation. Certificates are candidates until they
//! hash to a pin; their order does not matter.

use bastide_attestation::snp::{Product, SigningKey};
use bastide_attestation::{SpkiDigest, UnixTime};

use crate::anchors::{Anchor, Pin, SIMULATION_KEYS};
use crate::certificate::{Certificate, PublicKey, common_name, printable};
use crate::crl::RevocationList;
use crate::hexadecimal::Hex;
use crate::ledger::{CheckId, Ledger, Refused, sentence};
use crate::memo::Digests;
use crate::policy::CrlMode;
use crate::pss::require_pss_sha384;
use crate::rejection::Rejection;
use crate::snp::Trust;

pub(crate) use crate::memo::Memo;

/// Most certificates that are looked at.
const MAX_CHAIN: usize = 8;

/// A certificate authority's key that a signature may be verified with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IssuerKey<'a> {
    /// DER RSAPublicKey.
    key: &'a [u8],
    /// Digest of its SubjectPublicKeyInfo.
    spki: SpkiDigest,
}

impl IssuerKey<'_> {
    /// Whether this key signed `tbs`, which is a part of `whole`.
    pub(crate) fn signed(&self, trust: &Trust<'_>, whole: &[u8], tbs: &[u8], signature: &[u8]) -> bool {
        self.verify(trust, whole, tbs, signature, None)
    }

    /// Whether this key signed an authority's certificate.
    fn signed_authority(&self, trust: &Trust<'_>, (digests, certificate): &Candidate<'_>) -> bool {
        let (tbs, signature) = (certificate.tbs, certificate.signature);
        self.verify(trust, certificate.der, tbs, signature, Some(*digests))
    }

    fn verify(
        &self,
        trust: &Trust<'_>,
        whole: &[u8],
        tbs: &[u8],
        signature: &[u8],
        digests: Option<Digests>,
    ) -> bool {
        // `whole` contains `tbs` and the signature, and so stands for both.
        if trust.memo.knows(&self.spki, whole) {
            return true;
        }
        let holds = trust.crypto.rsa_pss_sha384_verify(self.key, tbs, signature);
        if holds {
            trust.memo.remember(self.spki, whole, digests);
        }
        holds
    }
}

/// A certificate that came, with its digests.
type Candidate<'a> = (Digests, Certificate<'a>);
/// All of them; on the stack.
type Candidates<'a> = [Option<Candidate<'a>>; MAX_CHAIN];

/// A chain that ends in a pin, verified and not revoked as far as is known.
#[derive(Debug)]
pub(crate) struct Chain<'t, 'a> {
    /// The anchor it ends in.
    pub(crate) anchor: &'t Anchor,
    /// The intermediate's subject, which the leaf must have as issuer.
    pub(crate) issuer_name: &'a [u8],
    /// The intermediate's key.
    pub(crate) issuer_key: IssuerKey<'a>,
}

/// Verifies root, intermediate and revocation list.
pub(crate) fn verify_chain<'t, 'a>(
    chain: &'a [Vec<u8>],
    crl: Option<&'a [u8]>,
    product: Product,
    kind: SigningKey,
    trust: &Trust<'t>,
    ledger: &mut Ledger,
) -> Result<Chain<'t, 'a>, Refused> {
    if chain.len() < 2 {
        let got = format!("{} certificate(s) with the evidence", chain.len());
        return Err(ledger.fail(
            CheckId::Root,
            Rejection::ChainMissing,
            "an ARK and an ASK or ASVK",
            got,
        ));
    }
    let mut certificates: Candidates<'a> = [const { None }; MAX_CHAIN];
    for (slot, der) in certificates.iter_mut().zip(chain) {
        let certificate = Certificate::parse(der).map_err(|fault| {
            ledger.fail(
                CheckId::Root,
                Rejection::ChainMalformed,
                fault.0,
                "something else",
            )
        })?;
        *slot = Some((trust.memo.digests_of(&certificate), certificate));
    }

    let candidates = || {
        trust
            .anchors
            .iter()
            .filter(move |anchor| anchor.issues == kind && anchor.products.contains(&product))
    };
    let found = candidates().find_map(|anchor| Some((anchor, find_pinned(&certificates, &anchor.root)?)));
    let Some((anchor, pinned @ (_, root))) = found else {
        let expected = match candidates()
            .map(|anchor| anchor.name.as_str())
            .collect::<Vec<_>>()
        {
            names if names.is_empty() => format!("a root for {product}, of which the policy has none"),
            names => format!("the root of {}", names.join(" or ")),
        };
        return Err(ledger.fail(
            CheckId::Root,
            Rejection::RootUnknown,
            expected,
            describe(&certificates),
        ));
    };
    let root_key = IssuerKey {
        key: require_fit(root, root, anchor.root_name(), CheckId::Root, trust.now, ledger)?,
        spki: anchor.root.spki,
    };
    require_signed(pinned, &root_key, CheckId::Root, trust, ledger)?;
    ledger.pass_against(
        CheckId::Root,
        sentence(format_args!("{} sha256:{}", anchor.name, anchor.root.spki)),
        anchor.root_name(),
    );

    let id = CheckId::Intermediate;
    let Some(pinned @ (_, intermediate)) = find_pinned(&certificates, &anchor.intermediate) else {
        let expected = format!(
            "{} sha256:{}",
            anchor.intermediate_name(),
            anchor.intermediate.spki
        );
        return Err(ledger.fail(
            id,
            Rejection::IntermediateUnknown,
            expected,
            describe(&certificates),
        ));
    };
    let key = require_fit(
        intermediate,
        root,
        anchor.intermediate_name(),
        id,
        trust.now,
        ledger,
    )?;
    require_signed(pinned, &root_key, id, trust, ledger)?;
    ledger.pass_against(
        id,
        sentence(format_args!(
            "{} sha256:{}",
            anchor.name, anchor.intermediate.spki
        )),
        anchor.intermediate_name(),
    );

    require_not_revoked(crl, root, &root_key, intermediate.serial, trust, ledger)?;
    Ok(Chain {
        anchor,
        issuer_name: intermediate.subject,
        issuer_key: IssuerKey {
            key,
            spki: anchor.intermediate.spki,
        },
    })
}

/// The certificate that a pin names: its key, and the certificate as a whole if that is pinned.
fn find_pinned<'c, 'a>(certificates: &'c Candidates<'a>, pin: &Pin) -> Option<&'c Candidate<'a>> {
    certificates.iter().flatten().find(|(digests, _)| {
        digests.spki == pin.spki && pin.certificate.is_none_or(|pinned| pinned == digests.certificate)
    })
}

/// Requires what a certificate authority's certificate must be, short of its
/// signature, and gives its RSA key.
fn require_fit<'a>(
    certificate: &Certificate<'a>,
    issuer: &Certificate<'a>,
    name: &str,
    id: CheckId,
    now: UnixTime,
    ledger: &mut Ledger,
) -> Result<&'a [u8], Refused> {
    let PublicKey::Rsa(key) = certificate.key else {
        return Err(ledger.fail(id, Rejection::ChainMalformed, "an RSA key", "another key"));
    };
    require_pss_sha384(certificate.algorithm).map_err(|fault| {
        ledger.fail(
            id,
            Rejection::ChainAlgorithm,
            fault.0,
            "another signature algorithm",
        )
    })?;
    if certificate.issuer != issuer.subject || common_name(certificate.subject) != Some(name) {
        let got = format!(
            "{} issued by {}",
            printable(certificate.subject),
            printable(certificate.issuer)
        );
        let expected = format!("{name} issued by {}", printable(issuer.subject));
        return Err(ledger.fail(id, Rejection::ChainName, expected, got));
    }
    certificate
        .require_authority()
        .map_err(|fault| ledger.fail(id, Rejection::ChainAuthority, fault.0, "none"))?;
    if !certificate.is_valid_at(now) {
        return Err(ledger.fail(
            id,
            Rejection::ChainValidity,
            format!("{name} valid at {now}"),
            window(certificate),
        ));
    }
    Ok(key)
}

fn require_signed(
    candidate: &Candidate<'_>,
    issuer: &IssuerKey<'_>,
    id: CheckId,
    trust: &Trust<'_>,
    ledger: &mut Ledger,
) -> Result<(), Refused> {
    if issuer.signed_authority(trust, candidate) {
        return Ok(());
    }
    Err(ledger.fail(
        id,
        Rejection::ChainSignature,
        "a signature by the root",
        "one that does not verify",
    ))
}

/// A list that is absent, or not current, is passed over in soft mode: whoever
/// sends it could as well have left it out. One that is forged, or that names
/// the intermediate, is never passed over, whatever its date.
fn require_not_revoked(
    crl: Option<&[u8]>,
    root: &Certificate<'_>,
    root_key: &IssuerKey<'_>,
    serial: &[u8],
    trust: &Trust<'_>,
    ledger: &mut Ledger,
) -> Result<(), Refused> {
    let id = CheckId::Crl;
    if trust.crl == CrlMode::Off {
        ledger.skip(id, "none is looked at; the policy says crl = \"off\"");
        return Ok(());
    }
    let Some(der) = crl else {
        if trust.crl == CrlMode::Hard {
            return Err(ledger.fail(id, Rejection::CrlMissing, "a current revocation list", "none"));
        }
        ledger.skip(id, "none came with the evidence; the policy says crl = \"soft\"");
        return Ok(());
    };
    let list = RevocationList::parse(der)
        .and_then(|list| require_pss_sha384(list.algorithm).map(|()| list))
        .map_err(|fault| ledger.fail(id, Rejection::CrlMalformed, fault.0, "something else"))?;
    if list.issuer != root.subject || !root_key.signed(trust, list.der, list.tbs, list.signature) {
        let got = format!("a list of {} that the root did not sign", printable(list.issuer));
        return Err(ledger.fail(id, Rejection::CrlSignature, "a list signed by the root", got));
    }
    if list.revokes(serial) {
        let got = format!("serial number {} revoked", Hex(serial));
        return Err(ledger.fail(id, Rejection::CrlRevoked, "the intermediate not revoked", got));
    }
    let (from, to) = (list.this_update, list.next_update);
    if from <= trust.now && trust.now <= to {
        ledger.pass(
            id,
            sentence(format_args!(
                "a list from {from} to {to}, {} revoked",
                list.revoked.len()
            )),
        );
        return Ok(());
    }
    let got = format!("a list from {from} to {to}");
    if trust.crl == CrlMode::Hard {
        let expected = format!("a list current at {}", trust.now);
        return Err(ledger.fail(id, Rejection::CrlStale, expected, got));
    }
    ledger.skip(
        id,
        format!("{got} is not current; the policy says crl = \"soft\""),
    );
    Ok(())
}

/// Validity of a certificate, for a verdict.
pub(crate) fn window(certificate: &Certificate<'_>) -> String {
    sentence(format_args!(
        "from {} to {}",
        certificate.not_before, certificate.not_after
    ))
}

fn describe(certificates: &Candidates<'_>) -> String {
    certificates
        .iter()
        .flatten()
        .map(|(Digests { spki, .. }, certificate)| {
            let mark = if SIMULATION_KEYS.contains(spki) {
                " (SIMULATED)"
            } else {
                ""
            };
            format!("{} sha256:{spki}{mark}", printable(certificate.subject))
        })
        .collect::<Vec<_>>()
        .join(", ")
}
