//! The `[roots]` section: whose word is taken for what a processor is.

use bastide_attestation::snp::{Generation, Product, SigningKey};
use toml::Spanned;

use crate::anchors::{Anchor, Pin, SIMULATION_KEYS};
use crate::policy::schema::{ExtraRoot, Roots};
use crate::policy::source::{Outcome, Source};
use crate::policy::{KeyKinds, PolicyError, PolicyFault, SnpRules};

/// Reads the section.
pub(super) fn read(
    source: Source<'_>,
    roots: &Roots,
    snp: &SnpRules,
    allow_simulated: bool,
) -> Outcome<Vec<Anchor>> {
    let amd: Vec<Product> = source.set(&roots.amd, |entry| source.product(entry))?;
    let kinds: &[SigningKey] = match snp.key {
        KeyKinds::Vcek => &[SigningKey::Vcek],
        KeyKinds::Vlek { .. } => &[SigningKey::Vlek],
        KeyKinds::Any { .. } => &[SigningKey::Vcek, SigningKey::Vlek],
    };
    let mut anchors = Vec::new();
    for generation in [Generation::Milan, Generation::Genoa, Generation::Turin] {
        let products: Vec<_> = amd
            .iter()
            .filter(|product| product.generation() == generation)
            .copied()
            .collect();
        if !products.is_empty() {
            // Both kinds, so that the wrong kind of key is refused by name
            // and not as an unknown root.
            anchors.extend(
                [SigningKey::Vcek, SigningKey::Vlek]
                    .map(|kind| Anchor::amd(generation, kind, products.clone())),
            );
        }
    }
    for extra in &roots.extra {
        let added = self::extra(source, extra, allow_simulated)?;
        let pinned = |anchor: &Anchor| {
            anchors.iter().any(|other: &Anchor| {
                other.name == anchor.name
                    || other.root.spki == anchor.root.spki
                    || other.intermediate.spki == anchor.intermediate.spki
            }) || is_amds(anchor)
        };
        if added.iter().any(pinned) {
            let message = "this name or key is pinned already";
            return Err(source.fault(PolicyFault::Duplicate, extra, message));
        }
        anchors.extend(added);
    }
    if let Some(product) = snp.products.iter().find(|product| {
        !anchors
            .iter()
            .any(|anchor| kinds.contains(&anchor.issues) && anchor.products.contains(product))
    }) {
        let message = format!(
            "`snp.products` allows {product}, but no root for it is given; add it to `roots.amd`, \
             or a `roots.extra`, or remove the product"
        );
        return Err(PolicyError::whole(PolicyFault::Contradiction, message));
    }
    Ok(anchors)
}

/// The anchors of one added root: for VCEKs, and for VLEKs if it has an ASVK.
fn extra(source: Source<'_>, extra: &Spanned<ExtraRoot>, allow_simulated: bool) -> Outcome<Vec<Anchor>> {
    let root = extra.get_ref();
    source.require_name(&root.name)?;
    let generation = match source.one_of(&root.generation, &["milan", "genoa", "turin"])? {
        "milan" => Generation::Milan,
        "genoa" => Generation::Genoa,
        _ => Generation::Turin,
    };
    if root.simulated && !allow_simulated {
        let message = "a simulated root, but `allow_simulated` is false";
        return Err(source.fault(PolicyFault::Contradiction, extra, message));
    }
    let ark = source.digest(&root.ark_spki)?;
    let mut intermediates = vec![(SigningKey::Vcek, source.digest(&root.ask_spki)?)];
    if let Some(asvk) = &root.asvk_spki {
        intermediates.push((SigningKey::Vlek, source.digest(asvk)?));
    }
    let mut keys: Vec<_> = intermediates.iter().map(|(_, spki)| *spki).chain([ark]).collect();
    if !root.simulated && keys.iter().any(|key| SIMULATION_KEYS.contains(key)) {
        let message = "the private half of this key is public: such a root must say `simulated = true`";
        return Err(source.fault(PolicyFault::Contradiction, extra, message));
    }
    keys.sort();
    keys.dedup();
    if keys.len() != intermediates.len() + 1 {
        let message = "one key is pinned here for two purposes";
        return Err(source.fault(PolicyFault::Duplicate, extra, message));
    }
    let key_alone = |spki| Pin {
        spki,
        certificate: None,
    };
    let anchor = |(issues, spki)| Anchor {
        name: root.name.get_ref().clone(),
        generation,
        products: Product::ALL
            .into_iter()
            .filter(|product| product.generation() == generation)
            .collect(),
        issues,
        root: key_alone(ark),
        intermediate: key_alone(spki),
        simulated: root.simulated,
        added_by_policy: true,
    };
    Ok(intermediates.into_iter().map(anchor).collect())
}

/// AMD's own keys are named in `roots.amd`, where their certificates are pinned whole.
fn is_amds(anchor: &Anchor) -> bool {
    [Generation::Milan, Generation::Genoa, Generation::Turin]
        .into_iter()
        .any(|generation| Anchor::amd(generation, SigningKey::Vcek, Vec::new()).root.spki == anchor.root.spki)
}
