//! Names of endorsements. A name says which endorsement, and is the only source
//! of file names and of addresses at AMD's key distribution server: both are
//! made of numbers and hex digits, never of text that came from elsewhere.

use core::fmt;
use core::str::FromStr;

use bastide_attestation::snp::{Generation, SigningKey, TcbVersion, VcekId, VekId};

/// Most bytes of a certificate or a revocation list: what an evidence envelope
/// carries, and the verifier reads.
const MAX_OBJECT_BYTES: usize = 16 * 1024;
/// Most bytes of a chain in PEM.
const MAX_CHAIN_BYTES: usize = 64 * 1024;

const GENERATIONS: [Generation; 3] = [Generation::Milan, Generation::Genoa, Generation::Turin];
const KEYS: [SigningKey; 2] = [SigningKey::Vcek, SigningKey::Vlek];

/// Which endorsement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// The VCEK certificate of a chip at a TCB version.
    Vcek(VcekId),
    /// ASK or ASVK, then ARK.
    Chain(Generation, SigningKey),
    /// The ARK's revocation list, as handed out with chains of this kind.
    Crl(Generation, SigningKey),
}

/// The text is no name of an endorsement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a name such as `vcek-genoa-chain.pem`, `vcek-turin-crl.der` or `vcek-genoa-HWID-BL-TEE-SNP-UCODE.der`"
)]
pub struct NameError;

impl Name {
    /// Everything of AMD's that goes with a key, the certificate first. A
    /// VLEK's certificate isn't among it: only its provider hands it out.
    #[must_use]
    pub fn all_for(id: &VekId) -> Vec<Self> {
        let (generation, key) = (id.generation(), id.key());
        let leaf = match id {
            VekId::Vcek(id) => Some(Self::Vcek(*id)),
            VekId::Vlek { .. } => None,
        };
        leaf.into_iter()
            .chain([Self::Chain(generation, key), Self::Crl(generation, key)])
            .collect()
    }

    /// Path and query at AMD's key distribution server.
    #[must_use]
    pub fn kds_path(&self) -> String {
        match self {
            Self::Vcek(id) => id.kds_path(),
            Self::Chain(generation, key) => format!("/{}/v1/{}/cert_chain", label(*key), generation.name()),
            Self::Crl(generation, key) => format!("/{}/v1/{}/crl", label(*key), generation.name()),
        }
    }

    /// Most bytes that a file or an answer of this kind has.
    #[must_use]
    pub const fn max_bytes(&self) -> usize {
        match self {
            Self::Vcek(_) | Self::Crl(..) => MAX_OBJECT_BYTES,
            Self::Chain(..) => MAX_CHAIN_BYTES,
        }
    }

    /// For people: what it is.
    #[must_use]
    pub fn describe(&self) -> String {
        let upper = |key| match key {
            SigningKey::Vcek => ("VCEK", "ASK"),
            SigningKey::Vlek => ("VLEK", "ASVK"),
        };
        match self {
            Self::Vcek(id) => format!("VCEK of a {} chip at {}", id.generation().name(), id.tcb()),
            Self::Chain(generation, key) => {
                format!("{} and ARK of {}", upper(*key).1, generation.name())
            }
            Self::Crl(generation, key) => {
                format!("revocation list of {} ({})", generation.name(), upper(*key).0)
            }
        }
    }
}

const fn label(key: SigningKey) -> &'static str {
    match key {
        SigningKey::Vcek => "vcek",
        SigningKey::Vlek => "vlek",
    }
}

impl fmt::Display for Name {
    /// The file name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Vcek(id) => {
                let TcbVersion {
                    fmc,
                    boot_loader,
                    tee,
                    snp,
                    microcode,
                } = id.tcb();
                let generation = id.generation().name().to_ascii_lowercase();
                write!(f, "vcek-{generation}-{}-", hex::encode(id.hwid()))?;
                if let Some(fmc) = fmc {
                    write!(f, "{fmc:02}-")?;
                }
                write!(f, "{boot_loader:02}-{tee:02}-{snp:02}-{microcode:02}.der")
            }
            Self::Chain(generation, key) => {
                let generation = generation.name().to_ascii_lowercase();
                write!(f, "{}-{generation}-chain.pem", label(*key))
            }
            Self::Crl(generation, key) => {
                let generation = generation.name().to_ascii_lowercase();
                write!(f, "{}-{generation}-crl.der", label(*key))
            }
        }
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let name = read(text).ok_or(NameError)?;
        // One name, one text: no other spelling of the same.
        if name.to_string() == text {
            Ok(name)
        } else {
            Err(NameError)
        }
    }
}

fn read(text: &str) -> Option<Name> {
    let mut parts = text.split('-');
    let (key, generation, rest) = (parts.next()?, parts.next()?, parts.next()?);
    let key = KEYS.into_iter().find(|known| label(*known) == key)?;
    let generation = GENERATIONS
        .into_iter()
        .find(|known| known.name().eq_ignore_ascii_case(generation))?;
    match rest {
        "chain.pem" => return Some(Name::Chain(generation, key)),
        "crl.der" => return Some(Name::Crl(generation, key)),
        _ if key == SigningKey::Vlek => return None,
        _ => {}
    }
    let hwid = hex::decode(rest).ok()?;
    let levels: Vec<&str> = parts.collect();
    let (last, others) = levels.split_last()?;
    let levels: Option<Vec<u8>> = others
        .iter()
        .chain([&last.strip_suffix(".der")?])
        .map(|level| level.parse().ok())
        .collect();
    let (fmc, [boot_loader, tee, snp, microcode]) = match levels?.as_slice() {
        [fmc, rest @ ..] if generation == Generation::Turin => (Some(*fmc), rest.try_into().ok()?),
        all => (None, all.try_into().ok()?),
    };
    let tcb = TcbVersion {
        fmc,
        boot_loader,
        tee,
        snp,
        microcode,
    };
    VcekId::new(generation, &hwid, tcb).ok().map(Name::Vcek)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn any_name() -> impl Strategy<Value = Name> {
        let generation = prop::sample::select(GENERATIONS.to_vec());
        let key = prop::sample::select(KEYS.to_vec());
        (generation, key, any::<[u8; 64]>(), any::<[u8; 5]>(), 0..3_u8).prop_map(
            |(generation, key, mut hwid, levels, kind)| {
                hwid[0] |= 1;
                let [fmc, boot_loader, tee, snp, microcode] = levels;
                let tcb = TcbVersion {
                    fmc: (generation == Generation::Turin).then_some(fmc),
                    boot_loader,
                    tee,
                    snp,
                    microcode,
                };
                match kind {
                    0 => Name::Chain(generation, key),
                    1 => Name::Crl(generation, key),
                    _ => {
                        let hwid = &hwid[..generation.hwid_len()];
                        Name::Vcek(VcekId::new(generation, hwid, tcb).unwrap())
                    }
                }
            },
        )
    }

    #[test]
    fn names_and_addresses_are_these() {
        let tcb = TcbVersion {
            fmc: Some(1),
            boot_loader: 2,
            tee: 3,
            snp: 4,
            microcode: 219,
        };
        let vcek = Name::Vcek(VcekId::new(Generation::Turin, &[0xab; 8], tcb).unwrap());
        assert_eq!(
            vcek.to_string(),
            "vcek-turin-abababababababab-01-02-03-04-219.der"
        );
        let chain = Name::Chain(Generation::Genoa, SigningKey::Vlek);
        assert_eq!(
            (chain.to_string().as_str(), chain.kds_path().as_str()),
            ("vlek-genoa-chain.pem", "/vlek/v1/Genoa/cert_chain")
        );
        let crl = Name::Crl(Generation::Milan, SigningKey::Vcek);
        assert_eq!(
            (crl.to_string().as_str(), crl.kds_path().as_str()),
            ("vcek-milan-crl.der", "/vcek/v1/Milan/crl")
        );
    }

    #[test]
    fn other_spellings_paths_and_impossible_names_are_none() {
        let hwid = "ab".repeat(64);
        for text in [
            String::new(),
            "vcek-genoa".to_owned(),
            "vcek-genoa-chain.der".to_owned(),
            "vcek-Genoa-chain.pem".to_owned(),
            "vcek-venice-chain.pem".to_owned(),
            "../vcek-genoa-chain.pem".to_owned(),
            "vcek-genoa-chain.pem/".to_owned(),
            "vcek-genoa-chain.pem-01".to_owned(),
            format!("vlek-genoa-{hwid}-01-02-03-04.der"),
            format!("vcek-genoa-{hwid}-1-02-03-04.der"),
            format!("vcek-genoa-{hwid}-+1-02-03-04.der"),
            format!("vcek-genoa-{hwid}-256-02-03-04.der"),
            format!("vcek-genoa-{hwid}-01-02-03-04-05.der"),
            format!("vcek-genoa-{}-01-02-03-04.der", hwid.to_uppercase()),
            format!("vcek-genoa-{}-01-02-03-04.der", "00".repeat(64)),
            format!("vcek-turin-{hwid}-01-02-03-04-05.der"),
        ] {
            assert_eq!(text.parse::<Name>(), Err(NameError), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_name_is_read_back_from_its_text_alone(name in any_name()) {
            let text = name.to_string();
            prop_assert_eq!(text.parse(), Ok(name));
            prop_assert!(text.len() < 200 && !text.contains(['/', '\\', '\0']) && !text.starts_with('.'));
        }

        #[test]
        fn whatever_reads_is_spelt_the_one_way(text in "v[cl]ek-(genoa|turin|milan)-[0-9a-f]{0,20}(-[0-9]{1,3}){0,6}(\\.der|\\.pem)?") {
            if let Ok(name) = text.parse::<Name>() {
                prop_assert_eq!(name.to_string(), text);
            }
        }

        #[test]
        fn reading_never_panics(text: String) {
            let _ = text.parse::<Name>();
        }
    }
}
