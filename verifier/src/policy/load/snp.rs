//! The `[snp]` section: values, and what can't hold together.

use bastide_attestation::ChipId;
use bastide_attestation::snp::{Generation, GuestPolicy, PlatformInfo, Product};
use toml::Spanned;

use super::{ignore_name, pinned, tcb};
use crate::ledger::CheckId;
use crate::policy::pins::PinSet;
use crate::policy::schema::{ChipPin, HostDataPin, KeyPin, LaunchPin, Snp};
use crate::policy::source::{Ignored, Outcome, Source};
use crate::policy::{BitRule, BitRules, CrlMode, IdBlock, KeyKinds, PolicyError, PolicyFault, SnpRules};

/// Reads the section.
pub(super) fn read(source: Source<'_>, snp: &Snp, ignored: Ignored<'_>) -> Outcome<SnpRules> {
    let products: Vec<Product> = source.filled_set(&snp.products, |entry| source.product(entry))?;
    let report_versions = source.filled_set(&snp.report_versions, |entry| {
        source.number(entry, 2..=5, "a report version from 2 to 5")
    })?;
    let vmpl = ignored
        .decision(&source, ignore_name(CheckId::Vmpl), "snp.vmpl", snp.vmpl.as_ref())?
        .map(|levels| source.filled_set(levels, |entry| source.number(entry, 0..=3, "a VMPL from 0 to 3")))
        .transpose()?;
    let launch = ignored
        .decision(
            &source,
            ignore_name(CheckId::Launch),
            "snp.launch",
            snp.launch.as_ref(),
        )?
        .map(|pins| pinned::read(source, pins, LaunchPin::parts, |value| source.digest(value)))
        .transpose()?;
    let host_data = ignored
        .decision(
            &source,
            ignore_name(CheckId::HostData),
            "snp.host_data",
            snp.host_data.as_ref(),
        )?
        // A host that sets nothing leaves zeros: those may be pinned.
        .map(|pins| pinned::read(source, pins, HostDataPin::parts, |value| source.parse(value)))
        .transpose()?;
    let key = key(source, snp)?;
    let chips = chips(source, snp, &products, &key, ignored)?;
    Ok(SnpRules {
        v2_product: v2_product(source, snp, &products, &report_versions)?,
        vmpl,
        id_block: id_block(source, snp, ignored)?,
        crl: match source.one_of(&snp.crl, &["hard", "soft", "off"])? {
            "soft" => CrlMode::Soft,
            "off" => CrlMode::Off,
            _ => CrlMode::Hard,
        },
        tcb: tcb::read(source, snp, &products, ignored)?,
        guest_policy: bits(source, snp.guest_policy.rules(), &GuestPolicy::BITS)?,
        platform_info: bits(source, snp.platform_info.rules(), &PlatformInfo::BITS)?,
        unknown_platform_bits: ignored.names(ignore_name(CheckId::PlatformBits)),
        products,
        report_versions,
        key,
        launch,
        chips,
        host_data,
    })
}

fn bits<'d>(
    source: Source<'_>,
    rules: impl Iterator<Item = (&'static str, &'d Spanned<String>)>,
    known: &[(u32, &'static str)],
) -> Outcome<BitRules> {
    let mut out = BitRules::default();
    for (name, rule) in rules {
        let rule = match source.one_of(rule, &BitRule::NAMES)? {
            "set" => BitRule::Set,
            "clear" => BitRule::Clear,
            _ => BitRule::Any,
        };
        if let Some((bit, _)) = known.iter().find(|(_, known)| *known == name) {
            out.add(*bit, rule);
        }
    }
    Ok(out)
}

/// Reports of version 2 don't say which product they are of.
fn v2_product(
    source: Source<'_>,
    snp: &Snp,
    products: &[Product],
    versions: &[u32],
) -> Outcome<Option<Product>> {
    match (&snp.v2_product, versions.contains(&2)) {
        (Some(name), true) => {
            let product = source.product(name)?;
            if product.generation() == Generation::Turin || !products.contains(&product) {
                let message = format!("{product} is not in `products`, or has no reports of version 2");
                return Err(source.fault(PolicyFault::Contradiction, name, message));
            }
            Ok(Some(product))
        }
        (Some(name), false) => {
            let message = "`v2_product` has no meaning where `report_versions` does not list 2";
            Err(source.fault(PolicyFault::Contradiction, name, message))
        }
        (None, true) => {
            let message = "reports of version 2 don't name their product: `v2_product` must, or remove 2";
            Err(source.fault(PolicyFault::Missing, &snp.report_versions, message))
        }
        (None, false) => Ok(None),
    }
}

fn key(source: Source<'_>, snp: &Snp) -> Outcome<KeyKinds> {
    let kind = source.one_of(&snp.key, &["vcek", "vlek", "any"])?;
    let providers = match (&snp.vlek_providers, kind) {
        (Some(providers), "vcek") => {
            let message = "`vlek_providers` has no meaning where `key` is \"vcek\"";
            return Err(source.fault(PolicyFault::Contradiction, providers, message));
        }
        (None, "vcek") => Vec::new(),
        (Some(providers), _) => source.filled_set(providers, |entry| source.sentence(entry, "a CSP_ID"))?,
        (None, _) => {
            let message = format!("`key` is \"{kind}\", so `vlek_providers` must name the providers");
            return Err(source.fault(PolicyFault::Missing, &snp.key, message));
        }
    };
    Ok(match kind {
        "vlek" => KeyKinds::Vlek { providers },
        "any" => KeyKinds::Any { providers },
        _ => KeyKinds::Vcek,
    })
}

fn chips(
    source: Source<'_>,
    snp: &Snp,
    products: &[Product],
    key: &KeyKinds,
    ignored: Ignored<'_>,
) -> Outcome<Option<PinSet<ChipId>>> {
    let chips = ignored.decision(
        &source,
        ignore_name(CheckId::ChipId),
        "snp.chips",
        snp.chips.as_ref(),
    );
    if products.contains(&Product::Milan) {
        // Its keys can be extracted by software (arXiv 2605.12990): only a chip
        // that somebody vouches for is worth anything.
        let named = snp
            .chips
            .as_ref()
            .is_some_and(|chips| !chips.get_ref().is_empty());
        if !named || *key != KeyKinds::Vcek {
            let message = "Milan's keys can be extracted by software, so that any firmware can be claimed: \
                           it is accepted only with `key = \"vcek\"` and its CHIP_IDs pinned in `snp.chips`";
            return Err(source.fault(PolicyFault::Missing, &snp.products, message));
        }
    }
    let Some(chips) = chips? else { return Ok(None) };
    if matches!(key, KeyKinds::Vlek { .. }) {
        let message = "a VLEK belongs to no chip, so that no pin is ever met; remove `chips`, or set `key`";
        return Err(source.fault(PolicyFault::Contradiction, chips, message));
    }
    pinned::read(source, chips, ChipPin::parts, |value| chip(source, value)).map(Some)
}

/// CHIP_ID in hex; Turin's 8 bytes may stand without the zeros after them.
fn chip(source: Source<'_>, value: &Spanned<String>) -> Outcome<ChipId> {
    const TURIN_DIGITS: usize = 16;
    if value.get_ref().len() == TURIN_DIGITS {
        let padded = format!("{:0<128}", value.get_ref());
        return source.digest(&Spanned::new(value.span(), padded));
    }
    source.digest(value)
}

fn id_block(source: Source<'_>, snp: &Snp, ignored: Ignored<'_>) -> Outcome<Option<IdBlock>> {
    let made = ignored.decision(
        &source,
        ignore_name(CheckId::IdBlock),
        "snp.id_block",
        snp.id_block.as_ref(),
    )?;
    let mode = made
        .map(|mode| source.one_of(mode, &["forbid", "pinned"]))
        .transpose()?;
    let keys = |pins| pinned::read(source, pins, KeyPin::parts, |value| source.digest(value));
    match (mode, &snp.id_keys, &snp.author_keys) {
        (Some("pinned"), Some(id_keys), author_keys) => Ok(Some(IdBlock::Pinned {
            id_keys: keys(id_keys)?,
            author_keys: author_keys.as_ref().map(keys).transpose()?,
        })),
        (Some("pinned"), None, _) => Err(PolicyError::whole(
            PolicyFault::Missing,
            "`snp.id_block` is \"pinned\", so `snp.id_keys` must list the keys",
        )),
        (_, Some(pins), _) | (_, None, Some(pins)) => {
            let message = "keys of ID blocks are pinned here, but `snp.id_block` is not \"pinned\"";
            Err(source.fault(PolicyFault::Contradiction, pins, message))
        }
        (Some(_), None, None) => Ok(Some(IdBlock::Forbid)),
        (None, None, None) => Ok(None),
    }
}
