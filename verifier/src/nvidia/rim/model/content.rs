//! The content of a manifest \[ISO/IEC 19770-2:2015; TCG RIM Information Model\]:
//! `Entity`, `Meta` and `Payload`, directly inside the root and nowhere else.
//! Read from a document whose signature verified.

use super::{Edition, Golden};
use crate::nvidia::rim::DSIG;
use crate::nvidia::rim::error::RimFault;
use crate::nvidia::rim::xml::{Document, Element};

const SWID: &str = "http://standards.iso.org/iso/19770/-2/2015/schema.xsd";
const TCG_RIM: &str =
    "https://trustedcomputinggroup.org/resource/tcg-reference-integrity-manifest-rim-information-model/";
/// The namespace of digests, named after the algorithm \[NIST IR 8060 §3.4\].
const SHA384: &str = "http://www.w3.org/2001/04/xmlenc#sha384";
/// NVIDIA's IANA private enterprise number.
const NVIDIA: &str = "5703";
/// Indices of measurements: as many as an SPDM report has blocks.
const MEASUREMENTS: usize = 64;
/// Most values that one measurement may have. NVIDIA's have up to 4.
const MAX_ALTERNATIVES: usize = 8;
/// What they are called.
const HASHES: [&str; MAX_ALTERNATIVES] = [
    "Hash0", "Hash1", "Hash2", "Hash3", "Hash4", "Hash5", "Hash6", "Hash7",
];
/// Most characters of a version, product or identifier.
const MAX_WORD: usize = 128;
/// Most characters of a foreign namespace in a fault.
const MAX_SHOWN: usize = 120;

/// What a manifest says.
#[derive(Debug)]
pub(super) struct Content {
    #[cfg_attr(not(test), expect(dead_code, reason = "read strictly, shown by no verdict"))]
    pub(super) name: String,
    #[cfg_attr(not(test), expect(dead_code, reason = "read strictly, shown by no verdict"))]
    pub(super) tag_id: String,
    pub(super) version: String,
    pub(super) product: String,
    pub(super) edition: Edition,
    /// By index, each at most once; at least one.
    pub(super) golden: Vec<Golden>,
}

impl Content {
    /// Reads the content, and refuses what could add a condition to it.
    pub(super) fn read(document: &Document<'_>) -> Result<Self, RimFault> {
        require_known_namespaces(document)?;
        let root = document.root();
        if !root.is(SWID, "SoftwareIdentity") {
            return Err(RimFault::Profile("the root element SoftwareIdentity"));
        }
        require_blank(root)?;
        let [entity, meta, payload] = children(root)?;
        if entity.attribute("", "name") != Some("NVIDIA Corporation") {
            return Err(RimFault::Profile("the Entity `NVIDIA Corporation`"));
        }
        for element in [entity, meta] {
            if element.text() != Some("") {
                return Err(RimFault::Profile("nothing inside Entity and Meta"));
            }
        }
        if meta.attribute(TCG_RIM, "FirmwareManufacturerId") != Some(NVIDIA)
            || meta
                .attribute(TCG_RIM, "PlatformManufacturerId")
                .is_some_and(|id| id != NVIDIA)
        {
            return Err(RimFault::Profile("the manufacturer 5703, NVIDIA"));
        }
        let edition = match meta.attribute("", "edition") {
            Some("GPU") => Edition::Gpu,
            Some("SWITCH") => Edition::Switch,
            _ => return Err(RimFault::Profile("the edition `GPU` or `SWITCH`")),
        };
        Ok(Self {
            name: word(root, "name")?,
            tag_id: word(root, "tagId")?,
            version: word(meta, "colloquialVersion")?,
            product: word(meta, "product")?,
            edition,
            golden: measurements(payload)?,
        })
    }
}

fn require_known_namespaces(document: &Document<'_>) -> Result<(), RimFault> {
    let declared = document.elements().flat_map(|element| element.declarations());
    for (_, uri) in declared {
        if ![SWID, TCG_RIM, SHA384, DSIG].contains(uri) {
            let shown = uri.chars().take(MAX_SHOWN);
            let shown = shown.map(|character| {
                if character.is_ascii_graphic() {
                    character
                } else {
                    '?'
                }
            });
            return Err(RimFault::UnknownNamespace(shown.collect()));
        }
    }
    Ok(())
}

/// Entity, Meta and Payload: each once beside the signature, in any order.
fn children<'d, 'a>(root: Element<'d, 'a>) -> Result<[Element<'d, 'a>; 3], RimFault> {
    let expected =
        RimFault::Profile("one Entity, one Meta and one Payload inside the root, and nothing else");
    let names = ["Entity", "Meta", "Payload"];
    let mut found = names.map(|_| None);
    for child in root.children().filter(|child| !child.is(DSIG, "Signature")) {
        let mut places = names.iter().zip(&mut found);
        match places.find(|(name, _)| child.is(SWID, name)) {
            Some((_, place @ None)) => *place = Some(child),
            _ => return Err(expected),
        }
    }
    let [Some(entity), Some(meta), Some(payload)] = found else {
        return Err(expected);
    };
    Ok([entity, meta, payload])
}

fn require_blank(element: Element<'_, '_>) -> Result<(), RimFault> {
    if element
        .own_texts()
        .all(|text| text.bytes().all(|byte| matches!(byte, b' ' | b'\n' | b'\t')))
    {
        Ok(())
    } else {
        Err(RimFault::Profile("nothing but white space between elements"))
    }
}

/// An attribute that is one word, so that it can be shown and compared as it is.
fn word(element: Element<'_, '_>, name: &str) -> Result<String, RimFault> {
    let value = element.attribute("", name).unwrap_or_default();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if value.is_empty() || value.len() > MAX_WORD || !value.bytes().all(fits) {
        return Err(RimFault::Profile(
            "name, tagId, colloquialVersion and product of letters, digits, `.`, `_` and `-`",
        ));
    }
    Ok(value.to_owned())
}

fn measurements(payload: Element<'_, '_>) -> Result<Vec<Golden>, RimFault> {
    require_blank(payload)?;
    let mut seen = [false; MEASUREMENTS];
    let mut golden = Vec::new();
    for resource in payload.children() {
        let (measurement, active) = measurement(resource)?;
        match seen.get_mut(usize::from(measurement.index)) {
            Some(seen @ false) => *seen = true,
            _ => return Err(RimFault::Profile("each index from 0 to 63 at most once")),
        }
        if active {
            golden.push(measurement);
        }
    }
    if golden.is_empty() {
        // It would match anything.
        return Err(RimFault::Profile("at least one active measurement"));
    }
    golden.sort_unstable_by_key(|measurement| measurement.index);
    Ok(golden)
}

/// One Resource, and whether it is active.
fn measurement(resource: Element<'_, '_>) -> Result<(Golden, bool), RimFault> {
    if !resource.is(SWID, "Resource") || resource.text() != Some("") {
        return Err(RimFault::Profile("empty Resource elements alone inside Payload"));
    }
    let value = |name| resource.attribute("", name).unwrap_or_default();
    if value("type") != "Measurement" || value("size") != "48" || resource.attribute("", "name").is_none() {
        return Err(RimFault::Profile(
            "a Resource with a name, of type Measurement and size 48",
        ));
    }
    let active = match value("active") {
        "True" => true,
        "False" => false,
        _ => return Err(RimFault::Profile("a Resource that is active `True` or `False`")),
    };
    let index = number(value("index")).filter(|index| usize::from(*index) < MEASUREMENTS);
    let index = index.ok_or(RimFault::Profile("a Resource with an index from 0 to 63"))?;
    let count = number(value("alternatives")).map(usize::from);
    let count = count
        .filter(|count| (1..=MAX_ALTERNATIVES).contains(count))
        .ok_or(RimFault::Profile("a Resource with 1 to 8 alternatives"))?;
    let alternatives = HASHES
        .iter()
        .take(count)
        .map(|name| {
            let mut bytes = [0; 48];
            let digits = resource.attribute(SHA384, name)?;
            hex::decode_to_slice(digits, &mut bytes).ok().map(|()| bytes)
        })
        .collect::<Option<Vec<_>>>();
    let alternatives = alternatives.ok_or(RimFault::Profile("a SHA-384 for every alternative"))?;
    // type, size, name, active, index, alternatives: an attribute more could
    // be one alternative more, or a condition.
    if resource.attributes().len() != 6 + count {
        return Err(RimFault::Profile(
            "no attribute of a Resource that is unknown here",
        ));
    }
    Ok((Golden { index, alternatives }, active))
}

/// A decimal number of one or two digits, written in one way.
fn number(text: &str) -> Option<u8> {
    match text.as_bytes() {
        [b'0'..=b'9'] | [b'1'..=b'9', b'0'..=b'9'] => text.parse().ok(),
        _ => None,
    }
}
