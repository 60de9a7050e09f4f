//! Whether a report is AMD's word: form, certificates, chip, TCB and the
//! signature over the raw bytes, cheap checks first. Says nothing about whether
//! a policy likes what the report says.

use core::fmt;

use bastide_attestation::snp::{Cpuid, Generation, Product, ReportError, SigningKey, SnpReport, TcbVersion};
use bastide_attestation::{UnixTime, Untrusted};

use crate::anchors::Anchor;
use crate::certificate::{Certificate, PublicKey, common_name, printable};
use crate::crypto::Crypto;
use crate::hexadecimal::Hex;
use crate::ledger::{CheckId, Ledger, Refused, sentence};
use crate::policy::CrlMode;
use crate::pss::require_pss_sha384;
use crate::rejection::Rejection;
use crate::snp::chain::{Chain, Memo, verify_chain, window};
use crate::snp::vek::VekExtensions;

/// A report and what endorses it, as received.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'a> {
    pub(crate) report: &'a [u8],
    pub(crate) vek: &'a [u8],
    pub(crate) chain: &'a [Vec<u8>],
    pub(crate) crl: Option<&'a [u8]>,
}

/// What authenticity is decided by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trust<'t> {
    pub(crate) anchors: &'t [Anchor],
    pub(crate) crl: CrlMode,
    /// Which product reports of version 2 are of, if the policy says.
    pub(crate) v2_product: Option<Product>,
    pub(crate) crypto: &'static dyn Crypto,
    pub(crate) memo: &'t Memo,
    pub(crate) now: UnixTime,
}

/// Something that a chain of signatures to a pinned key vouches for. Made only
/// by [`authenticate`].
#[derive(Debug)]
pub(crate) struct Authentic<'a, T> {
    value: T,
    endorsed: Endorsed<'a>,
}

impl<'a, T> Authentic<'a, T> {
    /// What is authentic.
    pub(crate) const fn value(&self) -> &T {
        &self.value
    }

    /// What the endorsements add.
    pub(crate) const fn endorsed(&self) -> &Endorsed<'a> {
        &self.endorsed
    }
}

/// What was established besides the report's own fields.
#[derive(Debug)]
pub(crate) struct Endorsed<'a> {
    /// The processor.
    pub(crate) product: Product,
    /// Which kind of key signed.
    pub(crate) key: SigningKey,
    /// Provider of a VLEK.
    pub(crate) provider: Option<&'a str>,
    /// REPORTED_TCB, COMMITTED_TCB, LAUNCH_TCB and CURRENT_TCB.
    pub(crate) tcb: Tcb,
    /// The root and intermediate relied on.
    pub(crate) anchor: &'a Anchor,
}

/// The four TCB versions of a report.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tcb {
    pub(crate) reported: TcbVersion,
    pub(crate) committed: TcbVersion,
    pub(crate) launch: TcbVersion,
    pub(crate) current: TcbVersion,
}

impl Tcb {
    fn read(report: &SnpReport, generation: Generation) -> Option<Self> {
        Some(Self {
            reported: report.reported_tcb(generation)?,
            committed: report.committed_tcb(generation)?,
            launch: report.launch_tcb(generation)?,
            current: report.current_tcb(generation)?,
        })
    }
}

/// Establishes that a report is authentic. Records every check that it makes
/// and stops at the first that fails.
pub(crate) fn authenticate<'a>(
    sources: &Untrusted<Sources<'a>>,
    trust: &Trust<'a>,
    ledger: &mut Ledger,
) -> Result<Authentic<'a, SnpReport>, Refused> {
    let sources = sources.as_unverified();
    let report = read_report(sources.report, ledger)?;
    let key = read_key_info(&report, ledger)?;
    let (product, tcb) = read_product(&report, sources.vek, trust, ledger)?;
    let generation = product.generation();

    if sources.vek.is_empty() {
        let expected = "a VCEK or VLEK certificate";
        return Err(ledger.fail(CheckId::VekForm, Rejection::VekMissing, expected, "none"));
    }
    let chain = verify_chain(sources.chain, sources.crl, product, key, trust, ledger)?;
    let vek = read_vek(sources.vek, key, &chain, trust.now, ledger)?;
    let extensions = VekExtensions::read(&vek.certificate, generation, key).map_err(|fault| {
        ledger.fail(
            CheckId::VekExtensions,
            fault.rejection,
            fault.extension,
            fault.got,
        )
    })?;
    vek.certificate.require_end_entity().map_err(|fault| {
        let (id, rejection) = (CheckId::VekExtensions, Rejection::VekExtensionUnexpected);
        ledger.fail(id, rejection, fault.0, "one")
    })?;
    ledger.pass(
        CheckId::VekExtensions,
        format!("{} extensions", vek.certificate.extensions.len()),
    );
    let got = sentence(format_args!(
        "{} with structure version {}",
        extensions.product_name, extensions.struct_version
    ));
    if !extensions.is_for(generation) {
        let expected = generation.name();
        return Err(ledger.fail(CheckId::VekProduct, Rejection::VekProduct, expected, got));
    }
    ledger.pass_against(CheckId::VekProduct, generation.name(), got);

    if !chain.issuer_key.signed(
        trust,
        vek.certificate.der,
        vek.certificate.tbs,
        vek.certificate.signature,
    ) {
        let (id, rejection) = (CheckId::VekSignature, Rejection::VekSignature);
        return Err(ledger.fail(id, rejection, id.expected(), "one that does not verify"));
    }
    ledger.pass(CheckId::VekSignature, chain.anchor.intermediate_name());

    if extensions.tcb != tcb.reported {
        let (id, rejection) = (CheckId::VekTcb, Rejection::TcbMismatch);
        let expected = format!("a key for {}", tcb.reported);
        return Err(ledger.fail(id, rejection, expected, format!("one for {}", extensions.tcb)));
    }
    ledger.pass(CheckId::VekTcb, extensions.tcb.to_string());
    match extensions.hwid {
        Some(hwid) => require_chip(&report, hwid, ledger)?,
        None => ledger.skip(CheckId::VekHwid, "a VLEK belongs to a provider, not to a chip"),
    }

    let signed = trust
        .crypto
        .p384_sha384_verify(vek.point, report.signed_bytes(), &report.signature());
    if !signed {
        let (id, rejection) = (CheckId::ReportSignature, Rejection::ReportSignature);
        return Err(ledger.fail(id, rejection, id.expected(), "one that does not verify"));
    }
    ledger.pass(CheckId::ReportSignature, "verified over bytes as received");
    Ok(Authentic {
        value: report,
        endorsed: Endorsed {
            product,
            key,
            provider: extensions.provider,
            tcb,
            anchor: chain.anchor,
        },
    })
}

fn read_report(bytes: &[u8], ledger: &mut Ledger) -> Result<SnpReport, Refused> {
    let report = SnpReport::parse(bytes).map_err(|error| {
        let rejection = match error {
            ReportError::Length { .. } => Rejection::ReportLength,
            ReportError::Version { .. } => Rejection::ReportVersion,
            ReportError::SignatureAlgorithm { .. } => Rejection::ReportAlgorithm,
            // Reserved bytes, and whatever form a later parser learns to refuse.
            _ => Rejection::ReportReserved,
        };
        ledger.fail(
            CheckId::ReportForm,
            rejection,
            CheckId::ReportForm.expected(),
            error.to_string(),
        )
    })?;
    ledger.pass(CheckId::ReportForm, format!("version {}", report.version()));
    Ok(report)
}

fn read_key_info(report: &SnpReport, ledger: &mut Ledger) -> Result<SigningKey, Refused> {
    let id = CheckId::KeyInfo;
    let info = report.key_info();
    let got = || format!("KEY_INFO 0x{:08x}", info.bits());
    if info.undefined() != 0 {
        return Err(ledger.fail(id, Rejection::KeyInfoReserved, "bits 31 to 5 zero", got()));
    }
    if info.mask_chip_key() {
        return Err(ledger.fail(id, Rejection::ChipKeyMasked, "MASK_CHIP_KEY zero", got()));
    }
    let Some(key) = info.signing_key() else {
        let expected = "SIGNING_KEY 0 (VCEK) or 1 (VLEK)";
        return Err(ledger.fail(id, Rejection::SigningKeyUnknown, expected, got()));
    };
    ledger.pass(id, key_name(key));
    Ok(key)
}

/// The product from the signed CPUID, and the TCB versions in its layout.
/// Reports of version 2 carry no CPUID: the policy says which product they are
/// of, or else the leaf's issuer; chain and certificate must then agree.
fn read_product(
    report: &SnpReport,
    vek: &[u8],
    trust: &Trust<'_>,
    ledger: &mut Ledger,
) -> Result<(Product, Tcb), Refused> {
    let id = CheckId::ReportProduct;
    let (product, source) = match (report.cpuid(), trust.v2_product) {
        (Some(cpuid), _) => (Product::of(cpuid), ProductSource::Cpuid(cpuid)),
        (None, Some(product)) => (Some(product), ProductSource::Policy),
        (None, None) => (issuers_product(vek), ProductSource::Issuer),
    };
    let Some(product) = product else {
        return Err(ledger.fail(
            id,
            Rejection::ProductUnknown,
            "a known processor",
            source.to_string(),
        ));
    };
    let Some(tcb) = Tcb::read(report, product.generation()) else {
        let expected = format!("TCB versions in {}'s layout", product.generation().name());
        return Err(ledger.fail(id, Rejection::TcbReserved, expected, "a reserved byte not zero"));
    };
    ledger.pass(id, sentence(format_args!("{product} ({source})")));
    Ok((product, tcb))
}

/// What says which product a report is of.
enum ProductSource {
    Cpuid(Cpuid),
    Policy,
    Issuer,
}

impl fmt::Display for ProductSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpuid(cpuid) => write!(
                f,
                "family {:02x}h model {:02x}h stepping {}",
                cpuid.family, cpuid.model, cpuid.stepping
            ),
            Self::Policy => f.write_str("no CPUID in version 2: as the policy says"),
            Self::Issuer => f.write_str("no CPUID in version 2: as the certificate's issuer says"),
        }
    }
}

/// The product that a leaf's issuer stands for. Genoa's authority also issues
/// for Bergamo, which a report of version 2 can't be told from.
fn issuers_product(vek: &[u8]) -> Option<Product> {
    let certificate = Certificate::parse(vek).ok()?;
    match common_name(certificate.issuer)? {
        "SEV-Milan" | "SEV-VLEK-Milan" => Some(Product::Milan),
        "SEV-Genoa" | "SEV-VLEK-Genoa" => Some(Product::Genoa),
        _ => None,
    }
}

/// A leaf whose form, names, key and time are right.
struct Vek<'a> {
    certificate: Certificate<'a>,
    point: &'a [u8],
}

fn read_vek<'a>(
    der: &'a [u8],
    kind: SigningKey,
    chain: &Chain<'_, '_>,
    now: UnixTime,
    ledger: &mut Ledger,
) -> Result<Vek<'a>, Refused> {
    let id = CheckId::VekForm;
    let certificate = Certificate::parse(der)
        .map_err(|fault| ledger.fail(id, Rejection::VekMalformed, fault.0, "something else"))?;
    require_pss_sha384(certificate.algorithm).map_err(|fault| {
        ledger.fail(
            id,
            Rejection::VekAlgorithm,
            fault.0,
            "another signature algorithm",
        )
    })?;
    let PublicKey::P384(point) = certificate.key else {
        return Err(ledger.fail(id, Rejection::VekKey, "a key on P-384", "another key"));
    };
    ledger.pass(id, format!("{} bytes", der.len()));

    let subject = match kind {
        SigningKey::Vcek => "SEV-VCEK",
        SigningKey::Vlek => "SEV-VLEK",
    };
    let expected = sentence(format_args!(
        "{subject} issued by {}",
        chain.anchor.intermediate_name()
    ));
    let got = sentence(format_args!(
        "{} issued by {}",
        printable(certificate.subject),
        printable(certificate.issuer)
    ));
    if certificate.issuer != chain.issuer_name || common_name(certificate.subject) != Some(subject) {
        return Err(ledger.fail(CheckId::VekName, Rejection::VekName, expected, got));
    }
    ledger.pass_against(CheckId::VekName, expected, got);

    let got = window(&certificate);
    let expected = sentence(format_args!("valid at {now}"));
    if now < certificate.not_before {
        return Err(ledger.fail(CheckId::VekValidity, Rejection::VekNotYetValid, expected, got));
    }
    if certificate.not_after < now {
        return Err(ledger.fail(CheckId::VekValidity, Rejection::VekExpired, expected, got));
    }
    ledger.pass_against(CheckId::VekValidity, expected, got);
    Ok(Vek { certificate, point })
}

/// CHIP_ID must be the certificate's hwID and then zeros. All zero means "no
/// chip" and equals nothing, a certificate for an all-zero chip included.
fn require_chip(report: &SnpReport, hwid: &[u8], ledger: &mut Ledger) -> Result<(), Refused> {
    let id = CheckId::VekHwid;
    let chip = report.chip_id();
    let expected = sentence(format_args!("chip {}", Hex(hwid)));
    if chip.is_zero() {
        return Err(ledger.fail(id, Rejection::ChipIdZero, expected, "no chip (all zero)"));
    }
    let got = sentence(format_args!("chip {}", Hex(chip.as_bytes())));
    let padding = chip.as_bytes().strip_prefix(hwid);
    if !padding.is_some_and(|padding| padding.iter().all(|byte| *byte == 0)) {
        return Err(ledger.fail(id, Rejection::HwidMismatch, expected, got));
    }
    ledger.pass_against(id, expected, got);
    Ok(())
}

/// Name of a kind of key.
pub(crate) const fn key_name(key: SigningKey) -> &'static str {
    match key {
        SigningKey::Vcek => "vcek",
        SigningKey::Vlek => "vlek",
    }
}

/// Root and intermediate relied on, for people.
pub(crate) fn describe_roots(anchor: &Anchor) -> Vec<String> {
    let mark = match (anchor.added_by_policy, anchor.simulated) {
        (_, true) => " (SIMULATED, added by the policy)",
        (true, false) => " (added by the policy)",
        (false, false) => "",
    };
    [
        (anchor.root_name(), anchor.root.spki),
        (anchor.intermediate_name(), anchor.intermediate.spki),
    ]
    .map(|(name, spki)| sentence(format_args!("{}: {name} sha256:{spki}{mark}", anchor.name)))
    .into()
}
