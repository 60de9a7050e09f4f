//! The clients of NVIDIA's services against a server over real HTTP, which does
//! what they do on a good day and a bad one, and what a liar would.

mod directory;
mod lies;
#[path = "../../src/nvidia/made.rs"]
mod made;
#[path = "../kds/pace.rs"]
mod pace;
mod patience;
mod real;
#[path = "../kds/server.rs"]
mod server;
#[path = "../../src/nvidia/vectors.rs"]
mod vectors;

use bastide_attestation::UnixTime;
use bastide_endorsements::fetch::Limits;
pub(crate) use bastide_endorsements::nvidia::{
    Addresses, CertificateId, CrlPath, OcspQuestion, Services, Wanted,
};
pub(crate) use pace::TestPace;

pub(crate) const LISTS: [&str; 2] = ["crl/l1-root.crl", "crl-corim/l1-corim"];

/// Hours after everything was issued.
pub(crate) fn at(hours: u64) -> UnixTime {
    UnixTime::from_secs(made::ISSUED.as_secs() + hours * 3600)
}

/// A client that finds all services at one address, with the limits as they are.
pub(crate) fn services<'a>(address: &str, pace: &'a TestPace) -> Services<&'a TestPace> {
    let addresses = Addresses {
        rim: address.parse().unwrap(),
        ocsp: format!("{address}/ocsp").parse().unwrap(),
        crl: address.parse().unwrap(),
    };
    Services::new(addresses, Limits::default(), pace)
}

pub(crate) fn rim(id: &str) -> Wanted {
    Wanted::Rim(id.parse().unwrap())
}

pub(crate) fn crl(path: &str) -> Wanted {
    Wanted::Crl(CrlPath::of_url(&format!("http://crl.ndis.nvidia.com/{path}")).unwrap())
}

/// How the server knows what is asked for.
pub(crate) fn asked(wanted: &Wanted) -> String {
    match wanted {
        Wanted::Rim(id) => format!("/v1/rim/{id}"),
        Wanted::Ocsp(question) => {
            format!(
                "/ocsp application/ocsp-request {}",
                hex::encode(question.encode())
            )
        }
        Wanted::Crl(path) => format!("/{path}"),
    }
}

/// Everything that the made evidence needs, as NVIDIA has it at a time, with
/// manifests of a number.
pub(crate) fn published(number: u8, now: UnixTime) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    for id in made::RIM_IDS {
        let answer = made::rim_answer(id, &made::rim(number, made::ISSUED));
        files.push((asked(&rim(id)), answer.into_bytes()));
    }
    let questions = [made::device_questions(), made::rim_questions(made::ISSUED)].concat();
    for question in questions {
        let answer = made::ocsp(question.id(), now);
        files.push((asked(&Wanted::Ocsp(question)), answer));
    }
    for path in LISTS {
        files.push((asked(&crl(path)), made::crl(now)));
    }
    files
}
